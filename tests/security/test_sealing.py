"""Sealed packets: opened by their receiver, once; everything else is refused for the right reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.swim.messages import SEAL_BYTES
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security import sealing
from bellande_mesh_sync.security.sealing import (
    OLD_KEPT_NS,
    PACKET_BYTES_MAX,
    PEER_KEYS_MAX,
    ROTATE_AFTER_NS,
    SECOND_NS,
    SWITCH_AFTER_NS,
    Refusal,
    Sealer,
    key_id_of,
)

MESH = bytes(range(16))
ALICE, BOB, CAROL = (NodeId(bytes([letter]) * 32) for letter in b"abc")


class Clock:
    def __init__(self) -> None:
        self.ns = 1_000 * SECOND_NS

    def __call__(self) -> int:
        return self.ns


def keys_from(start: int) -> Callable[[], X25519PrivateKey]:
    """Keys that are the same in each run of a test."""
    seeds: Iterator[int] = iter(range(start, start + 1_000_000))
    return lambda: X25519PrivateKey.from_private_bytes(next(seeds).to_bytes(32, "big"))


class Net:
    """Sealers that know each other, and one clock."""

    def __init__(self, *nodes: NodeId, key_id: Callable[[bytes, bytes], bytes] = key_id_of) -> None:
        self.clock = Clock()
        self.sealers = {
            node: Sealer(node, MESH, now_ns=self.clock, new_key=keys_from(1 + 1000 * node[0]), key_id=key_id)
            for node in nodes
        }
        for node in nodes:
            self.announce(node)

    def __getitem__(self, node: NodeId) -> Sealer:
        return self.sealers[node]

    def announce(self, node: NodeId) -> None:
        for other, sealer in self.sealers.items():
            if other != node:
                sealer.set_peer(node, self[node].public_key)

    def sealed(self, sender: NodeId, receiver: NodeId, body: bytes = b"ping") -> bytes:
        packet = self[sender].seal(receiver, body)
        assert packet is not None
        return packet

    def passes(self, sender: NodeId, receiver: NodeId) -> bool:
        return self[receiver].open(self.sealed(sender, receiver)) == (sender, b"ping")


@given(st.binary(max_size=1_300))
def test_a_packet_opens_at_its_receiver_in_both_directions(body: bytes) -> None:
    net = Net(ALICE, BOB)
    for sender, receiver in ((ALICE, BOB), (BOB, ALICE), (ALICE, BOB)):
        packet = net.sealed(sender, receiver, body)
        assert len(packet) == len(body) + SEAL_BYTES
        assert net[receiver].open(packet) == (sender, body)


def test_the_bytes_of_a_packet_are_those_of_version_1() -> None:
    net = Net(ALICE, BOB)
    assert net.sealed(ALICE, BOB, b"hello").hex() == (
        "01fb7e5c010000000000000001aac182bef81553d32160e7f38e8fb9035d481b5967"
    )
    assert net.sealed(ALICE, BOB, b"hello").hex() == (
        "01fb7e5c010000000000000002d9265926e4f7a4d5c1c8fd7b4fbdd9fe97a450fb89"
    )


def test_a_packet_opens_once() -> None:
    net = Net(ALICE, BOB)
    packets = [net.sealed(ALICE, BOB) for _ in range(10)]
    for packet in packets:
        assert net[BOB].open(packet) == (ALICE, b"ping")
    assert [net[BOB].open(packet) for packet in packets] == [Refusal.REPLAYED] * 10


def test_packets_may_overtake_each_other_by_a_thousand() -> None:
    net = Net(ALICE, BOB)
    packets = [net.sealed(ALICE, BOB) for _ in range(1_025)]
    assert net[BOB].open(packets[-1]) == (ALICE, b"ping")
    assert all(net[BOB].open(packet) == (ALICE, b"ping") for packet in reversed(packets[1:-1]))
    assert net[BOB].open(packets[0]) == Refusal.REPLAYED, "nobody can tell whether that one is new"


def test_a_forged_counter_does_not_move_the_window() -> None:
    net = Net(ALICE, BOB)
    packet = bytearray(net.sealed(ALICE, BOB))
    packet[5] = 0x7F
    assert net[BOB].open(bytes(packet)) == Refusal.BAD_TAG
    assert net.passes(ALICE, BOB)


def test_a_change_of_any_byte_is_noticed() -> None:
    net = Net(ALICE, BOB)
    packet = net.sealed(ALICE, BOB, b"a body of some length")
    for at in range(len(packet)):
        for bit in range(8):
            changed = bytearray(packet)
            changed[at] ^= 1 << bit
            expected = Refusal.BAD_PACKET if at == 0 else Refusal.UNKNOWN_KEY if at < 5 else Refusal.BAD_TAG
            assert net[BOB].open(bytes(changed)) == expected
    for size in range(len(packet)):
        assert net[BOB].open(packet[:size]) in (Refusal.BAD_PACKET, Refusal.BAD_TAG)
    assert net[BOB].open(packet + b"\0") == Refusal.BAD_TAG
    assert net[BOB].open(packet) == (ALICE, b"a body of some length")


@given(st.binary(max_size=PACKET_BYTES_MAX + 2))
def test_arbitrary_bytes_are_refused(packet: bytes) -> None:
    net = Net(ALICE, BOB)
    assert isinstance(net[BOB].open(packet), Refusal)
    assert isinstance(net[BOB].open(b"\x01" + packet), Refusal)
    assert isinstance(net[BOB].open(net.sealed(ALICE, BOB)[:5] + packet), Refusal)


def test_a_packet_for_somebody_else_is_of_no_known_key() -> None:
    net = Net(ALICE, BOB, CAROL)
    packet = net.sealed(ALICE, BOB)
    assert net[CAROL].open(packet) == Refusal.UNKNOWN_KEY
    assert net[ALICE].open(packet) == Refusal.UNKNOWN_KEY, "sent back to its sender"


def test_a_node_of_another_mesh_is_not_heard_even_with_the_same_keys() -> None:
    ours, theirs = (
        Sealer(node, mesh, now_ns=Clock(), new_key=keys_from(node[0]))
        for node, mesh in ((ALICE, MESH), (BOB, bytes(16)))
    )
    ours.set_peer(BOB, theirs.public_key)
    theirs.set_peer(ALICE, ours.public_key)
    packet = theirs.seal(ALICE, b"ping")
    assert packet is not None
    assert ours.open(packet) == Refusal.BAD_TAG


def test_a_member_that_claims_anothers_key_gains_and_breaks_nothing() -> None:
    net = Net(ALICE, BOB, CAROL)
    net[BOB].set_peer(CAROL, net[ALICE].public_key)
    assert net.passes(ALICE, BOB)
    assert net[BOB].open(net.sealed(CAROL, BOB)) == (CAROL, b"ping"), "its own key is kept a while"


def test_nothing_is_sealed_for_strangers_and_nothing_of_them_is_opened() -> None:
    net = Net(ALICE, BOB)
    assert net[ALICE].seal(CAROL, b"ping") is None
    packet = net.sealed(ALICE, BOB)
    net[BOB].drop_peer(ALICE)
    net[BOB].drop_peer(CAROL)
    assert net[BOB].open(packet) == Refusal.UNKNOWN_KEY
    assert net[BOB].seal(ALICE, b"ping") is None


def test_a_key_that_makes_no_secret_is_used_for_nothing() -> None:
    net = Net(ALICE, BOB)
    weak = bytes(32)  # The point of order 1.
    net[BOB].set_peer(CAROL, weak)
    assert net[BOB].seal(CAROL, b"ping") is None
    packet = b"\x01" + key_id_of(weak, net[BOB].public_key) + bytes(40)
    assert net[BOB].open(packet) == Refusal.BAD_TAG
    net[BOB].set_peer(CAROL, b"short")
    assert net[BOB].seal(CAROL, b"ping") is None


def test_a_member_that_was_dropped_and_comes_back_reuses_no_counter_and_admits_no_replay() -> None:
    net = Net(ALICE, BOB)
    packets = [net.sealed(ALICE, BOB) for _ in range(5)]
    for packet in packets:
        assert net[BOB].open(packet) == (ALICE, b"ping")
    for sealer, other in ((net[ALICE], BOB), (net[BOB], ALICE)):
        sealer.drop_peer(other)
        sealer.set_peer(other, net[other].public_key)
    assert net.sealed(ALICE, BOB)[5:13] == (6).to_bytes(8, "big")
    assert [net[BOB].open(packet) for packet in packets] == [Refusal.REPLAYED] * 5
    assert net.passes(ALICE, BOB)


def test_after_a_restart_no_old_packet_opens_and_no_nonce_is_used_again() -> None:
    net = Net(ALICE, BOB)
    old = net.sealed(ALICE, BOB)
    net.sealers[BOB] = Sealer(BOB, MESH, now_ns=net.clock)
    net[BOB].set_peer(ALICE, net[ALICE].public_key)
    assert net[BOB].open(old) == Refusal.UNKNOWN_KEY
    assert net[ALICE].open(net.sealed(BOB, ALICE)) == Refusal.UNKNOWN_KEY, "not announced yet"
    net.announce(BOB)
    assert net.passes(ALICE, BOB)
    assert net.passes(BOB, ALICE)
    assert net[BOB].open(old) == Refusal.UNKNOWN_KEY


def test_two_runs_of_a_node_never_have_the_same_key() -> None:
    assert Sealer(ALICE, MESH, now_ns=Clock()).public_key != Sealer(ALICE, MESH, now_ns=Clock()).public_key


# -- rotation


def test_while_a_new_key_spreads_packets_pass_between_those_who_know_and_those_who_do_not() -> None:
    net = Net(ALICE, BOB)
    old_key = net[ALICE].public_key
    before = net.sealed(ALICE, BOB), net.sealed(BOB, ALICE)
    assert net[ALICE].rotate() == net[ALICE].public_key != old_key
    assert net.passes(ALICE, BOB)
    assert net.passes(BOB, ALICE), "sealed with the old key, for Bob knows no other"
    net.announce(ALICE)
    assert net.passes(ALICE, BOB), "sealed with the old key: not everybody may know the new one"
    assert net.passes(BOB, ALICE)
    assert net[BOB].open(before[0]) == (ALICE, b"ping"), "was under way for long"
    assert net[ALICE].open(before[1]) == (BOB, b"ping")


def test_a_new_key_seals_after_five_minutes_and_the_old_one_opens_for_ten() -> None:
    net = Net(ALICE, BOB, CAROL)
    net[ALICE].rotate()
    net[BOB].set_peer(ALICE, net[ALICE].public_key)  # Carol never hears of it.
    net.clock.ns += SWITCH_AFTER_NS
    assert net.passes(ALICE, BOB)
    assert net[CAROL].open(net.sealed(ALICE, CAROL)) == Refusal.UNKNOWN_KEY
    late = net.sealed(CAROL, ALICE)
    assert net.passes(CAROL, ALICE)
    net.clock.ns += OLD_KEPT_NS - SWITCH_AFTER_NS
    net[ALICE].drop_old()
    assert net[ALICE].open(late) == Refusal.UNKNOWN_KEY
    net[CAROL].set_peer(ALICE, net[ALICE].public_key)
    assert net.passes(ALICE, CAROL)
    assert net.passes(CAROL, ALICE)


def test_a_peers_old_key_opens_for_ten_minutes_after_it_announced_another() -> None:
    net = Net(ALICE, BOB)
    early, late = net.sealed(ALICE, BOB), net.sealed(ALICE, BOB)
    net[ALICE].rotate()
    net.announce(ALICE)
    net.clock.ns += OLD_KEPT_NS - 1
    net[BOB].drop_old()
    assert net[BOB].open(early) == (ALICE, b"ping")
    net.clock.ns += 1
    net[BOB].drop_old()
    assert net[BOB].open(late) == Refusal.UNKNOWN_KEY
    assert net.passes(ALICE, BOB)


def test_rotations_of_both_ends_at_once_lose_nothing() -> None:
    net = Net(ALICE, BOB)
    for _ in range(5):
        for node in (ALICE, BOB):
            net[node].rotate()
            assert net.passes(ALICE, BOB)
            assert net.passes(BOB, ALICE)
        for node in (ALICE, BOB):
            net.announce(node)
            assert net.passes(ALICE, BOB)
            assert net.passes(BOB, ALICE)
        for _ in range(60):
            net.clock.ns += ROTATE_AFTER_NS // 60
            for node in (ALICE, BOB):
                net[node].drop_old()
            assert net.passes(ALICE, BOB)
            assert net.passes(BOB, ALICE)


def test_replays_are_known_across_a_change_of_keys_and_back() -> None:
    net = Net(ALICE, BOB)
    first, packet = net[ALICE].public_key, net.sealed(ALICE, BOB)
    assert net[BOB].open(packet) == (ALICE, b"ping")
    for key in (b"1" * 32, first, b"2" * 32, b"3" * 32, b"4" * 32, first):
        net[BOB].set_peer(ALICE, key)
        assert net[BOB].open(packet) in (Refusal.REPLAYED, Refusal.UNKNOWN_KEY)
    assert net.passes(ALICE, BOB)


def test_a_member_that_announces_many_keys_takes_no_more_memory_than_a_few() -> None:
    net = Net(ALICE, BOB)
    for number in range(100):
        net[BOB].set_peer(ALICE, number.to_bytes(32, "big"))
    assert len(net[BOB]._by_id) == PEER_KEYS_MAX
    net[BOB].rotate()
    assert len(net[BOB]._by_id) == 2 * PEER_KEYS_MAX
    net[BOB].drop_peer(ALICE)
    assert not net[BOB]._by_id


def test_a_new_key_is_due_every_day_or_after_very_many_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(ALICE, BOB)
    net.clock.ns += ROTATE_AFTER_NS - 1
    assert not net[ALICE].is_rotation_due
    net.clock.ns += 1
    assert net[ALICE].is_rotation_due
    net[ALICE].rotate()
    assert not net[ALICE].is_rotation_due
    monkeypatch.setattr(sealing, "PACKETS_MAX", 3)
    net.clock.ns += SWITCH_AFTER_NS
    for due in (False, False, True):
        net.sealed(ALICE, BOB)
        assert net[ALICE].is_rotation_due == due


# -- tables


def test_pairs_whose_keys_have_the_same_id_are_told_apart() -> None:
    net = Net(ALICE, BOB, CAROL, key_id=lambda sender, receiver: b"same")
    for sender in (ALICE, BOB, CAROL):
        for receiver in (ALICE, BOB, CAROL):
            if sender != receiver:
                assert net.passes(sender, receiver)
    packet = net.sealed(ALICE, BOB)
    assert net[CAROL].open(packet) == Refusal.BAD_TAG
    net[BOB].drop_peer(CAROL)
    assert net[BOB].open(packet) == (ALICE, b"ping")
    assert net[BOB].open(packet) == Refusal.REPLAYED
    net[BOB].drop_peer(ALICE)
    assert net[BOB].open(packet) == Refusal.UNKNOWN_KEY


def test_the_derived_keys_at_hand_are_bounded_and_none_is_missed() -> None:
    clock = Clock()
    hub = Sealer(ALICE, MESH, now_ns=clock, pairs_max=4)
    others = [Sealer(NodeId(bytes([n]) * 32), MESH, now_ns=clock) for n in range(10)]
    for n, other in enumerate(others):
        hub.set_peer(NodeId(bytes([n]) * 32), other.public_key)
        other.set_peer(ALICE, hub.public_key)
    assert hub.pair_count == 0, "keys are derived when they are needed"
    packets = []
    for _ in range(3):
        for n, other in enumerate(others):
            node = NodeId(bytes([n]) * 32)
            to_hub = other.seal(ALICE, b"to")
            assert to_hub is not None
            packets.append(to_hub)
            assert hub.open(to_hub) == (node, b"to")
            from_hub = hub.seal(node, b"from")
            assert from_hub is not None
            assert other.open(from_hub) == (ALICE, b"from")
            assert hub.pair_count <= 4
    assert {hub.open(packet) for packet in packets} == {Refusal.REPLAYED}


def test_strangers_packets_derive_no_keys() -> None:
    net = Net(ALICE, BOB)
    for number in range(1_000):
        assert net[BOB].open(b"\x01" + number.to_bytes(40, "little")) == Refusal.UNKNOWN_KEY
    assert net[BOB].pair_count == 0
