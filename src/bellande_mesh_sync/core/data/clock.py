"""The hybrid logical clock: stamps that follow wall time and never run backwards.

Kulkarni et al., "Logical Physical Clocks" (2014). A stamp orders siblings for display; what a node
has *seen* is never decided by it.
"""

from __future__ import annotations

from bellande_mesh_sync.ids import Now, Stamp, stamp_of


class HybridClock:
    """Stamps of one node.

    Args:
        drift_max_ms: a stamp further ahead of the wall clock than this does not move ours, so that
            one wrong clock cannot drag a whole mesh into the future.
    """

    __slots__ = ("_drift_max_ms", "_last")

    def __init__(self, drift_max_ms: int, last: int = 0) -> None:
        self._drift_max_ms = drift_max_ms
        self._last = last

    @property
    def last(self) -> int:
        """The highest stamp given or observed: what must outlive a restart."""
        return self._last

    def next(self, now: Now) -> Stamp:
        """A stamp above every one given or observed before. The counter runs over into the milliseconds.

        Except after the wall clock itself was far ahead and was set right: going on from there would
        have every later write held off as coming from the future, so stamps start over from the wall.
        """
        if self._last > self.limit(now):
            self._last = 0
        self._last = max(self._last + 1, stamp_of(now.wall_ms))
        return Stamp(self._last)

    def observe(self, stamp: Stamp, now: Now) -> None:
        if not self.is_ahead(stamp, now):
            self._last = max(self._last, stamp)

    def is_ahead(self, stamp: Stamp, now: Now) -> bool:
        return stamp > self.limit(now)

    def limit(self, now: Now) -> Stamp:
        """The highest stamp that is not too far ahead."""
        return stamp_of(now.wall_ms + self._drift_max_ms, 0xFFFF)
