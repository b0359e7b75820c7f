"""Revocation among whole nodes: links, members, writes beyond the cut, restarts."""

from __future__ import annotations

import random

import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.core.messages import Records
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.statements import state, state_as
from tests.core.making import LINKS_ALONE, SHARD, node_of_name, record, write
from tests.core.shuttle import World

TRIANGLE = (("alice", "bob"), ("alice", "mallory"), ("bob", "mallory"))


def mesh(*links: tuple[str, str]) -> World:
    world = World("alice", "bob", "mallory", config=LINKS_ALONE)
    world.run()
    for left, right in links or TRIANGLE:
        world.connect(left, right)
    world.run()
    return world


def revoked_at(world: World, name: str, subject: str = "mallory") -> Judged:
    """The statement that this node would make now."""
    core = world.nodes[name].core
    body = core.revocation_body(node_of_name(subject), "stolen")
    return state(revocation.KIND, node_of_name(subject), body, 1)


def lay_down(world: World, name: str, judged: Judged) -> None:
    world.requests += 1
    world.nodes[name].handle(on.AddStatements(world.requests, (judged,)))


def revoke(world: World, name: str = "alice", subject: str = "mallory") -> None:
    lay_down(world, name, revoked_at(world, name, subject))
    world.run()


def state_of(world: World, name: str, subject: str = "mallory") -> MemberState | None:
    return world.nodes[name].core.directory.states().get(node_of_name(subject))


def test_a_revoked_node_is_cut_off_everywhere_and_stops() -> None:
    world = mesh()
    revoke(world)
    for name in ("alice", "bob"):
        assert state_of(world, name) == MemberState.REVOKED
        assert world.nodes[name].core.links.to(node_of_name("mallory")) is None
    stopped = world.nodes["mallory"].seen(do.Stop)
    assert [stop.code for stop in stopped] == ["revoked"]
    assert "stolen" in stopped[0].reason


def test_it_no_longer_counts_for_quorum() -> None:
    world = mesh()
    before = world.nodes["alice"].core.directory.owners(world.now)
    revoke(world)
    after = world.nodes["alice"].core.directory.owners(world.now)
    assert before - after == {node_of_name("mallory")}


def test_a_write_that_waited_for_its_disk_waits_no_longer() -> None:
    world = mesh()
    end = world.end("alice", "mallory")
    end.is_held = True  # What goes to mallory does not arrive.
    request = world.nodes["alice"].submit(write("fleet/a"), ack="all")
    world.run()
    assert request not in world.nodes["alice"].answers
    revoke(world)
    assert isinstance(world.nodes["alice"].answers[request], do.Resolve)


def test_a_link_that_it_opens_gets_the_proof_and_nothing_else() -> None:
    world = mesh(("alice", "bob"))
    revoke(world)
    world.connect("mallory", "alice")
    world.run()
    alice = world.nodes["alice"]
    assert alice.core.links.to(node_of_name("mallory")) is None
    assert alice.seen(do.Hangup)[-1].code == "revoked"
    assert world.nodes["mallory"].seen(do.Stop)
    found = alice.core.revocations.get(node_of_name("mallory"))
    assert found is not None
    assert found.refused.links == 1


def test_nobody_can_bring_it_back_by_gossip() -> None:
    world = mesh()
    said = world.nodes["mallory"].core.directory.own
    revoke(world)
    alice = world.nodes["alice"]
    alice.do(alice.core.membership.turned_away(node_of_name("bob"), said, world.now))
    alice.do(alice.core.membership.turned_away(node_of_name("mallory"), said, world.now))
    assert state_of(world, "alice") == MemberState.REVOKED
    assert alice.core.membership.swim.state_of(node_of_name("mallory")) == ""
    assert all(each.node != said.node for each in alice.store.open().members)


def test_it_is_still_revoked_after_a_restart_and_for_those_who_come_later() -> None:
    world = mesh()
    revoke(world)
    world.crash("bob")
    world.add("bob")
    assert state_of(world, "bob") == MemberState.REVOKED
    world.add("carol")
    world.connect("carol", "bob")
    world.run()
    world.connect("mallory", "carol")
    world.run()
    assert state_of(world, "carol") == MemberState.REVOKED
    assert world.nodes["carol"].core.links.to(node_of_name("mallory")) is None


def test_a_revoked_node_that_starts_again_stops_at_once() -> None:
    world = mesh()
    revoke(world)
    again = world.add("mallory")
    assert not again.is_running


def test_what_it_wrote_before_the_cut_stays_and_what_came_after_is_refused_from_anybody() -> None:
    world = mesh()
    world.nodes["mallory"].submit(write("fleet/a", b"early"))
    world.run()
    author = world.nodes["mallory"].core.replica.author
    revoke(world)
    late = record("fleet/b", author, 2, body=b"late")
    world.tell("alice", "bob", Records(SHARD, 0, (late,)))
    world.run()
    assert world.nodes["bob"].get("fleet/a") == {b"early"}
    assert world.nodes["bob"].get("fleet/b") == set()
    found = world.nodes["bob"].core.revocations.get(node_of_name("mallory"))
    assert found is not None
    assert found.refused.records == 1


