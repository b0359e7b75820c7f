"""The gossip queue: bounded in every direction, and honest about bytes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.member import record_bytes
from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.members.swim.gossip import GossipQueue
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    DIGEST_BYTES,
    GOSSIP_BYTES,
    NACK_BYTES,
    PING_BYTES,
    PING_REQUEST_BYTES,
    SEAL_BYTES,
    SLEEP_S_MAX,
    Ack,
    Body,
    Datagram,
    Digest,
    Gossip,
    Nack,
    Ping,
    PingRequest,
    SleepNotice,
    Verdict,
)
from bellande_mesh_sync.core.members.swim.view import DEAD, SUSPECT
from bellande_mesh_sync.ids import NodeId
from tests.core.making import member_of, node_of_name

NUMBERS = st.integers(0, 2**63 - 1)
NODES = st.binary(min_size=32, max_size=32).map(NodeId)
BODIES: st.SearchStrategy[tuple[Body, int]] = st.one_of(
    st.tuples(st.builds(Ping, NUMBERS, NUMBERS), st.just(PING_BYTES)),
    st.tuples(st.builds(PingRequest, NUMBERS, NODES), st.just(PING_REQUEST_BYTES)),
    st.tuples(st.builds(Ack, NUMBERS, NUMBERS), st.just(ACK_BYTES)),
    st.tuples(st.builds(Nack, NUMBERS), st.just(NACK_BYTES)),
    st.tuples(st.just(Gossip()), st.just(GOSSIP_BYTES)),
    st.tuples(st.builds(Digest, st.binary(min_size=16, max_size=16)), st.just(DIGEST_BYTES)),
)
NAMES = st.text("abcdef", min_size=1, max_size=8)


def test_an_update_is_sent_a_bounded_number_of_times() -> None:
    queue = GossipQueue(LAN)
    queue.add_death(Verdict(node_of_name("bob"), 1, DEAD, node_of_name("eve")))
    copies = 0
    while queue:
        copies += len(queue.pack(Gossip(), GOSSIP_BYTES, 100)[0].verdicts)
    assert copies == LAN.transmissions_max(100) == 16


def test_what_was_never_sent_goes_first() -> None:
    queue = GossipQueue(replace(LAN, packet_bytes_max=150))  # Room for one verdict.
    for name in ("bob", "carol"):
        queue.add_death(Verdict(node_of_name(name), 1, DEAD, node_of_name("eve")))
        queue.pack(Gossip(), GOSSIP_BYTES, 100)
    queue.add_death(Verdict(node_of_name("dave"), 1, DEAD, node_of_name("eve")))
    told = [queue.pack(Gossip(), GOSSIP_BYTES, 100)[0].verdicts[0].node for _ in range(3)]
    assert told == [node_of_name("dave"), node_of_name("bob"), node_of_name("carol")]


def test_a_refutation_pushes_out_what_it_refutes() -> None:
    queue = GossipQueue(LAN)
    record = member_of("bob", 2)
    for place, accuser in enumerate(("eve", "dave")):
        queue.add_suspicion(Verdict(record.node, 1, SUSPECT, node_of_name(accuser)), place)
    queue.add_record(record, record_bytes(record))
    datagram, _ = queue.pack(Gossip(), GOSSIP_BYTES, 100)
    assert datagram.verdicts == ()
    assert datagram.records == (record,)


def test_a_full_queue_drops_the_oldest_and_counts() -> None:
    queue = GossipQueue(replace(LAN, updates_max=10))
    for number in range(25):
        queue.add_death(Verdict(NodeId(bytes([number]) * 32), 1, DEAD, node_of_name("eve")))
    assert len(queue) == 10
    assert queue.dropped_count == 15
    assert queue.pack(Gossip(), GOSSIP_BYTES, 100)[0].verdicts[-1].node[0] == 24


@given(st.lists(st.tuples(NAMES, NUMBERS, st.integers(0, 2))), BODIES)
def test_no_packet_is_longer_than_allowed_nor_than_it_says(
    updates: list[tuple[str, int, int]], body: tuple[Body, int]
) -> None:
    queue = GossipQueue(LAN)
    for name, incarnation, kind in updates:
        node = node_of_name(name)
        if kind == 0:
            queue.add_death(Verdict(node, incarnation, DEAD, node))
        elif kind == 1:
            record = member_of(name, incarnation)
            queue.add_record(record, record_bytes(record))
        else:
            queue.add_notice(SleepNotice(node, incarnation, SLEEP_S_MAX, bytes(64)))
    for _ in range(5):
        datagram, size = queue.pack(*body, 1000)
        encoded = msgspec.msgpack.encode(datagram)
        assert len(encoded) + SEAL_BYTES <= size <= LAN.packet_bytes_max
        assert msgspec.msgpack.decode(encoded, type=Datagram) == datagram
