"""Virtual time: one queue of actions, one clock for the universe, one skewed clock for each node."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any, Final

from blake3 import blake3

from bellande_mesh_sync.ids import Now

MICROSECOND_NS: Final = 1_000
MILLISECOND_NS: Final = 1_000_000
SECOND_NS: Final = 1_000_000_000

WALL_START_MS: Final = 1_767_225_600_000
"""2026-01-01: what right clocks show when a simulation starts."""


class World:
    """The order in which things happen. Two actions of one instant run in the order of their planning."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.now_ns = 0
        self.step_count = 0
        self._planned_count = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def rng(self, name: str) -> random.Random:
        """A source of chance of its own for each component, so that a draw more in one moves no other."""
        return random.Random(int.from_bytes(blake3(f"{self.seed}/{name}".encode()).digest(), "big"))

    def at(self, at_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        """Run `action` at this time, or now if that has passed."""
        self._planned_count += 1
        heapq.heappush(self._queue, (max(at_ns, self.now_ns), self._planned_count, action, arguments))

    def after(self, delay_ns: int, action: Callable[..., None], *arguments: Any) -> None:
        self.at(self.now_ns + delay_ns, action, *arguments)

    def run_until(self, end_ns: int) -> None:
        """Do everything that is due up to `end_ns`, then stand there."""
        queue = self._queue
        while queue and queue[0][0] <= end_ns:
            self.now_ns, _, action, arguments = heapq.heappop(queue)
            self.step_count += 1
            action(*arguments)
        self.now_ns = max(self.now_ns, end_ns)


class NodeClock:
    """The two clocks of one machine: both drift, the wall clock is off and may jump.

    The monotonic clock starts somewhere else at every boot, as on real machines.
    """

    def __init__(self, world: World, *, offset_ms: int = 0, drift_ppm: int = 0) -> None:
        self._world = world
        self._drift_ppm = drift_ppm
        self._mono_start_ns = 0
        self.offset_ms = offset_ms

    def reboot(self, mono_start_ns: int) -> None:
        self._mono_start_ns = mono_start_ns

    def now(self) -> Now:
        local_ns = self._world.now_ns
        if self._drift_ppm:
            local_ns += local_ns * self._drift_ppm // 1_000_000
        return Now(
            self._mono_start_ns + local_ns, WALL_START_MS + local_ns // MILLISECOND_NS + self.offset_ms
        )

    def world_time_of(self, mono_ns: int) -> int:
        """When, in the world's time, this machine's monotonic clock shows at least `mono_ns`."""
        wait_ns = mono_ns - self.now().mono_ns
        if wait_ns <= 0:
            return self._world.now_ns
        return self._world.now_ns + wait_ns * 1_000_000 // (1_000_000 + self._drift_ppm) + 2
