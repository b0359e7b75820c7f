"""Statements in simulated meshes, and planted bugs that the checker must see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bellande_mesh_sync.core.statements import spreading
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.spreading import StatementSpreading
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.sim import node as sim_node
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.platter import Platter
from bellande_mesh_sync.sim.simulation import run
from bellande_mesh_sync.sim.swarm import draw
from tests.simulation.test_standing import check, quiet

ALONE = FaultConfig(state_s=2.0)
ROUGH = FaultConfig(
    state_s=2.0, kill_s=15.0, kill_amid_s=15.0, power_s=15.0, partition_s=10.0, restore_s=25.0,
    disk_full_s=15.0, wipe_s=40.0, lasts_mean_s=4.0,
)  # fmt: skip


@pytest.mark.parametrize("faults", [ALONE, ROUGH], ids=["calm", "rough"])
@pytest.mark.parametrize("seed", range(1, 5))
def test_all_agree_on_what_was_stated_and_on_nothing_else(seed: int, faults: FaultConfig) -> None:
    counts = check(run(replace(quiet(seed), faults=faults)))
    assert counts["state"] > 5
    assert counts["forge"] > 0


@pytest.mark.parametrize("seed", range(1, 5))
def test_statements_come_through_whatever_else_is_drawn(seed: int) -> None:
    scenario = draw(seed, nodes=(3, 5), minutes=0.7)
    check(run(replace(scenario, faults=replace(scenario.faults, state_s=3.0))))


def test_a_forged_one_that_takes_effect_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sim_node, "judge_all", lambda statements: (tuple(Judged(s, "authority") for s in statements), ())
    )
    assert run(replace(quiet(1), faults=ALONE)).check == "statements"


def test_one_that_vanishes_from_a_disk_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = Platter.apply

    def forgetful(platter: Platter, batch: object) -> None:
        platter.statements.clear()
        apply(platter, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Platter, "apply", forgetful)
    assert run(replace(quiet(1), faults=ALONE)).check == "statements"


def test_one_that_is_told_and_not_compared_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatementSpreading, "compare", lambda spreading, links: [])
    checks = {run(replace(quiet(seed), faults=ROUGH)).check for seed in range(1, 4)}
    assert "convergence" in checks


def test_one_that_the_disk_refused_and_nobody_tried_again_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(StatementBook):
        def missing(self, ids: object) -> list[object]:  # type: ignore[override]
            return []

        def ids(self) -> tuple[()]:
            return ()

    monkeypatch.setattr(spreading, "StatementBook", Forgetful)
    checks = {run(replace(quiet(seed), faults=ROUGH)).check for seed in range(1, 4)}
    assert "convergence" in checks
