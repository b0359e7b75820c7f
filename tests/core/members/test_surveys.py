"""Surveys: whom each member in reach has links with, asked for in one round."""

from __future__ import annotations

from typing import Any

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.members.surveys import ANSWERS_MAX, REPORTS_MAX, SURVEYS_MAX
from bellande_mesh_sync.core.messages import SurveyReport, SurveyWant
from bellande_mesh_sync.core.survey import UNKNOWN, LinkReport
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.wire.checks import check_message
from tests.core.making import member_of, node_of_name
from tests.core.shuttle import World

ALICE, BOB, CAROL = map(node_of_name, ("alice", "bob", "carol"))
TIMEOUT_NS = 2_000_000_000


def chain() -> World:
    """Alice and bob, bob and carol: alice and carol know each other, and have no link."""
    world = World("alice", "bob", "carol")
    world.run()
    world.connect("alice", "bob")
    world.connect("bob", "carol")
    world.pass_time(1)
    return world


def survey(world: World, name: str) -> int:
    world.requests += 1
    world.nodes[name].handle(on.Survey(world.requests, TIMEOUT_NS))
    return world.requests


def answer(world: World, name: str, request: int) -> dict[NodeId, dict[NodeId, LinkReport]]:
    found: Any = world.nodes[name].answers[request]
    assert isinstance(found, do.Resolve)
    return {node: {each.node: each for each in reports} for node, reports in found.result}


def is_open(world: World, name: str, request: int) -> bool:
    return request not in world.nodes[name].answers


def test_a_survey_shows_who_has_links_with_whom() -> None:
    world = chain()
    request = survey(world, "bob")
    world.run()
    seen = answer(world, "bob", request)
    assert next(iter(seen)) == BOB
    linked = {who: {node for node, each in lines.items() if each.is_linked} for who, lines in seen.items()}
    assert linked == {BOB: {ALICE, CAROL}, ALICE: {BOB}, CAROL: {BOB}}
    assert set(seen[ALICE]) == {BOB, CAROL}
    assert world.nodes["bob"].core.backlog()["surveys"] == 0


def test_only_members_with_a_link_are_asked() -> None:
    world = chain()
    request = survey(world, "alice")
    world.run()
    assert set(answer(world, "alice", request)) == {ALICE, BOB}


def test_the_round_trip_of_a_link_is_in_the_report_once_it_was_measured() -> None:
    world = chain()
    world.pass_time(10)
    for node in world.nodes.values():
        for link in node.core.links.records_links():
            link.rtt_ns = 1_234_567
    request = survey(world, "bob")
    world.run()
    seen = answer(world, "bob", request)
    assert seen[BOB][ALICE].rtt_us == seen[ALICE][BOB].rtt_us == 1_234
    for lines in seen.values():
        for each in lines.values():
            assert each.rtt_us >= UNKNOWN
            assert UNKNOWN <= each.loss_permille <= 1_000


def test_of_members_that_were_never_reached_nothing_is_known() -> None:
    world = World()
    store = MemoryStore(new_epoch=lambda: b"epoch-01")
    store.apply([do.Batch(members=(member_of("bob"),))])
    world.add("alice", store=store)
    request = survey(world, "alice")
    assert answer(world, "alice", request) == {ALICE: {BOB: LinkReport(BOB, UNKNOWN, UNKNOWN, False)}}


def test_a_node_alone_answers_at_once() -> None:
    world = World("alice")
    assert answer(world, "alice", survey(world, "alice")) == {ALICE: {}}


def test_who_does_not_answer_in_time_is_left_out() -> None:
    world = chain()
    world.end("carol", "bob").is_held = True
    request = survey(world, "bob")
    world.run()
    assert is_open(world, "bob", request)
    world.pass_time(TIMEOUT_NS / 1e9 + 0.1)
    assert set(answer(world, "bob", request)) == {BOB, ALICE}
    world.end("carol", "bob").is_held = False
    world.run()  # The late answer changes nothing.
    assert set(answer(world, "bob", request)) == {BOB, ALICE}


def test_a_survey_ends_when_the_last_link_that_is_waited_for_is_gone() -> None:
    world = chain()
    world.end("carol", "bob").is_held = True
    request = survey(world, "bob")
    world.run()
    world.cut("bob", "carol")
    assert set(answer(world, "bob", request)) == {BOB, ALICE}
    world.pass_time(5)


def test_reports_that_nobody_asked_for_change_nothing() -> None:
    world = chain()
    lie = (LinkReport(CAROL, 1, 1, True),)
    world.tell("alice", "bob", SurveyReport(99, lie))
    world.end("carol", "bob").is_held = True
    request = survey(world, "bob")
    world.run()
    world.tell("alice", "bob", SurveyReport(request, lie))  # Alice has answered already.
    assert is_open(world, "bob", request)
    world.end("carol", "bob").is_held = False
    world.run()
    assert not answer(world, "bob", request)[ALICE][CAROL].is_linked


def test_surveys_of_several_nodes_at_once_do_not_mix() -> None:
    world = chain()
    requests = [(name, survey(world, name)) for name in ("alice", "bob", "carol", "bob")]
    world.run()
    counts = [len(answer(world, name, request)) for name, request in requests]
    assert counts == [2, 3, 2, 3]


def test_with_too_many_surveys_open_a_node_gives_its_own_view_alone() -> None:
    world = chain()
    for name in ("alice", "carol"):
        world.end(name, "bob").is_held = True
    requests = [survey(world, "bob") for _ in range(SURVEYS_MAX + 1)]
    assert set(answer(world, "bob", requests[-1])) == {BOB}
    assert is_open(world, "bob", requests[0])
    world.pass_time(TIMEOUT_NS / 1e9 + 0.1)
    assert all(not is_open(world, "bob", request) for request in requests)


def test_a_report_fits_into_a_message_however_many_members_there_are_and_the_linked_come_first() -> None:
    world = World("bob")
    store = MemoryStore(new_epoch=lambda: b"epoch-01")
    members = tuple(member_of(f"n{number}") for number in range(REPORTS_MAX + 50))
    store.apply([do.Batch(members=members)])
    alice = world.add("alice", store=store)
    world.connect("bob", "alice")
    world.run()
    world.tell("bob", "alice", SurveyWant(7))
    (report,) = alice.seen(SurveyReport)
    assert len(report.reports) == REPORTS_MAX
    assert report.reports[0].node == BOB
    check_message(report)


def test_one_that_asks_again_and_again_gets_a_few_answers_a_second() -> None:
    """A want has three bytes, and its answer may have hundreds of thousands."""
    world = chain()
    alice = world.nodes["alice"]
    for second in (1, 2):
        world.tell("bob", "alice", *(SurveyWant(number) for number in range(1_000)))
        assert len(alice.seen(SurveyReport)) == second * ANSWERS_MAX
        world.pass_time(1)
    assert alice.core.counters["surveys_unanswered"] == 2 * (1_000 - ANSWERS_MAX)


def test_the_answers_of_one_second_are_one_report() -> None:
    world = chain()
    bob = world.nodes["bob"]
    world.tell("alice", "bob", SurveyWant(1))
    world.tell("carol", "bob", SurveyWant(2))
    first, second = bob.seen(SurveyReport)
    assert first.reports is second.reports
    world.cut("bob", "carol")
    world.pass_time(1)
    world.tell("alice", "bob", SurveyWant(3))
    last = bob.seen(SurveyReport)[-1]
    assert {each.node for each in last.reports if each.is_linked} == {ALICE}
