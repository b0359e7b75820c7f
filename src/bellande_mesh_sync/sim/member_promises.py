"""What membership promises, judged by what programs on each node are told and by what really happened.

Nothing here asks the core for its own bounds: they are worked out again from the profile's figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.world import SECOND_NS

RETURN_NS: Final = 10 * SECOND_NS
"""A node that is back is known to be back by then."""
HEAL_NS: Final = 60 * SECOND_NS
"""Two parts that hold each other for dead are one mesh again by then."""
LONG_SPLIT: Final = 4
"""Detection bounds after which all suspicions of a split have ended, even those of nodes in bad health."""
NEVER_NS: Final = 1 << 62
SLEEP_GRACE_S: Final = 60
"""A sleeper may be this much later than it said; then it is missed."""
INCARNATIONS_MAX: Final = 10_000
"""Honest nodes count their incarnations one by one; a run is too short for more."""

UP, PAUSED, DOWN, ASLEEP, LEFT, ABSENT = "up", "paused", "down", "asleep", "left", "absent"
DOUBLED, STOPPED = "doubled", "stopped"
"""A host whose identity a newer one has, before and after it knows it."""
GONE: Final = ("dead", "asleep", "left")


def detection_bound_ns(config: SwimConfig, nodes: int) -> int:
    """A killed node is known dead by all within this: late probes, no confirmation, the spread."""
    rounds = 12 * config.probe_interval_ns
    suspicion = config.suspicion_max_mult * usual_suspicion_ns(config, nodes)
    return rounds + suspicion + 30 * config.gossip_interval_ns


def usual_suspicion_ns(config: SwimConfig, nodes: int) -> int:
    return int(config.suspicion_mult * max(1.0, math.log10(nodes)) * config.probe_interval_ns)


def double_bound_ns(config: SwimConfig) -> int:
    """From the start of a second node with one identity until the older one has stopped.

    A few probes, of nodes that doubt themselves: each of the two is deaf while the other is heard.
    """
    return 30 * config.probe_interval_ns + 60 * config.gossip_interval_ns


def removal_bound_ns(config: SwimConfig) -> int:
    """From when a member is known dead by all, and removed by one, until it is removed for all.

    Those who could not believe it when it was said hear of it again by exchanges.
    """
    return config.removal_patience_ns + 3 * config.exchange_interval_ns + 30 * config.gossip_interval_ns


def missing_bound_ns(config: SwimConfig) -> int:
    """From the end of a sleeper's grace until all know it for dead: each looks now and then."""
    return int(1.2 * config.heal_interval_ns) + 30 * config.gossip_interval_ns


@dataclass(slots=True)
class Life:
    """What really happened to one host."""

    state: str
    since_ns: int = 0
    harmed_until_ns: int = 0
    """Up to here it may be said to be dead: it was silent until lately."""
    zone: str = ""
    """What it last said of itself, if it changed that since its start."""
    is_removed: bool = False
    """An operator said so, since it went down."""
    steady_ns: int = 0
    """Before this it shared its identity with another host, and heard only half of what was for it."""
    newer: int = -1
    """The host that began with its identity."""
    doubled_ns: int = 0
    """When a second node with its identity began."""
    missed_ns: int = 0
    """While it sleeps: before this nobody may say that it is dead."""
    dead_by: dict[int, int] = field(default_factory=dict)
    """Observer -> when it said so, while the host is down."""
    heard_by: dict[int, int] | None = None
    """Observer -> when it first heard of this host; None for those whom all know from the start."""
    is_new: bool = False


