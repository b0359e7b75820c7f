"""Member records: one fixed example, and a hypothesis strategy for all that is allowed."""

from __future__ import annotations

from hypothesis import strategies as st

from bellande_mesh_sync.core.members.member import RECORD_BYTES_MAX, MemberRecord, record_bytes
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.limits import NUMBER_MAX

NODE = NodeId(bytes(range(32)))
OTHER = NodeId(bytes(range(100, 132)))
MEMBER = MemberRecord(
    node=NODE,
    public_key=bytes(32),
    name="dock-7",
    addresses=("10.0.0.7:8000", "[fd00::7]:8000"),
    role="writer",
    incarnation=3,
    left=False,
    software="0.1.0",
    boot=b"bootboot",
    started_ms=1_700_000_000_000,
    datagram_port=8000,
    seal_key=bytes(range(200, 232)),
    labels=(("rack", "r7"), ("use", "")),
    capacity=50,
    zone="hall-2",
    more=b"\xc0",
    signature=bytes(range(64)),
)

nodes = st.binary(min_size=32, max_size=32).map(NodeId)
signatures = st.one_of(st.just(b""), st.binary(min_size=64, max_size=64))
printable = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=14)
labels = st.dictionaries(printable.filter(bool), printable, max_size=2).map(
    lambda found: tuple(sorted(found.items()))
)
ports = st.one_of(st.just((0, b"")), st.tuples(st.integers(1, 65_535), st.binary(min_size=32, max_size=32)))
members = st.builds(
    lambda port, **rest: MemberRecord(datagram_port=port[0], seal_key=port[1], **rest),
    ports,
    node=nodes,
    public_key=st.binary(min_size=32, max_size=32),
    name=printable,
    addresses=st.lists(printable, max_size=3).map(tuple),
    role=printable,
    incarnation=st.integers(0, NUMBER_MAX),
    left=st.booleans(),
    software=printable,
    boot=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    started_ms=st.integers(0, NUMBER_MAX),
    labels=labels,
    capacity=st.integers(0, 1_000_000),
    zone=printable,
    more=st.binary(max_size=20),
    signature=signatures,
).filter(lambda member: record_bytes(member) <= RECORD_BYTES_MAX)
