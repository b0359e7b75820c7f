"""The index in memory: which records each key has now, the keys in order, and those in conflict.

A tree on random keys inside the database is what holds an embedded store to 40-75k rows/s, so the
database is only appended to, and finding a key is this module's job: about 200 bytes a key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from bellande_mesh_sync.store.conflict_keys import ConflictKeys
from bellande_mesh_sync.store.key_order import KeyOrder
from bellande_mesh_sync.store.key_set import KeySet

RecordIds: TypeAlias = int | tuple[int, ...]
"""One id for nearly every key; a tuple while siblings stand beside each other. Tombstones are negative."""


class KeyIndex:
    """Record ids by key, with ordered scans. For one thread.

    A write costs a dict operation; order is made when somebody scans.
    """

    def __init__(self) -> None:
        self._ids: dict[str, RecordIds] = {}
        self._order = KeyOrder(self._ids)
        self._record_count = 0
        self.conflicts = ConflictKeys()
        """The keys with several records of which at least one is a value, as of the last `settle`."""
        self.deleted = KeySet()
        """The keys that have nothing but tombstones, as of the last `settle`."""
        # Keys that had several records, or a tombstone, since then. A write that replaces another one has two
        # for a moment.
        self._unsettled: dict[str, None] = {}

    @property
    def key_count(self) -> int:
        return len(self._ids)

    @property
    def record_count(self) -> int:
        return self._record_count

    def load(self, rows: Iterable[tuple[str, int]]) -> None:
        """Fill an empty index, or go on filling it: each id at most once. Call `prepare` at the end."""
        ids = self._ids
        for key, record_id in rows:
            self._record_count += 1
            if record_id < 0:
                self._unsettled[key] = None
            held = ids.setdefault(key, record_id)
            if held is not record_id:
                ids[key] = (held, record_id) if isinstance(held, int) else (*held, record_id)
                self._unsettled[key] = None

    def prepare(self) -> None:
        """Sort now what a first scan would have to sort."""
        self._order.prepare()
        self.settle()
        self.conflicts.prepare()
        self.deleted.prepare()

    def add(self, key: str, record_id: int) -> None:
        if record_id < 0:
            self._unsettled[key] = None
        held = self._ids.get(key)
        if held is None:
            self._ids[key] = record_id
            self._order.added(key)
        elif isinstance(held, int):
            if held == record_id:
                return
            self._ids[key] = (held, record_id)
            self._unsettled[key] = None
        elif record_id in held:
            return
        else:
            self._ids[key] = (*held, record_id)
            self._unsettled[key] = None
        self._record_count += 1

    def remove(self, key: str, record_id: int) -> bool:
        """Take one record away; False if it is not there."""
        held = self._ids.get(key)
        if held == record_id:
            del self._ids[key]
            self._order.removed(key)
            if record_id < 0:
                self._unsettled[key] = None
        elif isinstance(held, tuple) and record_id in held:
            rest = tuple(other for other in held if other != record_id)
            self._ids[key] = rest if len(rest) > 1 else rest[0]
            self._unsettled[key] = None
        else:
            return False
        self._record_count -= 1
        return True

    def settle(self) -> None:
        """Bring `conflicts` and `deleted` up to date, after a group of changes. Cost: O(keys that had several
        records, or a tombstone)."""
        ids, conflicts = self._ids, self.conflicts
        for key in self._unsettled:
            held = ids.get(key)
            newest = held if isinstance(held, int) else max(held) if held else 0
            self.deleted.mark(key, is_in=newest < 0)
            if isinstance(held, tuple):
                conflicts.mark(key, in_conflict=max(held) > 0)
            elif key in conflicts.keys:
                conflicts.mark(key, in_conflict=False)
        self._unsettled.clear()

    def remove_id(self, record_id: int) -> None:
        """Take a record away whose key is not known. Cost: O(keys)."""
        for key in [key for key in self._ids if {record_id, -record_id} & set(self.get(key))]:
            _ = self.remove(key, record_id) or self.remove(key, -record_id)

    def get(self, key: str) -> tuple[int, ...]:
        held = self._ids.get(key)
        if held is None:
            return ()
        return (held,) if isinstance(held, int) else held

    def scan(self, prefix: str, after: str = "") -> Iterator[tuple[str, tuple[int, ...]]]:
        """Keys that start with `prefix`, above `after`, in code-point order. No writes while it is read."""
        ids = self._ids
        for key in self._order.scan(prefix, after):
            held = ids[key]
            yield key, (held,) if isinstance(held, int) else held