class MemberChecker:
    """Hears every change of state on every node. The first broken promise raises Violation."""

    def __init__(self, config: SwimConfig, lives: Sequence[Life], *, expects_accuracy: bool) -> None:
        self._config = config
        self.lives = list(lives)
        self._expects_accuracy = expects_accuracy
        self._told: list[dict[int, str]] = [{} for _ in lives]
        """By observer: the state of those it does not hold alive."""
        self._groups: list[int] = []
        self._shaken_until_ns = 0
        """Up to here a split, or a short one's end, explains any death."""
        self._crossed_until_ns = 0
        """Up to here a healed split explains deaths across it."""
        self._old_groups: list[int] = []
        self._split_ns = 0
        self._healed_ns = 0
        self.false_deaths: list[str] = []
        self.detections_ns: list[int] = []
        """From each kill to each other node's knowing of it."""
        self.first_to_last_ns: list[int] = []
        self.known_by_all_ns: list[int] = []
        self.joins_ns: list[int] = []
        """From each join to the last node's hearing of it."""
        self.reports: list[tuple[int, str]] = []
        """Errors that hosts told their operators: which host, and the code."""
        self.doubles_ns: list[int] = []
        """From the start of each double to the stop of the older one."""
        self.digest = blake3()
        self.change_count = 0

    def add(self) -> None:
        """One more host, that nobody knows."""
        self.lives.append(Life(ABSENT, heard_by={}, is_new=True))
        self._told.append({})
        if self._groups:
            self._groups.append(0)

    def doubled(self, older: int, now_ns: int) -> None:
        """One more host, with the identity of an older one: what is told of a member is now told of it."""
        newer = len(self.lives)
        self.add()
        for told in self._told:
            if older in told:
                told[newer] = told.pop(older)
        life = self.lives[newer]
        life.heard_by, life.is_new, life.is_removed = None, False, False
        self.happened(newer, UP, now_ns)
        life.steady_ns = NEVER_NS
        self.lives[older].state, self.lives[older].doubled_ns = DOUBLED, now_ns
        self.lives[older].newer = newer

    def state_told(self, observer: int, subject: int) -> str:
        return self._told[observer].get(subject, "alive")

    def forget_told(self, observer: int) -> None:
        """A program that starts has been told nothing."""
        self._told[observer] = {}

    # -- what programs are told

    def changed(self, observer: int, subject: int, state: str, now_ns: int) -> None:
        self.change_count += 1
        self.digest.update(f"{now_ns} {observer} {subject} {state}\n".encode())
        told = self._told[observer]
        heard_by = self.lives[subject].heard_by
        if heard_by is not None:
            heard_by.setdefault(observer, now_ns)
        if state == "alive":
            told.pop(subject, None)
            return
        was = told.get(subject)
        told[subject] = state
        if was == "asleep" and state == "dead":
            self._check_missing(observer, subject, now_ns)
        elif state == "dead":
            self._check_death(observer, subject, now_ns)

    def _check_death(self, observer: int, subject: int, now_ns: int) -> None:
        life = self.lives[subject]
        if life.state == DOWN:
            life.dead_by.setdefault(observer, now_ns)
        if life.state != UP or now_ns <= life.harmed_until_ns or self._explained(observer, subject, now_ns):
            return
        self.false_deaths.append(f"n{observer} held n{subject} for dead at {now_ns / SECOND_NS:.1f} s")
        if self._expects_accuracy:
            raise Violation("accuracy", f"n{observer}", f"says n{subject} is dead, which is up and in reach")

    def _check_missing(self, observer: int, subject: int, now_ns: int) -> None:
        """Only who did not come back when it said it would is missed."""
        life = self.lives[subject]
        heard_ns = life.since_ns + RETURN_NS  # Up to then it may be a sleep before this one that is meant.
        if life.state != ASLEEP or now_ns < heard_ns or not self._is_steady(observer, life.since_ns):
            return
        if now_ns < life.missed_ns and not self._was_split_since(life.since_ns):
            early_s = (life.missed_ns - now_ns) / SECOND_NS
            raise Violation("sleep", f"n{observer}", f"misses n{subject} {early_s:.0f} s too early")

    def _explained(self, observer: int, subject: int, now_ns: int) -> bool:
        witness = self.lives[observer]
        if witness.state != UP or now_ns <= witness.harmed_until_ns:
            return True  # It works through what came in while it was silent, in the old order.
        if now_ns <= self._shaken_until_ns:
            return True
        if self._groups and self._groups[observer] != self._groups[subject]:
            return True
        old = self._old_groups
        if now_ns > self._crossed_until_ns:
            return False
        # Who joined since was told what one of both parts believed.
        return max(observer, subject) >= len(old) or old[observer] != old[subject]

    def reported(self, host: int, code: str) -> None:
        self.reports.append((host, code))

    def stopped_double(self, host: int, now_ns: int) -> None:
        life = self.lives[host]
        if life.state != DOUBLED:
            raise Violation("identity", f"n{host}", "stopped, for it takes itself for the older double")
        self.doubles_ns.append(now_ns - life.doubled_ns)
        life.state, life.since_ns = STOPPED, now_ns
        self.lives[life.newer].steady_ns = now_ns

    # -- what really happens

    def happened(self, host: int, state: str, now_ns: int) -> None:
        life = self.lives[host]
        was = life.state
        life.state, life.since_ns = state, now_ns
        life.is_removed = False
        if state == DOWN:
            life.zone = ""  # It starts again with what it said at first.
        if state == UP and was not in (UP, ABSENT):
            life.harmed_until_ns = now_ns + RETURN_NS
        if state == DOWN:
            life.dead_by = {
                observer: now_ns for observer, told in enumerate(self._told) if told.get(host) == "dead"
            }

    def split(self, groups: list[int], now_ns: int) -> None:
        self._groups, self._split_ns = groups, now_ns

    def healed(self, now_ns: int) -> None:
        if not self._groups:
            return
        settled_ns = detection_bound_ns(self._config, len(self.lives))
        if now_ns - self._split_ns < LONG_SPLIT * settled_ns:
            # Suspicions of the split may still be open on both sides, and end in deaths that gossip carries.
            self._shaken_until_ns = now_ns + HEAL_NS
        self._healed_ns = now_ns
        self._crossed_until_ns = now_ns + HEAL_NS
        self._old_groups, self._groups = self._groups, []

    # -- what must have come about by now

    def check_known_dead(self, host: int, down_since_ns: int, now_ns: int) -> None:
        """Completeness, when a kill's time is up."""
        life = self.lives[host]
        if life.state != DOWN or life.since_ns != down_since_ns or self._was_split_since(down_since_ns):
            return
        witnesses = self._steady(down_since_ns)
        for observer in witnesses:
            if observer not in life.dead_by:
                late_s = (now_ns - down_since_ns) / SECOND_NS
                raise Violation("completeness", f"n{observer}", f"n{host} is down since {late_s:.0f} s")
        if witnesses:
            times = [life.dead_by[observer] - down_since_ns for observer in witnesses]
            self.detections_ns += times
            self.known_by_all_ns.append(max(times))
            self.first_to_last_ns.append(max(times) - min(times))

    def check_one_left(self, older: int, newer: int, now_ns: int) -> None:
        """Two nodes had one identity: only the newer is there, alive for all, and both said so."""
        life = self.lives[newer]
        if life.state != UP or self._was_split_since(life.since_ns):
            return
        if self.lives[older].state != STOPPED:
            raise Violation("identity", f"n{older}", "goes on beside a newer node with its identity")
        if {host for host, code in self.reports if code == "identity_conflict"}.isdisjoint({newer}):
            raise Violation("identity", f"n{newer}", "did not say that another node has its identity")
        for observer in self._steady(life.since_ns):
            if self.state_told(observer, newer) in GONE:
                raise Violation("identity", f"n{observer}", f"holds n{newer} for gone, which goes on")

    def check_known_missing(self, host: int, asleep_since_ns: int, now_ns: int) -> None:
        """A sleeper that did not come back, when all should have missed it."""
        life = self.lives[host]
        if life.is_removed or life.state != ASLEEP or life.since_ns != asleep_since_ns:
            return
        if self._was_split_since(asleep_since_ns):
            return
        for observer in self._steady(asleep_since_ns):
            if self.state_told(observer, host) != "dead":
                late_s = (now_ns - life.missed_ns) / SECOND_NS
                raise Violation("sleep", f"n{observer}", f"does not miss n{host}, late by {late_s:.0f} s")

    def check_known_back(self, host: int, up_since_ns: int, now_ns: int) -> None:
        """The coming of a node that is new, or was paused, asleep or down, when its time is up."""
        life = self.lives[host]
        if life.state != UP or life.since_ns != up_since_ns or self._was_split_since(up_since_ns):
            return
        late_s = (now_ns - up_since_ns) / SECOND_NS
        others = [observer for observer in self._steady(up_since_ns) if observer != host]
        for observer in others:
            if self.state_told(observer, host) in GONE:
                raise Violation("return", f"n{observer}", f"n{host} is back since {late_s:.0f} s")
            if life.heard_by is not None and observer not in life.heard_by:
                raise Violation("join", f"n{observer}", f"n{host} is there since {late_s:.0f} s")
        if life.heard_by and life.is_new:
            life.is_new = False
            self.joins_ns.append(max(life.heard_by[observer] for observer in others) - up_since_ns)

    def check_one_mesh(self, healed_ns: int, now_ns: int) -> None:
        """Healing, when its time is up and nothing else split the network."""
        if self._groups or self._split_ns > healed_ns:
            return
        steady = self._steady(healed_ns)
        for observer in steady:
            for subject in self._told[observer]:
                if self._is_steady(subject, healed_ns) and self.state_told(observer, subject) in GONE:
                    late_s = (now_ns - healed_ns) / SECOND_NS
                    raise Violation("healing", f"n{observer}", f"n{subject} is gone {late_s:.0f} s after")

    def _steady(self, since_ns: int) -> list[int]:
        return [host for host in range(len(self.lives)) if self._is_steady(host, since_ns)]

    def _is_steady(self, host: int, since_ns: int) -> bool:
        life = self.lives[host]
        return life.state == UP and max(life.since_ns, life.steady_ns) <= since_ns

    def _was_split_since(self, since_ns: int) -> bool:
        return bool(self._groups) or self._healed_ns > since_ns
