"""Statements in simulated meshes, and planted bugs that the checker must see."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.spreading.trimming import Trimming
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


def test_one_that_is_not_asked_for_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatementBook, "missing", lambda book, ids: [])
    monkeypatch.setattr(StatementBook, "ids", lambda book: ())
    checks = {run(replace(quiet(seed), faults=ROUGH)).check for seed in range(1, 4)}
    assert "convergence" in checks


# -- revocation by statement -------------------------------------------------------------------

EXPEL = FaultConfig(expel_s=12.0)
SPLIT_EXPEL = FaultConfig(expel_s=5.0, partition_s=3.0, lasts_mean_s=6.0)
ROUGH_EXPEL = replace(ROUGH, expel_s=12.0, state_s=0.0, lasts_mean_s=6.0)


@pytest.mark.parametrize("faults", [EXPEL, SPLIT_EXPEL, ROUGH_EXPEL], ids=["calm", "split", "rough"])
@pytest.mark.parametrize("seed", range(1, 7))
def test_the_others_agree_on_which_writes_of_a_revoked_node_count(seed: int, faults: FaultConfig) -> None:
    counts = check(run(replace(quiet(seed), faults=faults)))
    assert counts["expel"] == 1


@pytest.mark.parametrize("seed", range(1, 7))
def test_a_node_is_revoked_whatever_else_is_drawn(seed: int) -> None:
    scenario = draw(seed, nodes=(3, 6), minutes=0.7)
    check(run(replace(scenario, faults=replace(scenario.faults, expel_s=10.0, revoke_s=0.0))))


def planted(monkeypatch: pytest.MonkeyPatch, kind: type, name: str, instead: object) -> set[str]:
    """Which checks fail when this is done instead."""
    monkeypatch.setattr(kind, name, instead)
    return {run(replace(quiet(seed, faults_s=30.0), faults=SPLIT_EXPEL)).check for seed in range(1, 7)}


def test_writes_beyond_the_cut_that_are_not_set_aside_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = planted(monkeypatch, Trimming, "look", lambda trimming: [])
    assert checks & {"convergence", "revoked"}


def test_a_node_that_gossip_brings_back_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planted(monkeypatch, Membership, "revoke", lambda *_: []) - {""}


def test_what_comes_while_writes_are_set_aside_is_not_taken_as_replaced_by_them() -> None:
    scenario = draw(144, nodes=(3, 6), minutes=0.6)
    faults = replace(scenario.faults, expel_s=8.0, state_s=6.0, revoke_s=0.0)
    check(run(replace(scenario, faults=faults)))
