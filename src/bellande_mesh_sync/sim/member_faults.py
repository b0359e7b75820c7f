"""Trouble for member worlds, drawn from the seed: which kinds there are, how often, and for how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from bellande_mesh_sync.sim.member_promises import ASLEEP, DOWN, LEFT, UP
from bellande_mesh_sync.sim.member_world import MemberWorld
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

KINDS: Final = ("kill", "pause", "split", "cut", "late", "join", "leave", "sleep", "remove", "change", "twin")

CUT_NODES_MIN: Final = 5
"""With fewer up a cut goes: when one more is gone there may be no way around it (seed 191)."""


@dataclass(frozen=True, slots=True)
class MemberFaults:
    kinds: tuple[str, ...] = KINDS
    every_s: float = 20.0
    """The mean pause between two of them."""
    lasts_s: float = 40.0
    """The mean time until a kill is restarted, a pause resumed, a split healed."""
    down_ratio_max: float = 0.3
    """No more of the nodes are made to be gone at once."""


class MemberNemesis:
    """Does one thing after the other to a world, until it is told to stop."""

    def __init__(self, world: MemberWorld, faults: MemberFaults) -> None:
        self._members = world
        self._world = world.world
        self._faults = faults
        self._rng = world.world.rng("nemesis")
        self._is_split = False
        self._is_over = False
        self.ends_ns = 0
        """When the last of what it began is over by itself."""
        self.counts: Counter[str] = Counter()
        self._plan()

    def stop(self) -> None:
        """Nothing new happens, and what can be healed is: but the killed stay dead and sleepers sleep."""
        self._is_over = True

    def _plan(self) -> None:
        self._world.after(int(self._rng.expovariate(1.0) * self._faults.every_s * SECOND_NS), self._strike)

    def _strike(self) -> None:
        if self._is_over:
            return
        kind = self._rng.choice(self._faults.kinds)
        lasts_ns = int((0.2 + self._rng.expovariate(1.0)) * self._faults.lasts_s * SECOND_NS)
        lives = self._members.checker.lives
        up = [index for index, life in enumerate(lives) if life.state == UP]
        # A split or a double leaves room for nothing else: what it explains could hide what is wrong.
        is_busy = self._is_split or self._members.has_double
        if not is_busy and len(up) > (1 - self._faults.down_ratio_max) * len(lives):
            self.counts[kind] += 1
            self.ends_ns = max(self.ends_ns, self._world.now_ns + lasts_ns + 5 * SECOND_NS)
            self._do(kind, up, lasts_ns)
        self._plan()

    def _do(self, kind: str, up: list[int], lasts_ns: int) -> None:
        members = self._members
        if len(up) < CUT_NODES_MIN:
            members.network.heal()
        victim = self._rng.choice(up)
        if kind == "kill":
            members.kill(victim)
            self._world.after(lasts_ns, self._restart, victim, members.checker.lives[victim].since_ns)
        elif kind == "pause":
            members.pause(victim)
            self._world.after(lasts_ns, members.resume, victim)
        elif kind == "split":
            self._is_split = True
            members.network.heal()
            members.split(self._rng.sample(up, max(1, int(self._rng.random() * len(up)))))
            self._world.after(lasts_ns, self._heal)
        elif kind == "cut":
            members.network.heal()  # One at a time: several could leave a node with no way at all.
            if len(up) >= CUT_NODES_MIN:
                members.cut_one_way(victim, self._rng.choice(up))
        elif kind == "late":
            members.run_late(victim, int(self._rng.uniform(50, 800)) * MILLISECOND_NS)
            self._world.after(lasts_ns, members.run_late, victim, 0)
        elif kind == "join":
            members.join()
        elif kind == "leave":
            members.leave(victim)
        elif kind == "change":
            members.change(victim)
        elif kind == "twin":
            if members.scenario.is_sealed and len(up) > 2 and not members.hosts[victim].is_late:
                members.twin(victim)
        elif kind == "remove":
            lives = members.checker.lives
            gone = [index for index, life in enumerate(lives) if life.state in (DOWN, ASLEEP, LEFT)]
            if gone:
                members.remove(victim, self._rng.choice(gone))
        else:
            # A third of the sleepers means to be back far earlier.
            for_s = 0 if self._rng.random() < 1 / 3 else lasts_ns // SECOND_NS
            members.sleep(victim, for_s)
            self._world.after(lasts_ns + 5 * SECOND_NS, self._wake, victim)

    def _heal(self) -> None:
        self._is_split = False
        self._members.heal()

    def _restart(self, victim: int, since_ns: int) -> None:
        life = self._members.checker.lives[victim]
        if life.state == DOWN and life.since_ns == since_ns and not self._is_over:
            self._members.restart(victim, with_book=self._rng.random() < 0.7)

    def _wake(self, victim: int) -> None:
        if self._members.checker.lives[victim].state == ASLEEP and not self._is_over:
            self._members.wake(victim)
