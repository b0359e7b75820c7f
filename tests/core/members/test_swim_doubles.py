"""Two nodes with one identity: the one that began earlier stops; records of the past stop nobody."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.effects import Log, Stop
from bellande_mesh_sync.core.members.member import (
    ANSWER_BYTES,
    RECORD_BYTES_MAX,
    MemberRecord,
    record_bytes,
)
from bellande_mesh_sync.core.members.swim.doubles import BOOTS_MAX, Doubles, Meeting, mark_of
from bellande_mesh_sync.core.members.swim.effects import SwimEffect
from bellande_mesh_sync.core.members.swim.messages import Gossip
from bellande_mesh_sync.core.members.swim.view import SUSPECT
from tests.core.making import local_node, sign_as
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
@pytest.mark.parametrize("incarnations", [(57, 58, 60, 61, 61, 57, 90), (324, 396, 468, 10_000, 90_000)])
def test_records_of_an_earlier_run_stop_nobody_whatever_the_clock_said(
    started_ms: int, incarnations: tuple[int, ...]
) -> None:
    past = run_of(7, started_ms)
    node = node_in(run_of(1, 5000))
    for incarnation in incarnations:
        assert meet(node, past.record(incarnation)) == []
        assert node.swim.incarnation > incarnation


def test_records_of_many_earlier_runs_stop_nobody() -> None:
    node = node_in(run_of(1, 5000))
    for boot in range(2, 40):
        for _ in range(3):
            assert meet(node, run_of(boot % 5 + 2, 10**15).record(node.swim.incarnation + 300)) == []


def test_an_earlier_run_that_had_a_double_itself_stops_nobody() -> None:
    """Its records name what it answered; that was nothing of ours."""
    one, other = node_in(run_of(2, 6000)), node_in(run_of(3, 7000))
    past = []
    for _ in range(3):
        meet(one, other.swim.own_record)
        meet(other, one.swim.own_record)
        past += [one.swim.own_record, other.swim.own_record]
    node = node_in(run_of(1, 5000))
    for record in sorted(past, key=lambda record: record.incarnation):
        assert meet(node, record) == []


def test_a_machine_that_was_set_back_to_a_snapshot_does_not_stop_for_its_own_later_records() -> None:
    node = node_in(run_of(1, 5000))
    for incarnation in (10, 90, 400):
        assert meet(node, run_of(1, 5000).record(incarnation)) == []


def test_a_run_that_began_earlier_and_lives_does_not_stop_us_however_often_we_meet_it() -> None:
    node, earlier = node_in(run_of(1, 5000)), Doubles()
    for _ in range(10):
        earlier.meet(node.swim.own_record, node.swim.own_record)
        record = run_of(2, 4000).record(node.swim.incarnation + 1)
        said = meet(node, earlier.say(record, sign_as("alice")))
        assert [type(effect) for effect in said] == [Log]


def as_started(run: LocalNode) -> LocalNode:
    return run


def with_another_key(run: LocalNode) -> LocalNode:
    return replace(run, seal_key=b"k" * 32)


def with_another_address(run: LocalNode) -> LocalNode:
    return replace(run, addresses=("elsewhere:1",))


@pytest.mark.parametrize("change", [as_started, with_another_key, with_another_address])
@pytest.mark.parametrize("seed", range(8))
def test_of_a_virtual_machine_resumed_twice_from_one_snapshot_exactly_one_stops(
    change: Callable[[LocalNode], LocalNode], seed: int
) -> None:
    """Words cross, get lost and come late."""
    rng = random.Random(seed)
    nodes = [node_in(run_of(1, 5000)), node_in(change(run_of(1, 5000)))]
    nodes[seed % 2].accuse("bob", "alice", SUSPECT, nodes[seed % 2].swim.incarnation)
    said = [[node.swim.own_record] for node in nodes]
    stopped: set[int] = set()
    for _ in range(60):
        one = rng.randrange(2)
        heard = rng.choice(said[1 - one][-3:])
        if any(isinstance(effect, Stop) for effect in meet(nodes[one], heard)):
            stopped.add(one)
        said[one].append(nodes[one].swim.own_record)
    assert len(stopped) == 1


def test_who_was_told_to_stop_says_nothing_more_of_itself() -> None:
    older, newer = node_in(run_of(1, 1000)), node_in(run_of(2, 2000))
    for _ in range(6):
        meet(older, newer.swim.own_record)
        meet(newer, older.swim.own_record)
    last = older.swim.own_record
    older.accuse("bob", "alice", SUSPECT, last.incarnation)
    meet(older, run_of(9).record(last.incarnation + 100))
    assert older.swim.own_record == last


def test_the_goodbye_of_a_rival_is_no_sign_that_it_goes_on() -> None:
    node, rival = node_in(run_of(1, 5000)), Doubles()
    for _ in range(4):
        rival.meet(node.swim.own_record, node.swim.own_record)
        record = run_of(2, 9000).record(node.swim.incarnation + 1, left=True)
        assert meet(node, rival.say(record, sign_as("alice"))) == []


def test_a_record_without_room_to_name_another_one_is_said_as_it_is() -> None:
    doubles, own = Doubles(), run_of(1).record(1)
    doubles.meet(run_of(2).record(9), own)
    full = replace(run_of(1), zone="z" * (RECORD_BYTES_MAX - record_bytes(own) - 2)).record(2)
    assert doubles.say(full, sign_as("alice")) == full
    assert len(doubles.say(own, sign_as("alice")).more) == ANSWER_BYTES


def test_a_sleeper_stays_asleep_when_it_meets_itself() -> None:
    node = node_in(run_of(1, 5000))
    node.take(node.swim.sleep(60, 0))
    before = node.swim.incarnation
    assert meet(node, run_of(2, 6000).record(99)) == []
    assert node.swim.incarnation == before


def test_only_so_many_runs_are_remembered() -> None:
    doubles, own = Doubles(), run_of(1, 5000).record(1)
    doubles.say(own, sign_as("alice"))

    def meet_answer(boot: int, incarnation: int) -> Meeting:
        record = msgspec.structs.replace(run_of(boot, 9000).record(incarnation), more=mark_of(own))
        return doubles.meet(record, own)

    for boot in range(2, 3 + BOOTS_MAX):
        assert meet_answer(boot, 1) is Meeting.RIVAL
    assert meet_answer(2, 9) is Meeting.RIVAL
    assert meet_answer(BOOTS_MAX + 2, 9) is Meeting.NEWER_RIVAL
