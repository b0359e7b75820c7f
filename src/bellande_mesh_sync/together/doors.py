"""Ways to the mesh's data for a search in a thread of its own: a mesh in this process, or a client."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from bellande_mesh_sync.errors import ConflictError, NotFoundError
from bellande_mesh_sync.values import Entry, Listing, Receipt, Value

T = TypeVar("T")

CALL_S_MAX: Final = 30.0
LISTED_MAX: Final = 1000
"""Obstacles that one plan may share."""


class Door(Protocol):
    """Blocking calls. Whatever else is raised than said is an error of the mesh."""

    def read(self, key: str) -> tuple[bytes, str] | None:
        """The value and its version; None if there is none."""
        ...

    def write(self, key: str, data: bytes, version: str) -> bool:
        """Write if the key still has this version ("": is not there); whether it had."""
        ...

    def versions(self, prefix: str) -> dict[str, str]:
        """The versions of the keys that begin so."""
        ...


class _Stream(Protocol):
    @property
    def entry(self) -> Entry: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class MeshCalls(Protocol):
    """What is asked of a mesh."""

    def open_value(self, key: str) -> AbstractAsyncContextManager[_Stream]: ...

    async def put(
        self, key: str, value: bytes, *, content_type: str = ..., if_match: str | None = None
    ) -> Receipt: ...

    async def list(self, prefix: str = "", *, limit: int = ...) -> Listing: ...


class MeshDoor:
    """To a mesh whose loop runs in another thread."""

    def __init__(self, mesh: MeshCalls, loop: asyncio.AbstractEventLoop) -> None:
        self._mesh = mesh
        self._loop = loop

    def read(self, key: str) -> tuple[bytes, str] | None:
        try:
            return self._wait(self._read(key))
        except NotFoundError:
            return None

    async def _read(self, key: str) -> tuple[bytes, str]:
        async with self._mesh.open_value(key) as stream:
            return b"".join([piece async for piece in stream]), stream.entry.version

    def write(self, key: str, data: bytes, version: str) -> bool:
        try:
            self._wait(self._mesh.put(key, data, content_type="application/json", if_match=version))
        except ConflictError:
            return False
        return True

    def versions(self, prefix: str) -> dict[str, str]:
        listing = self._wait(self._mesh.list(prefix, limit=LISTED_MAX))
        return {entry.key: entry.version for entry in listing.entries}

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S_MAX)


class ClientCalls(Protocol):
    """What is asked of a client."""

    def get(self, key: str) -> Value: ...

    def put(
        self, key: str, value: bytes, *, content_type: str = ..., if_match: str | None = None
    ) -> Receipt: ...

    def list(self, prefix: str = "") -> Iterator[Entry]: ...


class ClientDoor:
    """To a node over HTTP."""

    def __init__(self, client: ClientCalls) -> None:
        self._client = client

    def read(self, key: str) -> tuple[bytes, str] | None:
        try:
            value = self._client.get(key)
        except NotFoundError:
            return None
        return value.data, value.version

    def write(self, key: str, data: bytes, version: str) -> bool:
        try:
            self._client.put(key, data, content_type="application/json", if_match=version)
        except ConflictError:
            return False
        return True

    def versions(self, prefix: str) -> dict[str, str]:
        listed = itertools.islice(self._client.list(prefix), LISTED_MAX)
        return {entry.key: entry.version for entry in listed}
