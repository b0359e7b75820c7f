"""Two nodes with one identity: the one that began earlier stops; records of the past stop nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.effects import Log, Stop
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.doubles import BOOTS_MAX, LEAP, Doubles, Meeting
from bellande_mesh_sync.core.members.swim.effects import SwimEffect
from bellande_mesh_sync.core.members.swim.messages import Gossip
from tests.core.making import local_node
from tests.core.members.swimming import Node


def run_of(boot: int, started_ms: int = 0) -> LocalNode:
    return replace(local_node("alice", boot=boot), started_ms=started_ms)


def node_in(run: LocalNode) -> Node:
    node = Node("alice", ["bob", "carol"])
    node.take(node.swim.change_self(run, 0))
    return node


def meet(node: Node, record: MemberRecord) -> list[SwimEffect]:
    """Hear the record; what is said about a conflict."""
    node.hear("bob", Gossip(), records=(record,))
    return [effect for effect in node.effects if isinstance(effect, Stop | Log)]


def test_the_older_of_two_stops_and_the_newer_says_so_and_goes_on() -> None:
    older, newer = node_in(run_of(1, 1000)), node_in(run_of(2, 2000))
    said: dict[str, list[SwimEffect]] = {"older": [], "newer": []}
    for _ in range(6):
        said["older"] += meet(older, newer.swim.beliefs.own)
        if any(isinstance(effect, Stop) for effect in said["older"]):
            break
        said["newer"] += meet(newer, older.swim.beliefs.own)
    assert [type(effect) for effect in said["older"]] == [Log, Stop]
    assert [type(effect) for effect in said["newer"]] == [Log]
    stop = said["older"][-1]
    assert isinstance(stop, Stop)
    assert stop.code == "identity_conflict"
    assert "started at 1000 ms" in stop.reason
    assert "started at 2000 ms" in stop.reason
    assert newer.swim.incarnation > older.swim.incarnation


@pytest.mark.parametrize("started_ms", [0, 10**15])
def test_records_of_an_earlier_run_stop_nobody_whatever_the_clock_said(started_ms: int) -> None:
    past = run_of(7, started_ms)
    node = node_in(run_of(1, 5000))
    for incarnation in (57, 58, 60, 61, 61, 57, 90):
        assert meet(node, past.record(incarnation)) == []
    assert node.swim.incarnation == 58 + LEAP


def test_records_of_many_earlier_runs_stop_nobody() -> None:
    node = node_in(run_of(1, 5000))
    for boot in range(2, 40):
        assert meet(node, run_of(boot, 10**15).record(node.swim.incarnation + 3)) == []


def test_a_run_that_began_earlier_and_lives_does_not_stop_us_however_often_we_meet_it() -> None:
    node = node_in(run_of(1, 5000))
    for _ in range(10):
        said = meet(node, run_of(2, 4000).record(node.swim.incarnation + 1))
        assert not any(isinstance(effect, Stop) for effect in said)


def test_two_copies_of_one_process_both_stop() -> None:
    node = node_in(run_of(1, 5000))
    said: list[SwimEffect] = []
    for _ in range(3):
        said += meet(node, run_of(1, 5000).record(node.swim.incarnation + 1))
    assert isinstance(said[-1], Stop)


def test_a_sleeper_stays_asleep_when_it_meets_itself() -> None:
    node = node_in(run_of(1, 5000))
    node.take(node.swim.sleep(60, 0))
    before = node.swim.incarnation
    assert meet(node, run_of(2, 6000).record(99)) == []
    assert node.swim.incarnation == before


def test_only_so_many_runs_are_remembered() -> None:
    doubles, own = Doubles(), run_of(1, 5000).record(1)
    for boot in range(2, 3 + BOOTS_MAX):
        assert doubles.meet(run_of(boot).record(1), own) is Meeting.PAST
    assert doubles.meet(run_of(2).record(9), own) is Meeting.PAST
    assert doubles.meet(run_of(BOOTS_MAX + 2).record(9), own) is Meeting.RIVAL
