"""Campaigns: many seeds, what is told of them, how a failure is replayed and shrunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bellande_mesh_sync.core.effects import Effect
from bellande_mesh_sync.core.events import Event, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.__main__ import main
from bellande_mesh_sync.sim.campaign import Swarm, run_all
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.minimize import minimize, smaller
from bellande_mesh_sync.sim.outcome import Outcome, Tally
from bellande_mesh_sync.sim.scenario_text import parse_scenario, scenario_text
from bellande_mesh_sync.sim.screen import summary_lines
from bellande_mesh_sync.sim.simulation import Simulation, run
from bellande_mesh_sync.sim.swarm import Scenario, draw


class _BrokenCore(NodeCore):
    """Fails on its first write."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        assert not isinstance(event, WriteMany), "planted"
        return super().handle(event, now)


def run_broken(scenario: Scenario, *, echo: Callable[[str], None] | None = None) -> Outcome:
    return Simulation(scenario, make_core=_BrokenCore, echo=echo).run()


def quick(seed: int = 1) -> Scenario:
    return draw(seed, nodes=(3, 3), minutes=0.2)


# -- many seeds --------------------------------------------------------------------------------


def test_two_processes_find_the_same_as_one() -> None:
    def digests(jobs: int) -> dict[int, str]:
        found: dict[int, str] = {}
        run_all(
            Swarm(1, 3, 0.1, (3, 3)).scenarios(),
            jobs=jobs,
            tell=lambda outcome, tally: found.update({outcome.scenario.seed: outcome.digest}),
        )
        return found

    alone = digests(1)
    assert sorted(alone) == [1, 2, 3]
    assert digests(2) == alone


def test_a_failure_ends_the_campaign_unless_it_is_to_keep_going(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellande_mesh_sync.sim.campaign.run", run_broken)
    swarm = Swarm(1, 3, 1, (3, 3))
    assert run_all(swarm.scenarios()).done == 1
    assert len(run_all(swarm.scenarios(), keep_going=True).failed) == 3


def test_no_seed_is_begun_after_the_time_limit() -> None:
    assert run_all(Swarm(1, 50, 0.05, (3, 3)).scenarios(), time_limit_s=1e-6).done == 1


def test_a_tally_adds_outcomes_up() -> None:
    tally = Tally()
    outcome = run(quick())
    tally.add(outcome)
    tally.add(outcome)
    assert tally.virtual_s == 2 * outcome.virtual_s
    assert tally.counts == outcome.counts + outcome.counts
    lines = summary_lines(tally, 1.0)
    assert lines[0].startswith("seeds         2 in 1 s (2.00/s), 0 failed")
    assert any(line.startswith("faults") for line in lines)


# -- the command -------------------------------------------------------------------------------


def test_the_command_reports_seeds_speed_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--start", "1", "--seeds", "2", "--minutes", "0.2", "--nodes", "3"]) == 0
    shown = capsys.readouterr().out
    assert "seeds         2 in" in shown
    assert "virtual time" in shown
    assert "faults" in shown


def test_the_command_prints_how_to_replay_a_failure_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellande_mesh_sync.sim.campaign.run", run_broken)
    assert main(["--start", "1", "--seeds", "2", "--minutes", "0.5", "--nodes", "3"]) == 1
    shown = capsys.readouterr().out
    assert "python -m bellande_mesh_sync.sim --seed 1 --minutes 0.5 --nodes 3-3 --trace" in shown
    assert "-- the last of all" in shown
    assert "SetTimer(" in shown
    assert "planted" in shown


def test_the_replay_of_a_seed_prints_every_event_and_the_same_digest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seed", "1", "--minutes", "0.2", "--nodes", "3", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    outcome = run(quick())
    assert len(lines) == outcome.events + 1
    assert outcome.digest[:16] in lines[-1]


@pytest.mark.parametrize("nodes", ["1", "3-2", "65", "two", "2-"])
def test_an_impossible_number_of_nodes_is_wrong_usage(nodes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes", nodes, "--seeds", "1", "--minutes", "0.02"]) == 2
    assert "number of nodes" in capsys.readouterr().err


# -- scenarios as files ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_scenario_comes_back_from_its_text_as_it_was(seed: int) -> None:
    scenario = draw(seed, nodes=(3, 7), minutes=1)
    assert parse_scenario(scenario_text(scenario)) == scenario


@pytest.mark.parametrize("text", ["", "{}", '{"seed": "x", "nodes": 3, "faults_s": 1, "settle_s": 1}'])
def test_a_text_that_is_no_scenario_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="scenario"):
        parse_scenario(text)


def test_the_command_runs_a_scenario_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "once.json"
    path.write_text(scenario_text(quick()), encoding="utf-8")
    assert main(["--scenario", str(path)]) == 0
    assert run(quick()).digest[:16] in capsys.readouterr().out
    path.write_text("{}", encoding="utf-8")
    assert main(["--scenario", str(path)]) == 1
    assert "scenario" in capsys.readouterr().err


# -- shrinking ---------------------------------------------------------------------------------


def _outcome(scenario: Scenario, check: str) -> Outcome:
    violation = f"{check}: planted" if check else ""
    return Outcome(
        scenario, violation, check, "", "", scenario.faults_s, 0.0, 0.0, 0, 0, Counter(), Counter()
    )


def test_shrinking_keeps_just_what_the_failure_needs() -> None:
    """A pretended failure that needs 4 nodes, kills and 10 seconds, whatever else is on."""

    def needs(scenario: Scenario) -> Outcome:
        fails = scenario.nodes >= 4 and scenario.faults.kill_s > 0 and scenario.faults_s >= 10
        return _outcome(scenario, "acked_lost" if fails else "")

    big = replace(
        draw(3, nodes=(16, 16), minutes=10), faults=FaultConfig(kill_s=3.0, partition_s=5.0, wipe_s=9.0)
    )
    told: list[Outcome] = []
    small = minimize(needs(big), needs, goes_on=lambda: True, tell=told.append)
    assert small.check == "acked_lost"
    assert small.scenario.nodes == 4
    assert 10 <= small.scenario.faults_s < 20
    assert small.scenario.faults == FaultConfig(kill_s=3.0)
    assert small.scenario.network == type(big.network)()
    assert told[-1] == small


def test_another_failure_than_the_first_does_not_count_as_the_same() -> None:
    def other(scenario: Scenario) -> Outcome:
        return _outcome(scenario, "bounds")

    failed = _outcome(draw(3, nodes=(8, 8), minutes=1), "acked_lost")
    assert minimize(failed, other, goes_on=lambda: True, tell=lambda outcome: None) == failed


def test_every_candidate_differs_and_is_no_larger() -> None:
    failed = _outcome(draw(3, nodes=(8, 8), minutes=1), "acked_lost")
    candidates = list(smaller(failed))
    assert failed.scenario not in candidates
    assert all(each.nodes <= 8 and each.faults_s <= failed.scenario.faults_s for each in candidates)


def test_a_real_failure_is_shrunk_and_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bellande_mesh_sync.sim.campaign.run", run_broken)
    monkeypatch.setattr("bellande_mesh_sync.sim.command.run", run_broken)
    assert main(["--seed", "2", "--minutes", "0.5", "--nodes", "5", "--minimize"]) == 1
    shown = capsys.readouterr().out
    assert "--scenario failure-2.json" in shown
    scenario = parse_scenario((tmp_path / "failure-2.json").read_bytes())
    assert scenario.nodes == 2
    assert scenario.faults == FaultConfig()
    assert run_broken(scenario).check == "exception"
