"""How far a node trusts itself, and how patient it therefore is with others."""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.core.members.swim.config import SwimConfig

_FADE: Final = 64
"""The slowest round trips are forgotten over about this many probes."""


class Health:
    """Lifeguard's local health multiplier: 0 is well; each step makes all probing one time slower.

    Source: Lifeguard (Dadgar, Phillips, Currey; 2017), section 4 (LHA-Probe).
    """

    __slots__ = ("_config", "_slow_trip_ns", "score")

    def __init__(self, config: SwimConfig) -> None:
        self._config = config
        self._slow_trip_ns = config.probe_timeout_max_ns
        self.score = 0

    def worsen(self, by: int = 1) -> None:
        self.score = min(self.score + by, self._config.health_max - 1)

    def improve(self) -> None:
        self.score = max(self.score - 1, 0)

    def took(self, trip_ns: int) -> None:
        """A ping was answered after this long."""
        self._slow_trip_ns = max(trip_ns, self._slow_trip_ns - self._slow_trip_ns // _FADE)

    def timeout_ns(self) -> int:
        config = self._config
        patience_ns = max(
            config.probe_timeout_min_ns, min(4 * self._slow_trip_ns, config.probe_timeout_max_ns)
        )
        return patience_ns * (self.score + 1)

    def interval_ns(self) -> int:
        return self._config.probe_interval_ns * (self.score + 1)
