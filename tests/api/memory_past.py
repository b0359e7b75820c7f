"""The past of the mesh in memory: it has none, and notes what it is asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from bellande_mesh_sync.api.needs import ValueStream
from bellande_mesh_sync.errors import HistoryGoneError
from bellande_mesh_sync.values import DiffPage, Entry, History, Receipt, RestorePage, Version


class _Present(Protocol):
    calls: list[tuple[Any, ...]]
    values: Mapping[str, tuple[bytes, Entry]]

    async def head(self, key: str) -> Entry: ...


class MemoryPast:
    async def open_past(
        self: _Present, key: str, *, at: str | None = None, version: str | None = None
    ) -> AbstractAsyncContextManager[ValueStream]:
        self.calls.append(("open_past", key, at, version))
        raise HistoryGoneError(key=key, what=at or f"version {version}")

    async def history(self: _Present, key: str) -> History:
        entry = await self.head(key)
        version = Version(
            key, entry.version, "put", "current", entry.size, entry.content_type, entry.author, entry.time_ms,
            None, entry.digest,
        )  # fmt: skip
        return History(key, (version,), False)

    async def diff_page(
        self: _Present, prefix: str, from_: str, to: str = "now", *, limit: int = 1000, cursor: str = ""
    ) -> DiffPage:
        self.calls.append(("diff", prefix, from_, to, limit, cursor))
        return DiffPage((), "" if cursor else "k", 1000, 2000)

    async def restore_version(
        self: _Present, key: str, version: str, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        self.calls.append(("restore_version", key, version, ack, timeout))
        return Receipt(key, "again", (), ack or "local")

    async def restore_page(
        self: _Present, prefix: str, at: str, *, dry_run: bool = False, limit: int = 1000, cursor: str = "",
        ack: str | None = None, timeout: float | None = None,
    ) -> RestorePage:  # fmt: skip
        self.calls.append(("restore", prefix, at, dry_run, limit, cursor, ack, timeout))
        return RestorePage((), (), 0, "" if cursor else "k", 1000)
