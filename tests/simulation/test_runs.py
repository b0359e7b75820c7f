"""Whole runs: a fixed slice of seeds, seeds that once failed, and equal traces in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import Commit, Effect, Resolve
from bellande_mesh_sync.core.events import Event, Receipt, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.campaign import Swarm
from bellande_mesh_sync.sim.disk import DiskConfig
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.network import NetworkConfig
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.scenario_text import parse_scenario
from bellande_mesh_sync.sim.simulation import Simulation, run
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

SLICE = range(1001, 1051)
"""About a minute on one core; `make soak` runs other seeds, longer ones and with more nodes."""

_QUICK = CoreConfig(sync_interval_ns=3 * SECOND_NS, stall_timeout_ns=3 * SECOND_NS)
_OVERWRITES = WorkloadConfig(requests_per_s=8, hot_keys=3, hot_ratio=1.0, chunked_ratio=0)

REGRESSIONS = {
    # Streams to several peers ended with nothing but obsolete dots, and each waited for the dots of
    # the others to be known before it would believe its own.
    "streams_of_obsolete_dots_conclude_together": Scenario(
        1,
        5,
        faults_s=30,
        settle_s=60,
        core=_QUICK,
        workload=_OVERWRITES,
        faults=FaultConfig(partition_s=6, power_s=8, reset_s=4, lasts_mean_s=6),
    ),
    # A stream that had ended kept the only slot, while it waited for dots that had yet to be asked for.
    "an_ended_stream_makes_room_for_the_next": Scenario(
        1,
        5,
        faults_s=30,
        settle_s=60,
        core=replace(_QUICK, streams_max=1),
        workload=_OVERWRITES,
        faults=FaultConfig(partition_s=6, power_s=8, lasts_mean_s=6),
    ),
    # A large value was waiting for its chunks when a stream brought its record too; the end of that
    # stream made it count as obsolete, so it was claimed without being there.
    "a_record_that_comes_on_two_roads_is_not_obsolete": Scenario(
        1,
        4,
        faults_s=30,
        settle_s=60,
        core=_QUICK,
        network=NetworkConfig(latency_mean_ns=20 * MILLISECOND_NS),
        workload=WorkloadConfig(requests_per_s=20, hot_keys=3, chunked_ratio=0.2, chunk_bytes=9000),
        faults=FaultConfig(kill_s=5, partition_s=10, lasts_mean_s=3),
    ),
    # A stream brought a record that was waiting for its chunks already; then the waiting was given up,
    # and the end of the stream made the record count as obsolete.
    "a_record_that_came_and_was_given_up_is_not_obsolete": Scenario(
        5,
        4,
        faults_s=30,
        settle_s=90,
        core=replace(_QUICK, pull_delay_ns=20 * MILLISECOND_NS),
        network=NetworkConfig(latency_mean_ns=20 * MILLISECOND_NS, corrupt_chunk_ratio=0.2),
        disk=DiskConfig(read_error_ratio=0.1, sync_mean_ns=20 * MILLISECOND_NS),
        workload=WorkloadConfig(requests_per_s=15, hot_keys=3, chunked_ratio=0.3, chunk_bytes=9000),
        faults=FaultConfig(power_s=5, partition_s=10, lasts_mean_s=3),
    ),
    # A writer was told ack_timeout, and so that its write stays, before its own disk had it; the node
    # died, and the version that the writer had been told went to another write.
    "a_time_out_is_told_of_what_is_on_disk": Scenario(
        2,
        3,
        faults_s=30,
        settle_s=60,
        core=_QUICK,
        disk=DiskConfig(slow_sync_mean_ns=4 * SECOND_NS),
        workload=WorkloadConfig(requests_per_s=4, hot_keys=3, chunked_ratio=0, acks=(("all", 1.0),)),
        faults=FaultConfig(disk_slow_s=4, kill_s=5, lasts_mean_s=4),
    ),
    # With as many links as it may have, a node refused links for records while it kept those for chunks, so
    # two members never came to a link, and `all` was out of reach for good.
    "links_for_chunks_make_room_for_those_for_records": Scenario(
        2,
        7,
        faults_s=40,
        settle_s=60,
        core=replace(_QUICK, connections_max=8, redial_max_ns=2 * SECOND_NS),
        network=NetworkConfig(dial_failure_ratio=0.3),
        workload=WorkloadConfig(requests_per_s=3, chunked_ratio=0.5, chunk_bytes=9000, chunks_max=3),
        faults=FaultConfig(reset_s=2.0, kill_s=15.0, lasts_mean_s=3),
    ),
    # A node that had as many links as it may turned newcomers away and forgot what they said of themselves,
    # so those whom all turned away were never members: nobody could open their datagrams.
    "newcomers_whom_all_turn_away_are_members": Scenario(
        1033,
        6,
        faults_s=20,
        settle_s=60,
        core=replace(_QUICK, connections_max=3),
        knows_members=False,
    ),
    # Four nodes had found each other and had no room for a fifth link, so they never dialled the address of
    # their seed; that one and another node were a mesh of their own.
    "a_seed_is_dialled_though_there_is_no_room_for_a_link": Scenario(
        1034,
        6,
        faults_s=20,
        settle_s=60,
        core=replace(_QUICK, connections_max=3),
        knows_members=False,
    ),
}
"""What once went wrong, as whole scenarios: they stay what they are when the swarm draws differently."""

REGRESSION_FILES = sorted((Path(__file__).parent / "regressions").glob("*.json"))
"""The same, as a failing seed wrote them down."""


def check(outcome: Outcome) -> None:
    tail = "\n".join(outcome.story)
    assert not outcome.violation, f"{tail}\n{outcome.scenario}\n{outcome.violation}"


@pytest.mark.parametrize("seed", SLICE)
def test_every_promise_is_kept_under_faults(seed: int) -> None:
    check(run(draw(seed, nodes=(3, 7), minutes=3)))


@pytest.mark.parametrize("name", REGRESSIONS)
def test_what_once_failed_holds(name: str) -> None:
    check(run(REGRESSIONS[name]))


@pytest.mark.parametrize("path", REGRESSION_FILES, ids=lambda path: path.stem)
def test_what_once_failed_as_it_was_drawn_holds(path: Path) -> None:
    check(run(parse_scenario(path.read_bytes())))


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
            records = [record for commit in commits for _, record in commit.batch.puts]
            receipts = tuple(Receipt(r.key, r.version, (self.me.node,), event.ack) for r in records)
            return [*effects, Resolve(event.request, receipts)]
        return effects


def test_a_core_that_acknowledges_too_early_is_caught() -> None:
    outcome = Simulation(draw(1, nodes=(3, 3), minutes=1), make_core=_ForgetfulCore).run()
    assert outcome.check in ("receipts", "ack_level")


class _BrokenCore(NodeCore):
    """Fails on its first write."""

    def handle(self, event: Event, now: Now) -> list[Effect]:
        assert not isinstance(event, WriteMany), "planted"
        return super().handle(event, now)


def test_an_exception_in_a_core_is_a_violation_that_says_where() -> None:
    outcome = Simulation(draw(1, nodes=(3, 3), minutes=1), make_core=_BrokenCore).run()
    assert outcome.check == "exception"
    assert "planted" in outcome.violation
    assert "test_runs.py" in outcome.violation


def test_the_swarm_draws_every_kind_of_fault() -> None:
    drawn = [scenario.faults for scenario in Swarm(count=400, minutes=1).scenarios()]
    for kind in (field.name for field in fields(FaultConfig) if field.name.endswith("_s")):
        assert any(getattr(faults, kind) > 0 for faults in drawn), kind
