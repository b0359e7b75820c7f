"""Many member worlds, each drawn from its seed: how many nodes, which network, what happens to them."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.members.swim.config import PROFILES
from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.datagrams import DatagramConfig
from bellande_mesh_sync.sim.member_faults import KINDS, MemberFaults
from bellande_mesh_sync.sim.member_run import MemberOutcome, run_members
from bellande_mesh_sync.sim.member_world import MemberScenario
from bellande_mesh_sync.sim.world import MILLISECOND_NS

NODES: Final = (3, 64)
LOSS_MAX: Final = 0.1
"""Up to here nobody may be declared dead who lives; with more that is only counted."""
_LATENCY_MAX_MS: Final = {"lan": 100.0, "fast": 20.0, "wan": 300.0}
"""One way; as much again of jitter. More is more than the profile is for."""


def draw(seed: int) -> tuple[str, MemberScenario, MemberFaults]:
    """The profile's name, the world and its trouble."""
    rng = random.Random(f"members/{seed}")
    nodes = int(NODES[0] * (NODES[1] / NODES[0]) ** rng.random())
    profile = rng.choice(sorted(PROFILES))
    network = _draw_network(rng, profile)
    scenario = MemberScenario(
        nodes,
        seed,
        PROFILES[profile],
        network,
        expects_accuracy=network.loss_ratio <= LOSS_MAX,
        is_sealed=rng.random() < 0.75,
    )
    drawn = tuple(kind for kind in KINDS if rng.random() < 0.7) or KINDS
    kinds = tuple(kind for kind in drawn if kind != "twin" or scenario.is_sealed)
    faults = MemberFaults(kinds, every_s=rng.uniform(6, 40), lasts_s=rng.uniform(15, 60))
    return profile, scenario, faults


def _draw_network(rng: random.Random, profile: str) -> DatagramConfig:
    loss = 0.0 if rng.random() < 0.4 else rng.uniform(0, LOSS_MAX)
    if rng.random() < 0.1:
        loss = rng.uniform(LOSS_MAX, 0.3)
    latency_ms = 0.1 * (_LATENCY_MAX_MS[profile] / 0.1) ** rng.random()
    return DatagramConfig(
        latency_min_ns=int(latency_ms * rng.random() * MILLISECOND_NS),
        latency_spread_ns=int(latency_ms * MILLISECOND_NS),
        loss_ratio=loss,
        duplicate_ratio=rng.choice((0.0, 0.02, 0.1)),
        reorder_ratio=rng.choice((0.0, 0.05, 0.25)),
    )


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    seed: int
    minutes: float
    what: str
    outcome: MemberOutcome


def run_seed(seed: int, minutes: float) -> SeedOutcome:
    profile, scenario, faults = draw(seed)
    what = (
        f"{scenario.nodes} nodes, {profile}, {scenario.network.loss_ratio:.1%} lost"
        f"{', sealed' if scenario.is_sealed else ''}"
    )
    return SeedOutcome(seed, minutes, what, run_members(scenario, minutes, faults, weighs=False))


@dataclass(slots=True)
class MemberTally:
    """What a campaign came to."""

    seeds: int = 0
    virtual_s: float = 0.0
    node_s: float = 0.0
    packets: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    false_deaths: int = 0
    """Of seeds with more loss than the promise covers."""
    failed: list[SeedOutcome] = field(default_factory=list)
    doubles_s: list[float] = field(default_factory=list)

    def add(self, done: SeedOutcome) -> None:
        outcome = done.outcome
        self.seeds += 1
        self.virtual_s += outcome.virtual_s
        self.node_s += outcome.virtual_s * outcome.nodes
        self.packets += outcome.packet_count
        self.faults.update(outcome.faults)
        self.false_deaths += len(outcome.false_deaths)
        self.doubles_s += outcome.doubles_s
        if outcome.violation:
            self.failed.append(done)

    def lines(self, real_s: float) -> list[str]:
        rate = self.seeds / max(real_s, 1e-9)
        rows = [
            ("seeds", f"{self.seeds:,} in {real_s:.0f} s, {rate:.1f}/s"),
            ("virtual time", f"{self.virtual_s / 3600:,.1f} h, {self.node_s / 3600:,.0f} h of nodes"),
            ("packets", f"{self.packets:,}"),
            ("faults", ", ".join(f"{kind} {count:,}" for kind, count in sorted(self.faults.items()))),
            ("doubles ended", f"{len(self.doubles_s)}, after {max(self.doubles_s, default=0):.1f} s at most"),
            ("false deaths", f"{self.false_deaths} where more than {LOSS_MAX:.0%} is lost, 0 elsewhere"),
            ("failed", str(len(self.failed))),
        ]
        return [f"{name:<14} {value}" for name, value in rows]


def run_seeds(
    seeds: Iterator[int],
    minutes: float,
    *,
    jobs: int = 1,
    time_limit_s: float = 0.0,
    tell: Callable[[SeedOutcome, MemberTally], None] = lambda done, tally: None,
) -> MemberTally:
    """Run all, `jobs` at once, and tell of each as it ends. None is begun after `time_limit_s`."""
    tally = MemberTally()
    deadline_s = time.monotonic() + time_limit_s if time_limit_s else float("inf")

    def take(done: SeedOutcome) -> None:
        tally.add(done)
        tell(done, tally)

    if jobs == 1:
        for seed in seeds:
            take(run_seed(seed, minutes))
            if time.monotonic() >= deadline_s:
                break
        return tally
    # Started afresh rather than forked: a child inherits no lock and no thread of whoever calls.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare) as pool:
        running: set[Future[SeedOutcome]] = set()
        while True:
            while len(running) < 2 * jobs and time.monotonic() < deadline_s:
                seed = next(seeds, -1)
                if seed < 0:
                    break
                running.add(pool.submit(run_seed, seed, minutes))
            if not running:
                return tally
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                take(future.result())
