"""Tombstones go when all owners have them and know it; who was left behind compares before it concludes."""

from __future__ import annotations

import random

import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy
from bellande_mesh_sync.core.messages import LiveDots, LiveWant
from tests.core.making import SECOND_NS, SHARD, deletion, node_of_name, write
from tests.core.shuttle import World

ROUNDS_S = 200.0
"""Six summaries of everybody: two rounds, and what it takes for one to find all of the one before on disk."""
SHORT = CoreConfig(node_timeout_ns=20 * SECOND_NS, forget_after_ns=60 * SECOND_NS)


def linked(*names: str, config: CoreConfig | None = None) -> World:
    world = World(*names, config=config)
    for place, name in enumerate(names):
        for other in names[place + 1 :]:
            world.connect(name, other)
    world.run()
    return world


def put(world: World, name: str, key: str, body: bytes = b"value") -> None:
    world.nodes[name].submit(write(key, body))
    world.run()


def delete(world: World, name: str, key: str) -> None:
    world.nodes[name].submit(deletion(key))
    world.run()


def record_count(world: World, name: str) -> int:
    return world.nodes[name].store.counts().records


def leave_behind(world: World, name: str) -> None:
    """Cut this node off until the others have forgotten it, and it them."""
    for other in world.nodes:
        if other != name:
            world.cut(name, other)
    world.pass_time(ROUNDS_S)
    for node in world.nodes.values():
        if node.name != name:
            assert node.core.directory.get(node_of_name(name)) is None, "not forgotten"


def test_a_tombstone_goes_on_every_node_and_its_numbers_stay_known() -> None:
    world = linked("alice", "bob", "carol")
    put(world, "alice", "fleet/a")
    put(world, "bob", "fleet/b")
    delete(world, "carol", "fleet/a")
    assert record_count(world, "alice") == 2
    world.pass_time(ROUNDS_S)
    for node in world.nodes.values():
        assert node.store.scan_keys("", "", 9) == ["fleet/b"]
        assert node.core.counters["tombstones_collected"] == 1
        assert len(node.core.replica.shard(SHARD).committed.delta()) == 3
    world.assert_converged()


def test_a_member_that_is_away_holds_it_up_until_it_is_back() -> None:
    world = linked("alice", "bob", "carol")
    put(world, "alice", "fleet/a")
    world.cut("alice", "carol")
    world.cut("bob", "carol")
    delete(world, "bob", "fleet/a")
    world.pass_time(2 * ROUNDS_S)
    assert world.nodes["alice"].get("fleet/a") == world.nodes["bob"].get("fleet/a") == {None}
    world.connect("carol", "alice")
    world.connect("bob", "carol")
    world.pass_time(ROUNDS_S)
    assert [record_count(world, name) for name in world.nodes] == [0, 0, 0]


def test_a_delete_that_is_in_conflict_stays_until_the_conflict_is_settled() -> None:
    world = linked("alice", "bob")
    put(world, "alice", "fleet/a")
    world.cut("alice", "bob")
    put(world, "alice", "fleet/a", b"newer")
    delete(world, "bob", "fleet/a")
    world.connect("alice", "bob")
    world.pass_time(ROUNDS_S)
    assert world.nodes["alice"].get("fleet/a") == world.nodes["bob"].get("fleet/a") == {None, b"newer"}
    delete(world, "bob", "fleet/a")
    world.pass_time(ROUNDS_S)
    assert [record_count(world, name) for name in world.nodes] == [0, 0]


def test_a_key_is_written_anew_after_its_delete_was_collected_and_is_in_no_conflict() -> None:
    world = linked("alice", "bob")
    put(world, "alice", "fleet/a")
    delete(world, "alice", "fleet/a")
    world.pass_time(ROUNDS_S)
    put(world, "bob", "fleet/a", b"again")
    world.pass_time(ROUNDS_S)
    assert world.nodes["alice"].get("fleet/a") == world.nodes["bob"].get("fleet/a") == {b"again"}
    world.assert_converged()


def test_a_write_that_never_saw_the_delete_replaces_it_where_it_is_known() -> None:
    """Elsewhere the delete may be gone, and no conflict with it could be told there."""
    world = linked("alice", "bob")
    put(world, "alice", "fleet/a")
    delete(world, "alice", "fleet/a")
    world.nodes["alice"].submit(write("fleet/a", b"blind", context=()))
    world.run()
    assert world.nodes["alice"].get("fleet/a") == world.nodes["bob"].get("fleet/a") == {b"blind"}


def test_a_node_that_was_forgotten_drops_what_was_deleted_and_keeps_what_only_it_wrote() -> None:
    world = linked("alice", "bob", "carol", config=SHORT)
    for number in range(5):
        put(world, "alice", f"fleet/{number}")
    leave_behind(world, "carol")
    for number in range(3):
        delete(world, "bob", f"fleet/{number}")
    put(world, "carol", "fleet/own", b"own")
    put(world, "carol", "fleet/2", b"changed")
    world.pass_time(ROUNDS_S)
    assert record_count(world, "alice") == record_count(world, "bob") == 2, "not collected"
    world.connect("carol", "alice")
    world.pass_time(ROUNDS_S)
    world.connect("carol", "bob")
    world.pass_time(ROUNDS_S)
    for node in world.nodes.values():
        assert node.store.scan_keys("", "", 9) == ["fleet/2", "fleet/3", "fleet/4", "fleet/own"]
        assert node.get("fleet/2") == {b"changed"}
    assert world.nodes["carol"].core.counters["stale_dropped"] == 2
    assert not any(node.core.counters["fingerprint_mismatches"] for node in world.nodes.values())
    world.assert_converged()


