"""How late a process's event loop runs, as the shell measures it: by a timer that should come ten times a
second."""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.sim.world import MILLISECOND_NS

BEAT_NS: Final = 100 * MILLISECOND_NS
LAG_MIN_NS: Final = 100 * MILLISECOND_NS
"""What is less late is not worth a word."""


class Heartbeat:
    """Reckons when a beat was due while the process stood still, so that no beat has to be simulated."""

    def __init__(self, started_ns: int) -> None:
        self._due_ns = started_ns + BEAT_NS

    def stood_still(self, from_ns: int, to_ns: int) -> int:
        """The process did nothing in this time: how late the beat came that was due in it, 0 if in time."""
        if self._due_ns < from_ns:
            self._due_ns += -(-(from_ns - self._due_ns) // BEAT_NS) * BEAT_NS
        lag_ns = to_ns - self._due_ns
        if lag_ns < 0:
            return 0
        self._due_ns = to_ns + BEAT_NS
        return lag_ns if lag_ns > LAG_MIN_NS else 0
