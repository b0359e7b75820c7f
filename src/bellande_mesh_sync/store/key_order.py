"""The order of keys that come and go: made when somebody scans, and not when a key is written."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterator
from itertools import chain
from typing import Final

_BLOCK_KEYS: Final = 1024
_REBUILD_SHARE: Final = 8
"""From one new key to eight sorted ones, sorting all again is cheaper than inserting one by one."""


class KeyOrder:
    """Ordered scans over the keys of a collection. For one thread.

    The sorted keys are kept in blocks, so a scan after k writes costs O(k log n), and not a copy of
    everything.

    Args:
        keys: the collection, which its owner goes on changing; each change is told by `added` or `removed`.
    """

    def __init__(self, keys: Collection[str]) -> None:
        self._keys = keys
        self._blocks: list[list[str]] = []
        self._firsts: list[str] = []
        self._sorted_count = 0
        # Every key of `_keys` is exactly once in `_blocks` or `_pending`; what else is there, is in `_gone`.
        self._pending: list[str] = []
        self._gone: set[str] = set()

    def added(self, key: str) -> None:
        if key in self._gone:
            self._gone.discard(key)
        else:
            self._pending.append(key)

    def removed(self, key: str) -> None:
        self._gone.add(key)
        if self._is_stale():
            self._merge()

    def prepare(self) -> None:
        """Sort now what a first scan would have to sort."""
        self._rebuild(sorted(self._keys))

    def scan(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that start with `prefix`, above `after`, in code-point order. No writes while it is read."""
        self._merge()
        start, find = (after, bisect_right) if after >= prefix else (prefix, bisect_left)
        block_index = max(bisect_right(self._firsts, start) - 1, 0)
        keys = self._keys
        for position in range(block_index, len(self._blocks)):
            block = self._blocks[position]
            first = find(block, start) if position == block_index else 0
            for key in block[first:]:
                if not key.startswith(prefix):
                    return
                if key in keys:
                    yield key

    def _is_stale(self) -> bool:
        return len(self._gone) > len(self._keys) // 2 + _BLOCK_KEYS

    def _merge(self) -> None:
        """Bring recent keys into order, and forget removed ones when they are many."""
        crowded = len(self._pending) > max(self._sorted_count // _REBUILD_SHARE, 64)
        if crowded or self._is_stale():
            kept = [key for key in chain(*self._blocks, self._pending) if key in self._keys]
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