def test_what_was_dropped_as_stale_is_in_the_history() -> None:
    kept = HistoryPolicies(HistoryPolicy(versions=3))
    world = linked(
        "alice", "bob", "carol",
        config=CoreConfig(
            node_timeout_ns=20 * SECOND_NS, forget_after_ns=60 * SECOND_NS, history=kept
        ),
    )  # fmt: skip
    put(world, "alice", "fleet/a", b"stale")
    leave_behind(world, "carol")
    delete(world, "bob", "fleet/a")
    world.pass_time(ROUNDS_S)
    world.connect("carol", "alice")
    world.pass_time(ROUNDS_S)
    assert world.nodes["carol"].get("fleet/a") == set()
    ((old,),) = world.nodes["carol"].store.old_versions(["fleet/a"], 1 << 20)
    assert old[1].inline == b"stale"


def test_a_newcomer_that_got_stale_data_first_is_rid_of_it() -> None:
    world = linked("alice", "bob", "carol", config=SHORT)
    put(world, "alice", "fleet/a", b"stale")
    leave_behind(world, "carol")
    delete(world, "bob", "fleet/a")
    put(world, "bob", "fleet/b")
    world.pass_time(ROUNDS_S)
    world.add("dave")
    world.connect("dave", "carol")
    world.pass_time(ROUNDS_S)
    assert world.nodes["dave"].get("fleet/a") == {b"stale"}
    for name in ("alice", "bob"):
        world.connect("dave", name)
    world.pass_time(ROUNDS_S)
    for name in ("alice", "bob"):
        world.connect("carol", name)
    world.pass_time(ROUNDS_S)
    assert all(node.store.scan_keys("", "", 9) == ["fleet/b"] for node in world.nodes.values())
    world.assert_converged()


def test_an_empty_newcomer_learns_what_was_collected_and_holds_nothing_up() -> None:
    world = linked("alice", "bob")
    put(world, "alice", "fleet/a")
    delete(world, "alice", "fleet/a")
    put(world, "alice", "fleet/b")
    world.pass_time(ROUNDS_S)
    world.add("carol")
    world.connect("carol", "alice")
    world.connect("carol", "bob")
    world.run()
    assert not world.nodes["carol"].core.exchange.returning
    carol = world.nodes["carol"].core.replica.shard(SHARD)
    assert carol.committed == world.nodes["alice"].core.replica.shard(SHARD).committed
    assert carol.collected == world.nodes["alice"].core.replica.shard(SHARD).collected
    delete(world, "carol", "fleet/b")
    world.pass_time(ROUNDS_S)
    assert [record_count(world, name) for name in world.nodes] == [0, 0, 0]


def test_nothing_goes_on_the_word_of_a_peer_that_has_not_read_its_records() -> None:
    world = linked("alice", "bob", "carol", config=SHORT)
    put(world, "alice", "fleet/a")
    leave_behind(world, "carol")
    delete(world, "bob", "fleet/a")
    world.pass_time(ROUNDS_S)
    world.nodes["alice"].is_examined = False
    world.connect("carol", "alice")
    world.pass_time(10)
    assert world.nodes["carol"].seen(LiveWant)
    assert not world.nodes["alice"].seen(LiveDots)
    assert world.nodes["carol"].get("fleet/a") == {b"value"}
    assert any(isinstance(effect, do.Examine) for effect in world.nodes["alice"].effects)


def test_a_restart_keeps_what_was_collected() -> None:
    world = linked("alice", "bob")
    put(world, "alice", "fleet/a")
    delete(world, "alice", "fleet/a")
    world.pass_time(ROUNDS_S)
    before = dict(world.nodes["bob"].core.replica.shard(SHARD).collected)
    assert before
    world.crash("bob")
    world.run()
    world.add("bob")
    assert world.nodes["bob"].core.replica.shard(SHARD).collected == before


NAMES = ["alice", "bob", "carol", "dave"]
QUICK = CoreConfig(
    sync_interval_ns=3 * SECOND_NS,
    node_timeout_ns=15 * SECOND_NS,
    forget_after_ns=20 * SECOND_NS,
    credit_bytes=6000,
    page_bytes=900,
)


@pytest.mark.parametrize("seed", range(30))
def test_deletes_stay_deletes_whoever_is_forgotten_and_comes_back(seed: int) -> None:
    """Values are never written twice, so one that is shown after everybody saw its delete has come back."""
    rng = random.Random(seed)
    world = linked(*NAMES, config=QUICK)
    apart: set[str] = set()
    for _ in range(40):
        name = rng.choice(NAMES)
        key = f"fleet/{rng.randrange(6)}"
        world.nodes[name].submit(deletion(key) if rng.random() < 0.5 else write(key, rng.randbytes(8)))
        world.run()
        if rng.random() < 0.15 and not apart:
            apart.add(name)
            for other in NAMES:
                world.cut(name, other)
        elif rng.random() < 0.2 and apart:
            (name,) = apart
            apart.clear()
            for other in NAMES:
                if other != name:
                    world.connect(name, other)
        world.pass_time(rng.choice((0.5, 2, 5, 20)))
        world.check()
    for first, other in [(a, b) for place, a in enumerate(NAMES) for b in NAMES[place + 1 :]]:
        world.cut(first, other)
        world.connect(first, other)
    world.pass_time(60)
    world.assert_converged()
    assert not any(node.core.counters["fingerprint_mismatches"] for node in world.nodes.values())
    assert {record_count(world, name) for name in NAMES} == {record_count(world, "alice")}
