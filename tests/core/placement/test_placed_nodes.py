"""Whole cores with spaces that only some of them hold: writes, reads, moves, under order and disorder."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.messages import Records
from bellande_mesh_sync.core.placement.placement import PlacedSpace
from bellande_mesh_sync.core.placement.questions import KeyFound, ScanFound
from bellande_mesh_sync.ids import Shard
from tests.core.making import SECOND_NS, deletion, live_records, write
from tests.core.shuttle import Node, World

NAMES = ["alice", "bob", "carol", "dave", "erin"]
CONFIG = CoreConfig(
    sync_interval_ns=5 * SECOND_NS,
    rebalance_after_ns=20 * SECOND_NS,
    node_timeout_ns=30 * SECOND_NS,
    placed=(PlacedSpace("fleet", 2, 64),),
)
KEYS = [f"fleet/{number}" for number in range(12)]


def mesh(*names: str, config: CoreConfig = CONFIG, seed: int | None = None) -> World:
    world = World(*names, config=config, seed=seed)
    link_all(world)
    world.pass_time(2)
    return world


def link_all(world: World) -> None:
    running = [name for name, node in world.nodes.items() if node.is_running]
    for index, a in enumerate(running):
        for b in running[index + 1 :]:
            if world.nodes[a].core.links.to(world.nodes[b].core.me.node) is None:
                world.connect(a, b)
    world.run()


def owners_of(world: World, key: str, *, seen_by: str | None = None) -> list[Node]:
    node = world.nodes[seen_by or next(n for n, each in world.nodes.items() if each.is_running)]
    placement = node.core.exchange.placement
    ids = placement.owners(placement.shard_of(key))
    return [found for owner in ids for found in world.nodes.values() if found.core.me.node == owner]


def stranger_to(world: World, key: str) -> Node:
    owners = owners_of(world, key)
    return next(node for node in world.nodes.values() if node not in owners and node.is_running)


def read(world: World, node: Node, *keys: str, timeout_s: float = 5.0) -> tuple[KeyFound, ...]:
    world.requests += 1
    request = world.requests
    node.handle(on.ReadKeys(request, keys, round(timeout_s * 1e9)))
    world.run()
    if request not in node.answers:
        world.pass_time(timeout_s + 1)
    answer = node.answers[request]
    assert isinstance(answer, do.Resolve)
    found: tuple[KeyFound, ...] = answer.result
    return found


def scan(world: World, node: Node, prefix: str, after: str = "", limit: int = 100) -> ScanFound:
    world.requests += 1
    request = world.requests
    node.handle(on.ScanKeys(request, "fleet", prefix, after, limit, 5 * SECOND_NS))
    world.run()
    answer = node.answers[request]
    assert isinstance(answer, do.Resolve)
    found: ScanFound = answer.result
    return found


def holders(world: World, key: str) -> set[str]:
    return {name for name, node in world.nodes.items() if node.get(key)}


def values(found: KeyFound) -> set[bytes | None]:
    return {record.inline for record in found.siblings}


def test_a_write_is_on_the_disks_of_its_owners_and_nowhere_else() -> None:
    world = mesh(*NAMES)
    for name, key in zip(NAMES * 3, KEYS, strict=False):
        request = world.nodes[name].submit(write(key, b"v"), ack="all")
        world.run()
        answer = world.nodes[name].answers[request]
        assert isinstance(answer, do.Resolve)
        owners = owners_of(world, key)
        assert set(answer.result[0].nodes) == {owner.core.me.node for owner in owners}
        assert len(owners) == 2
    world.pass_time(5)
    for key in KEYS:
        assert holders(world, key) == {owner.name for owner in owners_of(world, key)}
    world.check()


def test_a_writer_that_is_no_owner_keeps_its_write_until_all_owners_have_it() -> None:
    world = mesh(*NAMES)
    key = KEYS[0]
    writer, owners = stranger_to(world, key), owners_of(world, key)
    for owner in owners:
        world.cut(writer.name, owner.name)
    request = writer.submit(write(key, b"hint"), ack="local")
    world.pass_time(12)
    assert isinstance(writer.answers[request], do.Resolve)
    assert holders(world, key) == {writer.name}
    world.connect(writer.name, owners[0].name)
    world.pass_time(12)
    # One owner has brought it to the other, but that one's word has yet to come.
    assert holders(world, key) == {writer.name, *(owner.name for owner in owners)}
    world.connect(writer.name, owners[1].name)
    world.pass_time(12)
    assert holders(world, key) == {owner.name for owner in owners}
    again = writer.submit(write(key, b"again"), ack="all")
    world.run()
    assert isinstance(writer.answers[again], do.Resolve)
    world.check()


def test_acks_of_nodes_that_are_no_owners_do_not_count() -> None:
    world = mesh(*NAMES)
    key = KEYS[0]
    owners = owners_of(world, key)
    writer = stranger_to(world, key)
    world.cut(writer.name, owners[1].name)
    for ack in ("quorum", "all"):
        request = writer.submit(write(key, ack.encode()), ack=ack, timeout_s=3)
        world.pass_time(4)
        answer = writer.answers[request]
        assert isinstance(answer, do.Reject)
        assert (answer.facts["have"], answer.facts["need"]) == (1, 2)
    request = writer.submit(write(key, b"one"), ack="one", timeout_s=3)
    world.run()
    assert isinstance(writer.answers[request], do.Resolve)


def test_every_node_reads_and_lists_every_key() -> None:
    world = mesh(*NAMES)
    for key in KEYS:
        world.nodes["alice"].submit(write(key, key.encode()))
    world.nodes["bob"].submit(deletion(KEYS[3]))
    world.pass_time(5)
    for node in world.nodes.values():
        for key, found in zip(KEYS, read(world, node, *KEYS), strict=True):
            # Bob had not seen what he deleted: his delete and the value stand side by side.
            assert key.encode() in values(found)
            assert found.is_sure
        page = scan(world, node, "fleet/")
        assert [key for key, _ in page.entries] == sorted(KEYS)
        assert page.is_sure
        first = scan(world, node, "fleet/1", limit=2)
        assert [key for key, _ in first.entries] == ["fleet/1", "fleet/10"]
        rest = scan(world, node, "fleet/1", after=first.cursor, limit=2)
        assert [key for key, _ in rest.entries] == ["fleet/11"]
    missing = read(world, world.nodes["carol"], "fleet/nothing")[0]
    assert (missing.siblings, missing.is_sure) == ((), True)


def test_what_was_deleted_is_not_listed_though_a_hint_of_it_is_still_held() -> None:
    world = mesh(*NAMES)
    key = KEYS[0]
    writer, owners = stranger_to(world, key), owners_of(world, key)
    writer.submit(write(key, b"v"), ack="all")
    world.run()
    owners[0].submit(deletion(key))
    world.run()
    assert holders(world, key) == {writer.name, *(owner.name for owner in owners)}
    for node in world.nodes.values():
        assert scan(world, node, "fleet/").entries == ()
        (found,) = read(world, node, key)
        assert values(found) == {None}


def test_a_write_elsewhere_replaces_what_its_writer_has_read_there() -> None:
    world = mesh(*NAMES)
    key = KEYS[0]
    owners_of(world, key)[0].submit(write(key, b"old"), ack="all")
    world.run()
    writer = stranger_to(world, key)
    known = read(world, writer, key)[0].siblings
    world.requests += 1
    writer.handle(on.WriteMany(world.requests, (write(key, b"new"),), "all", SECOND_NS, known))
    world.pass_time(3)
    assert isinstance(writer.answers[world.requests], do.Resolve)
    for owner in owners_of(world, key):
        assert owner.get(key) == {b"new"}
    world.check()


def test_a_newcomer_takes_over_its_share_and_the_others_let_go_of_it() -> None:
    world = mesh(*NAMES[:4])
    for key in KEYS:
        world.nodes["alice"].submit(write(key, key.encode()), ack="all")
    world.pass_time(5)
    before = {key: holders(world, key) for key in KEYS}
    world.add("erin")
    link_all(world)
    for node in world.nodes.values():
        for key, found in zip(KEYS, read(world, node, *KEYS), strict=True):
            assert values(found) == {key.encode()}, f"{node.name} lost sight of {key}"
    world.pass_time(20)
    moved = 0
    for key in KEYS:
        owners = {owner.name for owner in owners_of(world, key)}
        assert holders(world, key) == owners
        moved += owners != before[key]
    assert 0 < moved < len(KEYS)
    world.check()


def test_what_a_dead_member_held_is_held_twice_again() -> None:
    world = mesh(*NAMES)
    for key in KEYS:
        world.nodes["alice"].submit(write(key, key.encode()), ack="all")
    world.pass_time(5)
    world.crash("carol")
    world.pass_time(120)
    living = [name for name in NAMES if name != "carol"]
    for key in KEYS:
        owners = {owner.name for owner in owners_of(world, key)}
        assert "carol" not in owners
        assert holders(world, key) - {"carol"} == owners
    for name in living:
        for key, found in zip(KEYS, read(world, world.nodes[name], *KEYS), strict=True):
            assert values(found) == {key.encode()}


def test_no_write_goes_to_a_node_that_is_not_to_hold_it() -> None:
    world = mesh(*NAMES)
    for key in KEYS:
        world.nodes["alice"].submit(write(key))
    world.run()
    for node in world.nodes.values():
        for sent in node.seen(Records):
            assert isinstance(sent, Records)
    for key in KEYS:
        assert holders(world, key) - {"alice"} <= {owner.name for owner in owners_of(world, key)}


def test_a_node_in_another_cut_of_the_space_is_told_of_and_takes_nothing() -> None:
    world = World("alice", config=CONFIG)
    world.config = CoreConfig(placed=(PlacedSpace("fleet", 2, 128),))
    world.add("bob")
    world.connect("alice", "bob")
    world.nodes["alice"].submit(write(KEYS[0]))
    world.pass_time(12)
    assert holders(world, KEYS[0]) == {"alice"}
    assert any(log.code == "placement_mismatch" for log in world.nodes["bob"].seen(do.Log))


# -- disorder ----------------------------------------------------------------------------------


class Watchman:
    """Knows every durable write, and counts the disks that hold it or a successor. Asks no core anything."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.safe: dict[tuple[Shard, str, object], int] = {}
        """The most disks that each write was seen on, up to two."""
        self.looked_at: set[tuple[int, int]] = set()

    def check(self) -> None:
        self.world.check()
        by_node = [self._held(node) for node in self.world.nodes.values()]
        self._check_receipts(by_node)
        for (shard, dot), record in self.world.written.items():
            count = sum(_has(held.get(record.key, []), record) for held in by_node)
            assert count >= 1, f"{record.key} {dot.sequence} is on no disk any more"
            place = (shard, record.key, dot)
            most = self.safe[place] = max(self.safe.get(place, 0), min(count, 2))
            assert count >= most, f"{record.key} {dot.sequence} was on {most} disks and is on {count}"

    def _check_receipts(self, by_node: Sequence[dict[str, list[Record]]]) -> None:
        """The write is on as many disks as its receipt names, maybe on others: owners may have changed."""
        for node in self.world.nodes.values():
            news = [number for number in node.answers if (id(node), number) not in self.looked_at]
            self.looked_at.update((id(node), number) for number in news)
            for answer in (node.answers[number] for number in news):
                for receipt in answer.result if isinstance(answer, do.Resolve) else ():
                    self._check_receipt(receipt, by_node)

    def _check_receipt(self, receipt: on.Receipt, by_node: Sequence[dict[str, list[Record]]]) -> None:
        # A version names one of its key; another key of another shard may have it too.
        (record,) = [
            each
            for each in self.world.written.values()
            if (each.key, each.version) == (receipt.key, receipt.version)
        ]
        count = sum(_has(held.get(receipt.key, []), record) for held in by_node)
        assert count >= len(receipt.nodes) >= 1, f"{receipt.key} is on {count} disks"

    def _held(self, node: Node) -> dict[str, list[Record]]:
        held: dict[str, list[Record]] = {}
        for shard, _ in node.core.replica.shards():
            for record in live_records(node.store, shard):
                held.setdefault(record.key, []).append(record)
        return held


