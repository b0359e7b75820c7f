"""Datagrams and stream messages of the failure detector: one example each, and all that is allowed."""

from __future__ import annotations

from hypothesis import strategies as st

from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Body,
    Buckets,
    Datagram,
    Digest,
    Entries,
    Entry,
    Gossip,
    Line,
    Lines,
    Nack,
    Ping,
    PingRequest,
    SleepNotice,
    Standing,
    StreamMessage,
    StreamPing,
    StreamPong,
    Verdict,
)
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.limits import NUMBER_MAX
from tests.wire.making import MEMBER, NODE, members, nodes

OTHER = NodeId(bytes(range(100, 132)))
VERDICT = Verdict(NODE, 7, Standing.SUSPECT, OTHER)
NOTICE = SleepNotice(NODE, 7, bytes(64))
BODIES: tuple[Body, ...] = (
    Ping(1, 2),
    PingRequest(NUMBER_MAX, NODE),
    Ack(1, 0),
    Nack(300),
    Gossip(),
    Digest(bytes(16)),
)
DATAGRAMS = (
    *map(Datagram, BODIES),
    Datagram(Ping(1, 2), (VERDICT, VERDICT), (MEMBER,), (NOTICE,)),
)
STREAM_MESSAGES: tuple[StreamMessage, ...] = (
    StreamPing(1),
    StreamPong(NUMBER_MAX),
    Digest(bytes(16)),
    Buckets(bytes(2048), None),
    Buckets(bytes(2048), VERDICT),
    Lines(b"\xff" * 32, (Line(NODE, 3, Standing.ALIVE), Line(OTHER, 0, Standing.LEFT))),
    Entries((Entry(MEMBER, Standing.ASLEEP, 60, NOTICE), Entry(MEMBER, Standing.ALIVE, 0, None)), (OTHER,)),
)

numbers = st.one_of(st.integers(0, 300), st.integers(0, NUMBER_MAX))
verdicts = st.builds(Verdict, nodes, numbers, st.sampled_from([2, 3]), nodes)
notices = st.builds(SleepNotice, nodes, numbers, st.one_of(st.just(b""), st.binary(min_size=64, max_size=64)))
bodies = st.one_of(
    st.builds(Ping, numbers, numbers),
    st.builds(PingRequest, numbers, nodes),
    st.builds(Ack, numbers, numbers),
    st.builds(Nack, numbers),
    st.just(Gossip()),
    st.builds(Digest, st.binary(min_size=16, max_size=16)),
)
datagrams = st.builds(
    Datagram,
    bodies,
    st.lists(verdicts, max_size=4).map(tuple),
    st.lists(members, max_size=2).map(tuple),
    st.lists(notices, max_size=3).map(tuple),
)
