"""History in memory: old versions by key, and which of them expire next."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush, nsmallest

from bellande_mesh_sync.core.data.history import OldVersion, remaining
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Author, Stamp
from bellande_mesh_sync.store.interface import EXPIRED_PER_BATCH, OldVersions

_Due = tuple[int, str, Author, int]
"""Expiry, key and dot."""


class MemoryHistory:
    """Lists are replaced and never changed, so that any thread may read while one writes."""

    def __init__(self) -> None:
        self._kept: dict[str, list[OldVersion]] = {}
        self._count = 0
        self._due: list[_Due] = []  # A heap; of versions that went for their number some are still in it.

    def apply(self, batch: Batch) -> None:
        for old in batch.history:
            self._keep(old)
        if batch.expired_ms:
            self._forget_expired(batch.expired_ms)
        if len(self._due) > 2 * self._count + 64:
            self._due = [_due(old) for kept in self._kept.values() for old in kept if old.expires_ms]
            heapify(self._due)

    def _keep(self, old: OldVersion) -> None:
        key = old.record.key
        others = [each for each in self._kept.get(key, ()) if each.record.dot != old.record.dot]
        self._replace(key, remaining([*others, old], old.versions))
        if old.expires_ms:
            heappush(self._due, _due(old))

    def _forget_expired(self, expired_ms: int) -> None:
        forgotten = 0
        while self._due and self._due[0][0] <= expired_ms and forgotten < EXPIRED_PER_BATCH:
            _, key, *dot = heappop(self._due)
            kept = self._kept.get(key, [])
            left = [old for old in kept if old.record.dot != tuple(dot) or old.expires_ms > expired_ms]
            forgotten += len(kept) - len(left)
            self._replace(key, left)

    def _replace(self, key: str, kept: list[OldVersion]) -> None:
        self._count += len(kept) - len(self._kept.get(key, ()))
        if kept:
            self._kept[key] = kept
        else:
            self._kept.pop(key, None)

    def keys(self, prefix: str, after: str, limit: int) -> list[str]:
        """Up to `limit` keys with this prefix above `after` that have old versions, in order."""
        found = (key for key in list(self._kept) if key > after and key.startswith(prefix))
        return nsmallest(limit, found)

    def records(self) -> list[Record]:
        """All old versions."""
        return [old.record for kept in self._kept.values() for old in kept]

    def read(self, keys: Sequence[str], size_bytes_max: int) -> list[OldVersions]:
        found: list[OldVersions] = []
        size = 0
        for key in keys:
            kept = self._kept.get(key, ())
            size += sum(len(old.record.inline or b"") for old in kept)
            if found and size > size_bytes_max:
                break
            found.append(tuple(_pair(old) for old in kept))
        return found


def _due(old: OldVersion) -> _Due:
    return (old.expires_ms, old.record.key, old.record.author, old.record.sequence)


def _pair(old: OldVersion) -> tuple[Stamp, Record]:
    return (old.until, old.record)
