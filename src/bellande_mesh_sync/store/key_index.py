"""The index in memory: which records each key has now, and the keys in order.

A tree on random keys inside the database is what holds an embedded store to 40-75k rows/s, so the
database is only appended to, and finding a key is this module's job: about 200 bytes a key.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, TypeAlias

RecordIds: TypeAlias = int | tuple[int, ...]
"""One id for nearly every key; a tuple while siblings stand beside each other."""

_BLOCK_KEYS: Final = 1024
_REBUILD_SHARE: Final = 8
"""From one new key to eight sorted ones, sorting all again is cheaper than inserting one by one."""


class KeyIndex:
    """Record ids by key, with ordered scans. For one thread.

    A write costs a dict operation; order is made when somebody scans. The sorted keys are kept in
    blocks, so a scan after k writes costs O(k log n), and not a copy of everything.
    """

    def __init__(self) -> None:
        self._ids: dict[str, RecordIds] = {}
        self._record_count = 0
        self._blocks: list[list[str]] = []
        self._firsts: list[str] = []
        self._sorted_count = 0
        # Every key of `_ids` is exactly once in `_blocks` or `_pending`; what else is there, is in `_gone`.
        self._pending: list[str] = []
        self._gone: set[str] = set()

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
            held = ids.setdefault(key, record_id)
            if held is not record_id:
                ids[key] = (held, record_id) if isinstance(held, int) else (*held, record_id)

    def prepare(self) -> None:
        """Sort now what a first scan would have to sort."""
        self._rebuild(sorted(self._ids))

    def add(self, key: str, record_id: int) -> None:
        held = self._ids.get(key)
        if held is None:
            self._ids[key] = record_id
            if key in self._gone:
                self._gone.discard(key)
            else:
                self._pending.append(key)
        elif isinstance(held, int):
            if held == record_id:
                return
            self._ids[key] = (held, record_id)
        elif record_id in held:
            return
        else:
            self._ids[key] = (*held, record_id)
        self._record_count += 1

    def remove(self, key: str, record_id: int) -> bool:
        """Take one record away; False if it is not there."""
        held = self._ids.get(key)
        if held == record_id:
            del self._ids[key]
            self._gone.add(key)
        elif isinstance(held, tuple) and record_id in held:
            rest = tuple(other for other in held if other != record_id)
            self._ids[key] = rest if len(rest) > 1 else rest[0]
        else:
            return False
        self._record_count -= 1
        return True

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
        self._merge()
        start, find = (after, bisect_right) if after >= prefix else (prefix, bisect_left)
        block_index = max(bisect_right(self._firsts, start) - 1, 0)
        ids = self._ids
        for position in range(block_index, len(self._blocks)):
            block = self._blocks[position]
            first = find(block, start) if position == block_index else 0
            for key in block[first:]:
                if not key.startswith(prefix):
                    return
                held = ids.get(key)
                if held is not None:
                    yield key, (held,) if isinstance(held, int) else held

    def _merge(self) -> None:
        """Bring recent keys into order, and forget removed ones when they are many."""
        crowded = len(self._pending) > max(self._sorted_count // _REBUILD_SHARE, 64)
        stale = len(self._gone) > len(self._ids) // 2 + _BLOCK_KEYS
        if crowded or stale:
            kept = [key for key in chain(*self._blocks, self._pending) if key in self._ids]
            kept.sort()  # A long sorted run and a short unsorted one: near O(n).
            self._rebuild(kept)
        elif self._pending:
            for key in self._pending:
                self._insert(key)
            self._sorted_count += len(self._pending)
            self._pending.clear()

    def _insert(self, key: str) -> None:
        if not self._blocks:
            self._blocks, self._firsts = [[key]], [key]
            return
        position = max(bisect_right(self._firsts, key) - 1, 0)
        block = self._blocks[position]
        insort(block, key)
        self._firsts[position] = block[0]
        if len(block) > 2 * _BLOCK_KEYS:
            upper = block[_BLOCK_KEYS:]
            del block[_BLOCK_KEYS:]
            self._blocks.insert(position + 1, upper)
            self._firsts.insert(position + 1, upper[0])

    def _rebuild(self, keys: list[str]) -> None:
        self._blocks = [keys[start : start + _BLOCK_KEYS] for start in range(0, len(keys), _BLOCK_KEYS)]
        self._firsts = [block[0] for block in self._blocks]
        self._sorted_count = len(keys)
        self._pending.clear()
        self._gone.clear()
