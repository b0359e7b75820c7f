"""Datagrams and stream messages of the failure detector: one example each, and all that is allowed."""

from __future__ import annotations

from hypothesis import strategies as st

from bellande_mesh_sync.core.members.swim.messages import (
    SLEEP_S_MAX,
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
from bellande_mesh_sync.wire.limits import NUMBER_MAX
from tests.wire.making_members import MEMBER, NODE, OTHER, members, nodes, signatures

VERDICT = Verdict(NODE, 7, Standing.SUSPECT, OTHER)
NOTICE = SleepNotice(NODE, 7, 60, bytes(64))
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
    StreamPing(2, NUMBER_MAX),
    StreamPong(NUMBER_MAX),
    Digest(bytes(16)),
    Buckets(bytes(2048), None),
    Buckets(bytes(2048), VERDICT),
    Buckets(bytes(2048), Verdict(OTHER, 7, Standing.REMOVED, NODE)),
    Lines(b"\xff" * 32, (Line(NODE, 3, Standing.ALIVE), Line(OTHER, 0, Standing.REMOVED))),
    Entries((Entry(MEMBER, Standing.ASLEEP, 60, NOTICE), Entry(MEMBER, Standing.ALIVE, 0, None)), (OTHER,)),
)

numbers = st.one_of(st.integers(0, 300), st.integers(0, NUMBER_MAX))
verdicts = st.builds(Verdict, nodes, numbers, st.sampled_from([2, 3, 6]), nodes)
notices = st.builds(SleepNotice, nodes, numbers, st.integers(0, SLEEP_S_MAX), signatures)
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
standings = st.integers(1, 6)
stream_messages: st.SearchStrategy[StreamMessage] = st.one_of(
    st.builds(StreamPing, numbers, numbers),
    st.builds(StreamPong, numbers),
    st.builds(Digest, st.binary(min_size=16, max_size=16)),
    st.builds(Buckets, st.just(bytes(range(256)) * 8), st.one_of(st.none(), verdicts)),
    st.builds(
        Lines,
        st.binary(min_size=32, max_size=32),
        st.lists(st.builds(Line, nodes, numbers, standings), max_size=4).map(tuple),
    ),
    st.builds(
        Entries,
        st.lists(
            st.builds(Entry, members, standings, numbers, st.one_of(st.none(), notices)), max_size=2
        ).map(tuple),
        st.lists(nodes, max_size=3).map(tuple),
    ),
)
