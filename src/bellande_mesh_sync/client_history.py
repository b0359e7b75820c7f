"""What a client asks about the past."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from bellande_mesh_sync.client_transfers import query_of
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import Difference, DiffPage, History, Receipt, RestorePage

Answered = TypeVar("Answered")


class HistoryClient(ABC):
    """Times are texts as `bms` takes them: ISO 8601, `2h ago`, `now`, or milliseconds since 1970."""

    @abstractmethod
    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered: ...

    @abstractmethod
    def _post(self, path: str, wanted: type[Answered], **options: Any) -> Answered: ...

    def history(self, key: str) -> History:
        """The versions of a key that the node has, the latest first."""
        return self._get(_path_of(key), History)

    def diff_page(
        self, prefix: str, from_: str, to: str = "now", *, limit: int = 1000, cursor: str = ""
    ) -> DiffPage:
        params = {"from": from_, "to": to, "prefix": check_prefix(prefix), "limit": limit, "cursor": cursor}
        return self._get("/v1/diff", DiffPage, **params)

    def diff(self, prefix: str, from_: str, to: str = "now", *, page: int = 1000) -> Iterator[Difference]:
        """Every key with this prefix that differs between two moments, in order."""
        cursor = ""
        while True:
            found = self.diff_page(prefix, from_, to, limit=page, cursor=cursor)
            yield from found.differences
            cursor, from_, to = found.cursor, str(found.from_ms), str(found.to_ms)
            if not cursor:
                return

    def restore(
        self, prefix: str, at: str, *, dry_run: bool = False, page: int = 500, ack: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[RestorePage]:  # fmt: skip
        """Bring keys back to what they were, a page at a time; what each page did, once it is done."""
        cursor = ""
        options = query_of(dry_run=dry_run, limit=page, ack=ack, timeout=timeout)
        while True:
            wish = {"prefix": check_prefix(prefix), "at": at, "cursor": cursor, **options}
            done = self._post("/v1/restore", RestorePage, timeout=timeout, json=wish)
            yield done
            cursor, at = done.cursor, str(done.at_ms)
            if not cursor:
                return

    def restore_version(
        self, key: str, version: str, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        """Write an old version of a key again."""
        wish = {"version": version, **query_of(ack=ack, timeout=timeout)}
        return self._post(_path_of(key), Receipt, timeout=timeout, json=wish)


def _path_of(key: str) -> str:
    return f"/v1/history/{quote(check_key(key), safe='/')}"
