"""Datagrams over the codec: what goes in comes out, and whatever else comes is refused."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.member import record_bytes
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    DIGEST_BYTES,
    ENVELOPE_BYTES,
    GOSSIP_BYTES,
    NACK_BYTES,
    NOTICE_BYTES,
    PING_BYTES,
    PING_REQUEST_BYTES,
    SLEEP_S_MAX,
    VERDICT_BYTES,
    Ack,
    Datagram,
    Digest,
    Gossip,
    Nack,
    Ping,
    PingRequest,
    SleepNotice,
    Verdict,
)
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.datagrams import decode_datagram, encode_datagram
from bellande_mesh_sync.wire.limits import DATAGRAM_BYTES_MAX, NUMBER_MAX
from tests.wire.making_datagrams import DATAGRAMS, NOTICE, VERDICT, datagrams
from tests.wire.making_members import MEMBER, NODE

change = msgspec.structs.replace
BODY_BYTES: dict[type, int] = {
    Ping: PING_BYTES,
    PingRequest: PING_REQUEST_BYTES,
    Ack: ACK_BYTES,
    Nack: NACK_BYTES,
    Gossip: GOSSIP_BYTES,
    Digest: DIGEST_BYTES,
}


def accept_or_refuse(body: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_datagram(body)


@given(datagrams)
def test_a_datagram_survives_the_wire_and_is_no_larger_than_planned(datagram: Datagram) -> None:
    body = encode_datagram(datagram)
    planned = (
        ENVELOPE_BYTES
        + BODY_BYTES[type(datagram.body)]
        + VERDICT_BYTES * len(datagram.verdicts)
        + NOTICE_BYTES * len(datagram.notices)
        + sum(map(record_bytes, datagram.records))
    )
    assert len(body) <= planned
    if len(body) <= DATAGRAM_BYTES_MAX:
        assert decode_datagram(body) == datagram
        assert decode_datagram(memoryview(body)) == datagram


def test_the_planned_sizes_hold_for_the_largest_numbers_and_counts() -> None:
    top = NUMBER_MAX
    largest = (
        (Ping(top, top), PING_BYTES),
        (PingRequest(top, NODE), PING_REQUEST_BYTES),
        (Ack(top, top), ACK_BYTES),
        (Nack(top), NACK_BYTES),
        (Gossip(), GOSSIP_BYTES),
        (Digest(bytes(16)), DIGEST_BYTES),
        (Verdict(NODE, top, 3, NODE), VERDICT_BYTES),
        (SleepNotice(NODE, top, SLEEP_S_MAX, bytes(64)), NOTICE_BYTES),
    )
    for message, planned in largest:
        assert len(msgspec.msgpack.encode(message)) <= planned
    crowded = Datagram(
        Gossip(), (VERDICT,) * 20, (MEMBER,) * 20, (NOTICE,) * 20
    )  # Longer headers from 16 on.
    alone = sum(
        len(msgspec.msgpack.encode(part))
        for part in (crowded.body, *crowded.verdicts, *crowded.records, *crowded.notices)
    )
    assert len(encode_datagram(crowded)) - alone <= ENVELOPE_BYTES


def test_fields_of_later_versions_are_skipped_wherever_they_are() -> None:
    for datagram in DATAGRAMS:
        fields = msgspec.msgpack.decode(encode_datagram(datagram))
        fields[0] += ["new", 1]
        for group in fields[1:]:
            for update in group:
                update.append({"new": [1, 2]})
        fields.append(["new"])
        assert decode_datagram(msgspec.msgpack.encode(fields)) == datagram


BIG = 2**63
SHORT = NodeId(bytes(31))
BROKEN = {
    "ping sequence above 63 bits": Datagram(Ping(BIG, 0)),
    "ping sequence negative": Datagram(Ping(-1, 0)),
    "ping incarnation above 63 bits": Datagram(Ping(0, BIG)),
    "ping request sequence negative": Datagram(PingRequest(-1, NODE)),
    "ping request target too short": Datagram(PingRequest(0, SHORT)),
    "ack sequence above 63 bits": Datagram(Ack(BIG, 0)),
    "ack known negative": Datagram(Ack(0, -1)),
    "nack sequence negative": Datagram(Nack(-1)),
    "fingerprint too long": Datagram(Digest(bytes(17))),
    "verdict on a short id": Datagram(Gossip(), (change(VERDICT, node=SHORT),)),
    "verdict by a short id": Datagram(Gossip(), (change(VERDICT, by=SHORT),)),
    "verdict incarnation negative": Datagram(Gossip(), (change(VERDICT, incarnation=-1),)),
    "verdict that somebody is alive": Datagram(Gossip(), (change(VERDICT, standing=1),)),
    "verdict that somebody left": Datagram(Gossip(), (change(VERDICT, standing=5),)),
    "record of a short id": Datagram(Gossip(), (), (change(MEMBER, node=SHORT),)),
    "record above its size": Datagram(Gossip(), (), (change(MEMBER, more=bytes(1024)),)),
    "notice of a short id": Datagram(Gossip(), (), (), (change(NOTICE, node=SHORT),)),
    "notice incarnation above 63 bits": Datagram(Gossip(), (), (), (change(NOTICE, incarnation=BIG),)),
    "notice of a sleep below zero": Datagram(Gossip(), (), (), (change(NOTICE, for_s=-1),)),
    "notice of too long a sleep": Datagram(Gossip(), (), (), (change(NOTICE, for_s=SLEEP_S_MAX + 1),)),
    "notice signature too short": Datagram(Gossip(), (), (), (change(NOTICE, signature=bytes(63)),)),
    "more updates than a packet has room for": Datagram(Gossip(), (VERDICT,) * 40),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        decode_datagram(encode_datagram(BROKEN[name]))


# -- strangers (who would have to be members)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(body: bytes) -> None:
    accept_or_refuse(body)
    accept_or_refuse(b"\x94" + body)
    accept_or_refuse(b"\x94\x93\x01" + body)


def test_thousands_of_mutated_datagrams_are_read_or_refused() -> None:
    rng = random.Random(1)
    originals = [encode_datagram(datagram) for datagram in DATAGRAMS]
    for _ in range(20_000):
        body = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(len(body))
            match rng.randrange(3):
                case 0:
                    body[at] ^= 1 << rng.randrange(8)
                case 1 if len(body) > 1:
                    del body[at]
                case _:
                    body.insert(
                        at, rng.choice(b"\x00\x7f\x80\x90\x91\xc0\xc4\xc6\xca\xcf\xd3\xd9\xdd\xdf\xff")
                    )
        accept_or_refuse(bytes(body))


BOMBS = {
    "nothing": b"",
    "a tuple that claims 2**32 verdicts": b"\x94\x91\x05\xdd\xff\xff\xff\xff",
    "a body that claims 2**32 fields": b"\x94\xdd\xff\xff\xff\xff\x05",
    "bytes that claim 4 GiB": b"\x94\x92\x06\xc6\xff\xff\xff\xff",
    "a map of 2**32 in a field to skip": b"\x92\x92\x05\xdf\xff\xff\xff\xff\x01\x01",
    "nesting as deep as fits": b"\x92\x92\x05" + b"\x91" * 2_000,
    "a body of an unknown kind": b"\x91\x91\x63",
    "a message of the link": b"\x91\x92\x0b\x01",
    "a float for a number": b"\x91\x92\x04\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "a number above 63 bits": b"\x91\x92\x04\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "a frame's worth of bytes": b"\x91\x91\x05" + bytes(1 << 20),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError) as caught:
            decode_datagram(BOMBS[name])
        assert tracemalloc.get_traced_memory()[1] < 1 << 17
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
