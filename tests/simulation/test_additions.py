"""Counters under all faults: what is acknowledged is counted once, and a planted bug is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bellande_mesh_sync.core.data import space_policies
from bellande_mesh_sync.core.data.dotted import Entry
from bellande_mesh_sync.core.data.stateful import Counter, Stateful
from bellande_mesh_sync.sim.additions import EVERY, draw_with_additions, with_additions
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.liar import LiarConfig
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.simulation import run
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.sim.workload_config import WorkloadConfig

SEEDS = range(4, 33, EVERY)


def calm(seed: int = 1) -> Scenario:
    """Three nodes that are cut from each other now and then, and clients that do nothing but add."""
    faults = FaultConfig(partition_s=5, kill_s=10, lasts_mean_s=5)
    workload = WorkloadConfig(requests_per_s=0.1)
    return with_additions(Scenario(seed, 3, faults_s=40, settle_s=60, workload=workload, faults=faults), 3.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_counters_of_a_seed_come_to_what_was_added(seed: int) -> None:
    scenario = draw_with_additions(seed, nodes=(3, 5), minutes=1)
    outcome = run(scenario)
    assert not outcome.violation, outcome.violation
    has_counters = scenario.liar == LiarConfig()
    assert bool(scenario.workload.additions_per_s) == bool(outcome.counts["additions"]) == has_counters


def test_other_seeds_stay_as_they_were() -> None:
    for seed in (1, 2, 3):
        assert draw_with_additions(seed, nodes=(3, 7), minutes=1) == draw(seed, nodes=(3, 7), minutes=1)


def test_a_mesh_that_works_has_nothing_to_tell() -> None:
    outcome = run(calm())
    assert not outcome.violation, outcome.violation
    assert outcome.counts["additions"] > 50


def _forgets(self: Counter, before: list[Entry], write: Any, origin: Any) -> list[Entry]:
    """An add starts its author's sum anew."""
    others = [entry for entry in before if entry.author != origin.author]
    return [*others, self._entry(write.add or 0, origin)]


def _latest_only(real: Callable[..., Any]) -> Callable[..., Any]:
    """What one of several siblings counted is what is shown."""

    def shown(self: Stateful, siblings: Any, wall_ms: int) -> Any:
        return real(self, [max(siblings, key=lambda record: record.stamp)], wall_ms)

    return shown


def _sees_nothing(real: Callable[..., Any]) -> Callable[..., Any]:
    """An add does not say what it has taken in, so that stays beside it and counts again."""

    def seen(policy: Any, write: Any, siblings: Any) -> Any:
        return real(policy, write, siblings)[0], ()

    return seen


def test_a_counter_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counter, "changed", _forgets)
    _is_found(run(calm()))


def test_a_counter_that_shows_one_sibling_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stateful, "shown", _latest_only(Stateful.shown))
    assert any(run(calm(seed)).check == "additions" for seed in range(1, 6))


def test_a_counter_that_counts_twice_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_policies, "_seen", _sees_nothing(space_policies._seen))
    _is_found(run(calm()))


def _is_found(outcome: Outcome) -> None:
    assert outcome.check in ("additions", "answers"), outcome.violation
