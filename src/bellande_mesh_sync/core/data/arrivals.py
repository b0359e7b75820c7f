"""When versions became known here: what there is to judge a writer's clock by.

Kept in memory, for this run of the node alone: a time on disk with each record would cost every node eight
bytes a record for a question that is asked of siblings only, and mostly soon after they met.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from msgspec import Struct

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Author, Shard, stamp_ms

RUNS_MAX: Final = 8_192
"""1.7 MiB when all are in use. Beyond it the oldest are forgotten."""

RUN_MS_MAX: Final = 1_000
"""Consecutive writes that came within this time are one run: a stream of single writes fills 8,192 runs in
two hours."""


class Arrival(NamedTuple):
    """A version became known here between these two, in milliseconds since 1970 by this node's clock."""

    first_ms: int
    last_ms: int


class ClockAhead(NamedTuple):
    """How far a writer's clock was ahead of this node's when it wrote, in milliseconds; behind is below 0.

    None where nothing is known. A writer's stamps follow its own clock, or the latest stamp that it has
    seen if that is later.
    """

    least_ms: int | None
    most_ms: int | None


class _Run(Struct, gc=False):
    low: int
    high: int
    first_ms: int
    last_ms: int


class Arrivals:
    """Times by runs of sequence numbers. A note costs O(1), a question O(runs of that author)."""

    __slots__ = ("_order", "_runs", "_runs_max")

    def __init__(self, runs_max: int = RUNS_MAX) -> None:
        self._runs_max = runs_max
        self._runs: dict[tuple[Shard, Author], deque[_Run]] = {}
        self._order: deque[tuple[Shard, Author]] = deque()  # Whose runs these are, the oldest run first.

    def note(self, shard: Shard, author: Author, low: int, high: int, wall_ms: int) -> None:
        """The writes low..high are known from now on; this node's own too."""
        log = (shard, author)
        runs = self._runs.get(log)
        if runs is None:
            runs = self._runs[log] = deque()
        elif runs[-1].high + 1 == low and 0 <= wall_ms - runs[-1].first_ms < RUN_MS_MAX:
            runs[-1].high = high
            runs[-1].last_ms = max(runs[-1].last_ms, wall_ms)
            return
        runs.append(_Run(low, high, wall_ms, wall_ms))
        self._order.append(log)
        if len(self._order) > self._runs_max:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        log = self._order.popleft()
        runs = self._runs[log]
        runs.popleft()
        if not runs:
            del self._runs[log]

    def of(self, shard: Shard, author: Author, sequence: int) -> Arrival | None:
        """When this write became known here; None if that was before this run, or too long ago."""
        # The last time: a commit that failed may have noted the number for a write that never was.
        for run in reversed(self._runs.get((shard, author), ())):
            if run.low <= sequence <= run.high:
                return Arrival(run.first_ms, run.last_ms)
        return None

    def clock_ahead(self, shard: Shard, record: Record, own: Author) -> ClockAhead:
        """What can be concluded of the clock behind this record's stamp, and no more.

        It was written before it became known here, so its clock was ahead by at least the time by which
        the stamp is later than that. And it was written after every write of this node (author `own`)
        that it had seen, so its clock was ahead by no more than the time from then to the stamp.
        """
        written_ms = stamp_ms(record.stamp)
        known = self.of(shard, record.author, record.sequence)
        before = known if record.author == own else self._seen_by(shard, record, own)
        return ClockAhead(
            written_ms - known.last_ms if known is not None else None,
            written_ms - before.first_ms if before is not None else None,
        )

    def _seen_by(self, shard: Shard, record: Record, own: Author) -> Arrival | None:
        """When this node made the last of its writes that the record's writer had seen of the key."""
        for author, base, extras in record.context:
            if author == own:
                return self.of(shard, own, extras[-1] if extras else base)
        return None
