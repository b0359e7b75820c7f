"""Records held off because their stamps are too far ahead: until their time comes nobody is asked for them.

Everybody who has them offers them again at every comparison and with every commit. Without this note a
node whose neighbour's clock is minutes ahead fetches the same records from all its peers all that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Dot, Now, Shard, Stamp, stamp_of

SORTED_OUT_EVERY_NS = 1_000_000_000
"""All notes are gone through when some are due, but not more often than this."""
HORIZON_MS = 3_600_000
"""However far a stamp is ahead, its dot is asked for again when the clock has gone on by this hour: the next
one who offers it may have an honest record for it."""
HELD_OFF_MAX = 100_000
"""Dots noted, about 200 bytes each; those beyond are asked for as often as they are offered."""
_NEVER: Final = Stamp(1 << 64)


@dataclass(slots=True, eq=False)
class _Notes:
    """Those of one shard."""

    stamps: dict[Dot, Stamp] = field(default_factory=dict)
    dots: Knowledge = field(default_factory=Knowledge)
    earliest: Stamp = _NEVER
    """The first stamp of them; before its time none of them can be taken in."""


class HeldOff:
    """Which records came too early. Judged by the wall clock as it is now, wrong or set right since."""

    def __init__(self, clock: HybridClock) -> None:
        self._clock = clock
        self._shards: dict[Shard, _Notes] = {}
        self._sorted_out_ns = -SORTED_OUT_EVERY_NS
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def note(self, shard: Shard, record: Record, now: Now) -> None:
        due = min(record.stamp, Stamp(self._clock.limit(now) + stamp_of(HORIZON_MS)))
        notes = self._shards.setdefault(shard, _Notes())
        if self._count < HELD_OFF_MAX and record.dot not in notes.stamps:
            self._count += 1
            self._add(notes, record.dot, due)

    def among(self, shard: Shard, now: Now) -> Knowledge | None:
        """The dots whose time has not come; None if there are none."""
        notes = self._shards.get(shard)
        if notes is None:
            return None
        limit = self._clock.limit(now)
        if notes.earliest <= limit and now.mono_ns - self._sorted_out_ns >= SORTED_OUT_EVERY_NS:
            self._sorted_out_ns = now.mono_ns
            notes = self._without_due(shard, notes, limit)
        return notes.dots if notes.stamps else None

    def _without_due(self, shard: Shard, notes: _Notes, limit: Stamp) -> _Notes:
        self._count -= len(notes.stamps)
        left = self._shards[shard] = _Notes()
        for dot, stamp in notes.stamps.items():
            if stamp > limit:
                self._count += 1
                self._add(left, dot, stamp)
        return left

    def _add(self, notes: _Notes, dot: Dot, stamp: Stamp) -> None:
        notes.stamps[dot] = stamp
        notes.dots.add(dot.author, dot.sequence, dot.sequence)
        notes.earliest = min(notes.earliest, stamp)