def _has(held: Sequence[Record], record: Record) -> bool:
    return any(other.dot == record.dot or covers(other.context, *record.dot) for other in held)


def disturb(world: World, rng: random.Random) -> None:
    names = sorted(world.nodes)
    running = [name for name in names if world.nodes[name].is_running]
    node = world.nodes[rng.choice(running)]
    a, b = rng.sample(names, 2)
    match rng.randrange(14):
        case 0 | 1 | 2 | 3 | 4 | 5:
            key = rng.choice(KEYS)
            made = deletion(key) if rng.random() < 0.2 else write(key, rng.randbytes(rng.randrange(300)))
            node.submit(made, ack=rng.choice(["local", "one", "quorum", "all"]), timeout_s=5)
        case 6:
            world.cut(a, b)
        case 7 | 8:
            if world.nodes[a].is_running and world.nodes[b].is_running:
                world.connect(a, b)
        case 9:
            node.is_disk_full = not node.is_disk_full
        case 10:
            node.is_disk_slow = not node.is_disk_slow
        case 11 if len(running) > 3:
            world.crash(node.name)
        case 12:
            for name in names:
                if not world.nodes[name].is_running:
                    world.add(name)
        case _:
            world.rng, kept = None, world.rng
            slow = [each for each in world.nodes.values() if each.is_disk_slow or each.is_disk_full]
            for each in slow:
                each.is_disk_slow = each.is_disk_full = False
            world.pass_time(rng.choice([1, 3, 8, 40]))
            world.rng = kept


