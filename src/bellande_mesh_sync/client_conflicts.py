"""The client's calls about conflicts: listing, looking at and settling them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from bellande_mesh_sync.client_transfers import Source, body_of, query_of, sized
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import Conflict, Conflicts, Receipt, Siblings

if TYPE_CHECKING:
    import httpx

Answered = TypeVar("Answered")


class ConflictCalls(ABC):
    """What a client asks and says about keys under which several versions stand."""

    @abstractmethod
    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered: ...

    @abstractmethod
    def _send(
        self, method: str, path: str, *, timeout: float | None = None, **options: Any
    ) -> httpx.Response: ...

    def conflicts_page(self, prefix: str = "", *, limit: int = 100, cursor: str = "") -> Conflicts:
        """Up to `limit` (at most 1,000) keys in conflict, in order, after `cursor`."""
        return self._get("/v1/conflicts", Conflicts, prefix=check_prefix(prefix), limit=limit, cursor=cursor)

    def conflicts(self, prefix: str = "", *, page: int = 100) -> Iterator[Conflict]:
        """Every key in conflict under `prefix`, in order, asked for page by page."""
        cursor = ""
        while True:
            found = self.conflicts_page(prefix, limit=page, cursor=cursor)
            yield from found.conflicts
            cursor = found.cursor
            if not cursor:
                return

    def siblings(self, key: str) -> Siblings:
        """All that stands under a key, the winner first."""
        return self._get(_path_of(key), Siblings)

    def resolve(
        self,
        key: str,
        version: str | None = None,
        *,
        data: Source | None = None,
        size: int | None = None,
        content_type: str = "application/octet-stream",
        context: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Settle a conflict: keep the sibling of this version, or write new data in place of those seen.

        Args:
            context: of the `siblings` that were looked at. Without it all that the node holds is replaced.
            data, size, content_type: as for `put`.
        """
        if (version is None) == (data is None):
            raise UsageError(reason="resolve takes either a version to keep, or new data")
        params = query_of(ack=ack, timeout=timeout)
        if data is None:
            choice = query_of(version=version, context=context)
            return self._settle(key, timeout, params=params, json=choice)
        body, known = body_of(data)
        size = known if known is not None else size
        headers = {"content-type": content_type}
        if context is not None:
            headers["x-bms-context"] = context
        if size is not None:
            headers["content-length"] = str(size)
        content = body if isinstance(body, bytes) or size is None else sized(key, body, size)
        return self._settle(key, timeout, params={**params, "new": True}, headers=headers, content=content)

    def _settle(self, key: str, timeout: float | None, **options: Any) -> Receipt:
        answer = self._send("POST", _path_of(key), timeout=timeout, **options)
        return msgspec.json.decode(answer.content, type=Receipt)


def _path_of(key: str) -> str:
    return f"/v1/conflicts/{quote(check_key(key), safe='/')}"
