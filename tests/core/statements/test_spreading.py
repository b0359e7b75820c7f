"""Statements between whole nodes: told at once, compared on each link, kept, bounded."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.messages import StatementDigest, StatementIds, Statements, StatementWant
from bellande_mesh_sync.core.statements import revocation, spreading
from bellande_mesh_sync.core.statements.revocation import Revocation
from bellande_mesh_sync.core.statements.statement import Judged, Statement, StatementId, id_of
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.statements import state, state_as
from tests.core.making import LINKS_ALONE
from tests.core.shuttle import World

BODY = revocation.body_of(Revocation("lost", "bob", ()))


def said(number: int) -> Judged:
    """About somebody who is no node of these tests."""
    return state(revocation.KIND, number.to_bytes(32, "big"), BODY, number)


def line(*names: str) -> World:
    """Nodes of which each has a link with the next."""
    world = World(*names, config=LINKS_ALONE)
    world.run()
    for left, right in itertools.pairwise(names):
        world.connect(left, right)
    world.run()
    return world


def lay_down(world: World, name: str, *judged: Judged) -> int:
    world.requests += 1
    world.nodes[name].handle(on.AddStatements(world.requests, judged))
    return world.requests


def held(world: World, name: str) -> tuple[StatementId, ...]:
    return world.nodes[name].core.statements.book.ids()


def sent(world: World, kind: type) -> int:
    return sum(len(node.seen(kind)) for node in world.nodes.values())


def test_a_new_statement_goes_from_node_to_node_at_once() -> None:
    world = line("alice", "bob", "carol")
    request = lay_down(world, "alice", said(1))
    assert request not in world.nodes["alice"].answers, "it is not on the disk yet"
    world.run()
    assert isinstance(world.nodes["alice"].answers[request], do.Resolve)
    assert held(world, "alice") == held(world, "bob") == held(world, "carol") == (id_of(said(1).statement),)
    assert world.nodes["carol"].core.statements.book.all()[0][1] == said(1)


def test_what_nobody_states_costs_nothing() -> None:
    world = line("alice", "bob")
    world.pass_time(120)
    assert not sent(world, StatementDigest)


def test_nodes_that_meet_agree_on_all_that_either_holds() -> None:
    world = World("alice", "bob", config=LINKS_ALONE)
    lay_down(world, "alice", said(1), said(2))
    lay_down(world, "bob", said(2), said(3))
    world.run()
    world.connect("alice", "bob")
    world.run()
    assert held(world, "alice") == held(world, "bob")
    assert len(held(world, "alice")) == 3


def test_who_holds_nothing_is_given_all() -> None:
    world = World("alice", "bob", config=LINKS_ALONE)
    lay_down(world, "alice", said(1))
    world.run()
    world.connect("bob", "alice")
    world.run()
    assert held(world, "bob") == held(world, "alice") != ()


def test_nodes_that_agree_send_a_digest_and_no_more() -> None:
    world = line("alice", "bob")
    lay_down(world, "alice", said(1))
    world.run()
    before = sent(world, StatementIds)
    world.pass_time(60)
    assert sent(world, StatementDigest) > 1
    assert sent(world, StatementIds) == before


def test_a_statement_survives_a_crash_once_its_caller_was_told() -> None:
    world = line("alice", "bob")
    lay_down(world, "alice", said(1))
    world.run()
    world.crash("alice")
    world.add("alice")
    assert held(world, "alice") == (id_of(said(1).statement),)


def test_what_the_disk_refused_is_in_effect_and_goes_with_the_next_batch() -> None:
    world = line("alice", "bob")
    alice = world.nodes["alice"]
    alice.is_disk_full = True
    request = lay_down(world, "alice", said(1))
    world.run()
    answer = alice.answers[request]
    assert isinstance(answer, do.Reject)
    assert answer.code == "disk_full"
    assert held(world, "bob") == (id_of(said(1).statement),)
    alice.is_disk_full = False
    lay_down(world, "alice", said(2))
    world.run()
    assert len(alice.store.open().statements) == 2


def test_saying_it_twice_is_saying_it_once() -> None:
    world = line("alice", "bob")
    lay_down(world, "alice", said(1))
    world.run()
    again = lay_down(world, "alice", said(1))
    assert isinstance(world.nodes["alice"].answers[again], do.Resolve)
    assert not world.nodes["alice"].commits


def test_what_a_writer_states_is_refused_here_and_from_peers() -> None:
    world = line("alice", "bob")
    writer = state_as(make_identity(1, 1), "writer", revocation.KIND, bytes(32), BODY, 1)
    request = lay_down(world, "alice", writer)
    answer = world.nodes["alice"].answers[request]
    assert isinstance(answer, do.Reject)
    assert answer.code == "usage"
    world.tell("alice", "bob", Statements((writer.statement,)))
    world.run()
    assert held(world, "bob") == ()
    assert world.nodes["bob"].core.counters["statements_refused"] == 1
    assert world.nodes["bob"].seen(do.Log)[-1].code == "statement_refused"


def forged(number: int) -> Statement:
    return msgspec.structs.replace(said(number).statement, body=BODY + b"\0")


def test_a_forged_statement_takes_no_effect_and_is_judged_once() -> None:
    world = line("alice", "bob")
    world.tell("alice", "bob", Statements((forged(1),)))
    world.run()
    assert held(world, "bob") == ()
    world.tell("alice", "bob", StatementIds((id_of(forged(1)),)))
    world.tell("alice", "bob", Statements((forged(1),)))
    world.run()
    bob = world.nodes["bob"]
    assert len(bob.seen(do.JudgeStatements)) == 1
    assert not bob.seen(StatementWant)
    assert not len(bob.core.statements)


def test_a_link_that_brings_forgeries_is_heard_no_more_of_statements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "REFUSALS_PER_LINK_MAX", 3)
    world = line("alice", "bob")
    for number in range(6):
        world.tell("alice", "bob", Statements((forged(number),)))
        world.run()
    bob = world.nodes["bob"].core
    assert bob.counters["statements_refused"] == 3
    assert bob.counters["statements_dropped"] == 3


def test_a_flood_is_judged_in_portions_and_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "JUDGED_MAX", 2)
    world = line("alice", "bob")
    lay_down(world, "alice", *(said(number) for number in range(1, 6)))
    world.run()
    assert len(held(world, "bob")) == 2
    assert world.nodes["bob"].core.counters["statements_dropped"] == 3
    world.pass_time(120)
    assert held(world, "bob") == held(world, "alice")


def test_statements_of_many_bytes_come_in_several_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "MESSAGE_BYTES_MAX", 500)
    world = line("alice", "bob")
    lay_down(world, "alice", *(said(number) for number in range(1, 9)))
    world.run()
    assert len(held(world, "bob")) == 8
    assert len(world.nodes["alice"].seen(Statements)) > 1
