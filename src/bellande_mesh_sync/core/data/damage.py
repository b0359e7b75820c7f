"""Damage: which records of this node are known to be damaged, and which keys read so for that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.ids import Author, Dot, Shard


class Damage:
    """Damaged dots, by shard and by key, until they come back, are replaced, or turn out to be sound."""

    def __init__(self, records: Iterable[DamagedRecord] = ()) -> None:
        self._keys: dict[Shard, dict[Dot, str]] = {}
        self._dots: dict[str, set[Dot]] = {}
        for record in records:
            self.note(record)

    def __len__(self) -> int:
        return sum(len(dots) for dots in self._keys.values())

    def note(self, record: DamagedRecord) -> bool:
        """Whether that is news."""
        dots = self._keys.setdefault(record.shard, {})
        if record.dot in dots:
            return False
        dots[record.dot] = record.key
        self._dots.setdefault(record.key, set()).add(record.dot)
        return True

    def forget(self, shard: Shard, dots: Iterable[Dot]) -> None:
        held = self._keys.get(shard, {})
        for dot in dots:
            key = held.pop(dot, None)
            if key is not None:
                rest = self._dots[key]
                rest.discard(dot)
                if not rest:
                    del self._dots[key]

    def of(self, key: str) -> Sequence[Dot]:
        """The damaged dots of a key, in order."""
        return sorted(self._dots.get(key, ()))

    def keys(self) -> Iterable[str]:
        return self._dots

    def between(self, prefix: str, after: str, last: str) -> set[str]:
        """Damaged keys with this prefix above `after`, up to `last`; all that follow if that is empty."""
        return {
            key for key in self._dots if key.startswith(prefix) and key > after and (not last or key <= last)
        }

    def among(self, shard: Shard, author: Author, low: int, high: int) -> list[Dot]:
        """Those of these dots that are damaged. Cost: O(damaged dots of the shard)."""
        held = self._keys.get(shard)
        if not held:
            return []
        return [dot for dot in held if dot.author == author and low <= dot.sequence <= high]

    def as_delta(self, shard: Shard) -> Delta:
        dots = Knowledge()
        for dot in self._keys.get(shard, {}):
            dots.add(dot.author, dot.sequence, dot.sequence)
        return dots.delta()

    def in_shard(self, shard: Shard) -> bool:
        return bool(self._keys.get(shard))