def come_to_rest(world: World) -> None:
    for node in world.nodes.values():
        node.is_disk_full = node.is_disk_slow = False
    world.rng = None
    for name in sorted(world.nodes):
        if not world.nodes[name].is_running:
            world.add(name)
    world.run()
    link_all(world)
    world.pass_time(60)
    link_all(world)
    world.pass_time(60)


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_nothing_is_let_go_too_early_and_owners_hold_it_all_in_the_end(seed: int) -> None:
    play(random.Random(seed), seed)


def play(rng: random.Random, seed: int) -> None:
    """One run of a seed: disorder, watched at each step, and then rest."""
    world = World(*NAMES[: rng.choice([3, 4, 5])], config=CONFIG, seed=seed)
    link_all(world)
    watchman = Watchman(world)
    for _ in range(120):
        disturb(world, rng)
        for _ in range(rng.randrange(15)):
            world.step()
        watchman.check()
    come_to_rest(world)
    watchman.check()
    check_at_rest(world)


def check_at_rest(world: World) -> None:
    views = {node.core.exchange.placement.members for node in world.nodes.values()}
    assert len(views) == 1
    for key in KEYS:
        owners = owners_of(world, key)
        held = {name: node.get(key) for name, node in world.nodes.items()}
        if not any(held.values()):
            continue
        assert {name for name, found in held.items() if found} == {owner.name for owner in owners}
        assert len({frozenset(held[owner.name]) for owner in owners}) == 1
        for node in world.nodes.values():
            assert values(read(world, node, key)[0]) == held[owners[0].name]