def two_views() -> World:
    """Mallory has written, and overwritten a value of Alice's, after Alice heard from it last."""
    world = mesh(("alice", "bob"), ("bob", "mallory"))
    world.nodes["alice"].submit(write("fleet/a", b"alice's"), write("fleet/b", b"both see it"))
    world.run()
    world.nodes["mallory"].submit(write("fleet/m", b"known to all"))
    world.run()
    world.cut("alice", "bob")
    world.nodes["mallory"].submit(write("fleet/a", b"mallory's"), write("fleet/new", b"more"))
    world.run()
    assert world.nodes["bob"].get("fleet/a") == {b"mallory's"}
    return world


def test_writes_beyond_the_cut_are_set_aside_and_what_they_replaced_comes_back() -> None:
    world = two_views()
    revoke(world)
    world.connect("alice", "bob")
    world.run()
    world.is_dialling = True
    world.pass_time(90)
    for name in ("alice", "bob"):
        assert world.nodes[name].get("fleet/a") == {b"alice's"}
        assert world.nodes[name].get("fleet/m") == {b"known to all"}
        assert world.nodes[name].get("fleet/new") == set()
    del world.nodes["mallory"]
    world.assert_converged()
    found = world.nodes["bob"].core.revocations.get(node_of_name("mallory"))
    assert found is not None
    assert found.refused.set_aside == 2


def test_a_disk_that_is_full_meanwhile_is_tried_again() -> None:
    world = two_views()
    judged = revoked_at(world, "alice")
    world.nodes["bob"].is_disk_full = True
    lay_down(world, "bob", judged)
    world.run()
    assert world.nodes["bob"].get("fleet/a") == {b"mallory's"}
    world.nodes["bob"].is_disk_full = False
    world.is_dialling = True
    world.pass_time(120)
    assert world.nodes["bob"].get("fleet/a") == {b"alice's"}
    assert not len(world.nodes["bob"].core.exchange.trimming)


def test_a_crash_between_hearing_and_setting_aside_loses_nothing() -> None:
    world = two_views()
    judged = revoked_at(world, "alice")
    bob = world.nodes["bob"]
    lay_down(world, "bob", judged)
    bob.commit()  # The statement is on disk, and nothing more.
    world.crash("bob")
    world.add("bob")
    world.is_dialling = True
    world.pass_time(90)
    assert world.nodes["bob"].get("fleet/a") == {b"alice's"}


def test_what_an_honest_node_made_of_them_stays() -> None:
    world = two_views()
    world.nodes["bob"].submit(write("fleet/a", b"bob's answer"))
    world.run()
    revoke(world)
    world.is_dialling = True
    world.pass_time(90)
    for name in ("alice", "bob"):
        assert world.nodes[name].get("fleet/a") == {b"bob's answer"}
    del world.nodes["mallory"]
    world.assert_converged()


@pytest.mark.parametrize("seed", range(6))
def test_nodes_agree_whatever_order_things_come_in(seed: int) -> None:
    world = World("alice", "bob", "carol", "mallory", config=LINKS_ALONE, seed=seed)
    world.is_dialling = True
    world.run()
    rng = random.Random(seed)
    for left, right in (("alice", "bob"), ("bob", "carol"), ("carol", "mallory"), ("bob", "mallory")):
        world.connect(left, right)
    judged: Judged | None = None
    for number in range(60):
        name = rng.choice(("alice", "bob", "carol", "mallory", "mallory"))
        if world.nodes[name].is_running:
            world.nodes[name].submit(write(f"fleet/{rng.randrange(5)}", f"{name} {number}".encode()))
        if number == 30:
            judged = revoked_at(world, "alice")
        if number == 40 and judged is not None:
            lay_down(world, "alice", judged)
        for _ in range(rng.randrange(12)):
            world.step()
    world.run()
    world.pass_time(150)
    del world.nodes["mallory"]
    world.assert_converged()
    for node in world.nodes.values():
        for shard, held in node.core.replica.shards():
            assert node.core.revocations.beyond(shard, held.committed.delta()) == ()


def test_a_statement_that_voids_it_lets_the_node_in_again() -> None:
    world = mesh(("alice", "bob"))
    admin = make_identity(1, 1)
    body = world.nodes["alice"].core.revocation_body(node_of_name("mallory"), "spite")
    lay_down(world, "alice", state_as(admin, "admin", revocation.KIND, node_of_name("mallory"), body, 1))
    world.run()
    assert state_of(world, "bob") == MemberState.REVOKED
    nothing = revocation.body_of(revocation.Revocation("", "", ()))
    lay_down(world, "alice", state(revocation.KIND, admin.node, nothing, 2))
    world.run()
    assert state_of(world, "bob") is None
    world.connect("mallory", "bob")
    world.run()
    assert state_of(world, "bob") == MemberState.ALIVE
