"""Whole runs: a fixed slice of seeds, seeds that once failed, and equal traces in every process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bellande_mesh_sync.core.effects import Commit, Effect, Resolve
from bellande_mesh_sync.core.events import Event, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.__main__ import main
from bellande_mesh_sync.sim.simulation import Outcome, Simulation, run
from bellande_mesh_sync.sim.swarm import draw

SLICE = range(1001, 1031)

REGRESSIONS = {
    "streams_of_nothing_but_obsolete_dots_wait_for_each_other": 25,
    "an_ended_stream_keeps_the_only_slot_from_the_rest": 4,
    "a_record_that_arrives_over_two_roads_is_taken_for_obsolete": 36,
    "word_of_a_record_outlives_the_disk_it_was_on": 96,
}
"""What once went wrong: the seed that showed it, at one minute with 3 to 5 nodes."""


def check(outcome: Outcome) -> None:
    tail = "\n".join(outcome.trace.tail(40))
    again = f"python -m bellande_mesh_sync.sim --seed {outcome.scenario.seed} --minutes 1 --nodes 3-5"
    assert not outcome.violation, f"{tail}\n{outcome.violation}\nagain: {again}"


@pytest.mark.parametrize("seed", SLICE)
def test_every_promise_is_kept_under_faults(seed: int) -> None:
    check(run(draw(seed, nodes=(3, 5), minutes=1)))


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_failed_holds(name: str) -> None:
    check(run(draw(REGRESSIONS[name], nodes=(3, 5), minutes=1)))


def test_a_trace_is_equal_in_every_process_and_under_every_hash_seed() -> None:
    program = (
        "from bellande_mesh_sync.sim.simulation import run\n"
        "from bellande_mesh_sync.sim.swarm import draw\n"
        "for seed in (5, 14): print(run(draw(seed, nodes=(3, 4), minutes=0.5)).digest)\n"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1]
    here = [run(draw(seed, nodes=(3, 4), minutes=0.5)).digest for seed in (5, 14)]
    assert digests[0].split() == here


def test_another_seed_gives_another_trace() -> None:
    digests = {run(draw(seed, nodes=(3, 3), minutes=0.1)).digest for seed in (5, 6)}
    assert len(digests) == 2


class _ForgetfulCore(NodeCore):
    """Acknowledges at once, before the disk has anything."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        effects = super().handle(event, now)
        if isinstance(event, WriteMany):
            commits = [effect for effect in effects if isinstance(effect, Commit)]
            receipts = tuple(
                _receipt(self, record.key, record.version, event.ack)
                for c in commits
                for _, record in c.batch.puts
            )
            return [*effects, Resolve(event.request, receipts)]
        return effects


def _receipt(core: NodeCore, key: str, version: str, ack: str) -> object:
    from bellande_mesh_sync.core.events import Receipt

    return Receipt(key, version, (core.me.node,), ack)


def test_a_core_that_acknowledges_too_early_is_caught() -> None:
    outcome = Simulation(draw(1, nodes=(3, 3), minutes=1), make_core=_ForgetfulCore).run()
    assert outcome.violation.startswith("receipts: ")


class _BrokenCore(NodeCore):
    """Fails on its first write."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        assert not isinstance(event, WriteMany), "planted"
        return super().handle(event, now)


def test_an_exception_in_a_core_is_a_violation_that_says_where() -> None:
    outcome = Simulation(draw(1, nodes=(3, 3), minutes=1), make_core=_BrokenCore).run()
    assert (
        outcome.violation.startswith("exception: AssertionError('planted") or "planted" in outcome.violation
    )


def test_the_command_reports_seeds_speed_and_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--start", "1", "--seeds", "2", "--minutes", "0.2", "--nodes", "3"]) == 0
    shown = capsys.readouterr().out
    assert "2 seeds in" in shown
    assert "virtual hours" in shown
    assert "faults:" in shown


def test_the_command_prints_how_to_replay_a_failure_and_exits_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bellande_mesh_sync.sim.__main__.run",
        lambda scenario, echo: Simulation(scenario, make_core=_BrokenCore, echo=echo).run(),
    )
    assert main(["--start", "1", "--seeds", "2", "--minutes", "0.5", "--nodes", "3"]) == 1
    shown = capsys.readouterr().out
    assert "python -m bellande_mesh_sync.sim --seed 1 --minutes 0.5 --nodes 3-3 --trace" in shown
    assert "WriteMany(" in shown
    assert "planted" in shown
