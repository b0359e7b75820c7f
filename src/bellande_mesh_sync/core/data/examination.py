"""What a shard turned out to hold when every record of it was read."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.ids import Shard


class Examination(Struct, frozen=True, gc=False):
    """All of it is of one moment: the shard's knowledge, its fingerprint and its records."""

    shard: Shard
    knowledge: Delta
    """What is claimed."""
    fingerprint_stored: int
    fingerprint: int
    """What the sound records really add up to."""
    unproven: Delta = ()
    """Dots that are known without a record of theirs: rightly so, if a record here has replaced them."""
    unclaimed: Delta = ()
    """Dots of sound records that are not known."""
    damaged: tuple[DamagedRecord, ...] = ()
    """A bounded number of them; the next examination finds the rest."""
    record_count: int = 0
    size_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether the shard holds what it is said to hold, and nothing else."""
        return not self.damaged and not self.unclaimed and self.fingerprint == self.fingerprint_stored


def examination_of(
    shard: Shard,
    knowledge: Delta,
    live: Knowledge,
    *,
    fingerprint_stored: int,
    fingerprint: int,
    damaged: Sequence[DamagedRecord] = (),
    record_count: int = 0,
    size_bytes: int = 0,
) -> Examination:
    """Compare what is claimed with `live`, the dots of the sound records. Cost: O(all their ranges)."""
    return Examination(
        shard,
        knowledge,
        fingerprint_stored,
        fingerprint,
        unproven=live.missing_from(knowledge),
        unclaimed=Knowledge(knowledge).missing_from(live.delta()),
        damaged=tuple(damaged),
        record_count=record_count,
        size_bytes=size_bytes,
    )
