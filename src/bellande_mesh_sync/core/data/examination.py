"""What a shard turned out to hold when every record of it was read."""

from __future__ import annotations

from msgspec import Struct

from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.ids import Shard


class Examination(Struct, frozen=True, gc=False):
    """All of it is of one moment: the shard's knowledge, its fingerprint and its records."""

    shard: Shard
    knowledge: Delta
    """What is claimed."""
    live: Delta
    """The dots whose records are there and sound."""
    fingerprint_stored: int
    fingerprint: int
    """What the sound records really add up to."""
    damaged: tuple[DamagedRecord, ...] = ()
    """A bounded number of them; the next examination finds the rest."""
    record_count: int = 0
    size_bytes: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether the shard holds what it is said to hold, and nothing else."""
        has_all = not self.damaged and self.fingerprint == self.fingerprint_stored
        return has_all and not self.unclaimed

    @property
    def unclaimed(self) -> Delta:
        """Dots of sound records that are not known."""
        return Knowledge(self.knowledge).missing_from(self.live)

    @property
    def unproven(self) -> Delta:
        """Dots that are known without a record of theirs: rightly so, if a record here has replaced them."""
        return Knowledge(self.live).missing_from(self.knowledge)
