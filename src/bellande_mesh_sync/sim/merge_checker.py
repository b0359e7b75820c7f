"""Spaces with a merge function: what readers see there, and that the function keeps its laws."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bellande_mesh_sync.core.data.merging import Merge, Sibling, siblings_of
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.merge_laws import broken_law, shown

DataOf = Callable[[Record], bytes]


class MergeChecker:
    """Tries each space's merge function on every set of siblings that comes to be on any disk."""

    def __init__(self, merges: Mapping[str, Merge], names: Mapping[str, str]) -> None:
        """
        Args:
            merges: by space.
            names: of the nodes, by node id, for people.
        """
        self._merges = dict(merges)
        self._names = dict(names)
        self._merged: dict[tuple[str, ...], bytes] = {}
        self.checked_count = 0

    def covers(self, key: str) -> bool:
        return space_of(key) in self._merges

    def merged(self, node: str, records: Sequence[Record], data_of: DataOf) -> bytes | None:
        """What a reader of these records of one key is given; None if there is nothing to merge.

        Raises:
            Violation: the function breaks a law on them.
        """
        values = [record for record in records if not record.is_tombstone]
        if len(values) < 2:
            return None
        versions = tuple(sorted(record.version for record in values))
        if versions not in self._merged:
            key = values[0].key
            self._merged[versions] = self._checked(node, key, siblings_of(values, data_of))
        return self._merged[versions]

    def merged_anew(self, records: Sequence[Record], data_of: DataOf) -> bytes | None:
        """As `merged`, with nothing remembered: what this node's own call gives."""
        siblings = siblings_of(records, data_of)
        return self._merges[space_of(records[0].key)](siblings) if len(siblings) > 1 else None

    def _checked(self, node: str, key: str, siblings: tuple[Sibling, ...]) -> bytes:
        merge = self._merges[space_of(key)]
        self.checked_count += 1
        broken = broken_law(merge, siblings)
        if broken is not None:
            name = f"{getattr(merge, '__module__', '?')}:{getattr(merge, '__name__', merge)}"
            told = "\n".join(f"  {line}" for line in broken.told.splitlines())
            text = f"{name} is not {broken.law} on {key}\n{self._listed(siblings)}\n{told}"
            raise Violation("merge", node, text, about=key)
        return merge(siblings)

    def _listed(self, siblings: Sequence[Sibling]) -> str:
        return "\n".join(
            f"  {number}. {self._names.get(sibling.author, sibling.author[:8])} at "
            f"{sibling.time_ms / 1000:.3f}: {shown(sibling.data)}"
            for number, sibling in enumerate(siblings, 1)
        )
