"""Which records may go without a successor: tombstones that everybody has, and what these had deleted.

An account of its own, of what all disks hold. It knows nothing of rounds and cuts: a delete may be forgotten
once every disk knows it and knows all that it had replaced, and once nothing stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Dot, Shard
from bellande_mesh_sync.keys import shard_of


class TombstoneChecker:
    """Follows what disks drop.

    Args:
        knows: whether a disk, by its index, knows this dot or once knew it.
        versions: every version of a key that ever was on a disk.
    """

    def __init__(
        self, knows: Callable[[int, Shard, Dot], bool], versions: Callable[[str], Iterable[Record]]
    ) -> None:
        self._knows = knows
        self._versions = versions
        self._gone: dict[str, dict[Dot, Record]] = {}
        """Tombstones that were dropped with nothing in their place, by key."""
        self.keepers: Callable[[], Sequence[int]] = tuple
        """The disks that must have a delete before anybody forgets it."""

    def is_gone(self, key: str, dot: Dot) -> bool:
        """Whether a delete that was rightly forgotten had replaced this version, or was it."""
        gone = self._gone.get(key, {})
        return dot in gone or any(covers(tombstone.context, *dot) for tombstone in gone.values())

    def objection(self, record: Record, before: Iterable[Record], batch: Batch) -> str:
        """Why this record must not be dropped without a successor; empty if it may be.

        Args:
            before: what was live under its key until this batch.
        """
        if self.is_gone(record.key, record.dot):
            return ""  # Somebody has dropped it before; or a delete that is gone had replaced it.
        if not record.is_tombstone:
            return "no delete that was forgotten had replaced it"
        arrived = {put.dot for _, put in batch.puts}
        beside = [other for other in before if not other.is_tombstone and other.dot not in arrived]
        if beside:
            return f"{beside[0].version} stands beside it"
        shard = shard_of(record.key)
        for index in self.keepers():
            for version in self._versions(record.key):
                is_meant = version == record or covers(record.context, *version.dot)
                if is_meant and not self._knows(index, shard, version.dot):
                    return f"n{index} has never heard of {version.version}"
        self._gone.setdefault(record.key, {})[record.dot] = record
        return ""
