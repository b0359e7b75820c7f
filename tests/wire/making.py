"""Messages of every kind: one fixed example each, and hypothesis strategies for all that is allowed."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import strategies as st

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import TOMBSTONE, VALUE, ChunkRef, Manifest, Record
from bellande_mesh_sync.core.members.swim.messages import Datagram, Gossip, StreamPing
from bellande_mesh_sync.core.messages import (
    ChunkMissing,
    ChunkOffer,
    ChunkPart,
    ChunkWant,
    Credit,
    Goodbye,
    Have,
    Hello,
    HoldAnswer,
    HoldWant,
    LiveDots,
    LiveWant,
    MemberDatagram,
    MemberStream,
    Message,
    Note,
    Ping,
    PlacedSummary,
    Pong,
    ReachAnswer,
    ReachWant,
    ReadAnswer,
    ReadWant,
    Records,
    RelayedNote,
    ScanAnswer,
    ScanWant,
    ShardSummary,
    StatementDigest,
    StatementIds,
    Statements,
    StatementWant,
    StreamEnd,
    Summary,
    SurveyReport,
    SurveyWant,
    Want,
)
from bellande_mesh_sync.core.statements.statement import Statement, StatementId
from bellande_mesh_sync.core.survey import UNKNOWN, LinkReport
from bellande_mesh_sync.ids import SEQUENCE_MAX, Author, Shard, Stamp
from bellande_mesh_sync.wire.limits import NUMBER_MAX
from tests.wire.making_datagrams import VERDICT, datagrams, stream_messages
from tests.wire.making_members import MEMBER, NODE, OTHER, members, nodes, printable, signatures

AUTHOR = Author(NODE + b"epoch-01")
AUTHOR_2 = Author(NODE + b"epoch-02")
HASH = bytes(range(100, 132))
SHARD = Shard("fleet/0")
PLACED_SHARD = Shard("fleet/256.17")
DOTS: Delta = ((AUTHOR, ((1, 5), (7, 7))), (AUTHOR_2, ((300, 70_000),)))
INLINE = Record(
    key="fleet/plans/dock",
    author=AUTHOR,
    sequence=8,
    stamp=Stamp(1_700_000_000_000 << 16 | 5),
    kind=VALUE,
    size=5,
    digest=HASH,
    content_type="text/plain",
    context=((AUTHOR, 4, (6, 7)), (AUTHOR_2, 0, (9,))),
    inline=b"hello",
)
CHUNKED = Record(
    key="fleet/maps/hall",
    author=AUTHOR,
    sequence=9,
    stamp=Stamp(1_700_000_000_001 << 16),
    kind=VALUE,
    size=100_000,
    digest=HASH,
    manifest=Manifest(1, (ChunkRef(HASH, 60_000), ChunkRef(HASH[::-1], 40_000))),
    expires_ms=1_800_000_000_000,
)
DELETED = Record(
    key="fleet/plans/old",
    author=AUTHOR_2,
    sequence=70_000,
    stamp=Stamp(1_700_000_000_002 << 16),
    kind=TOMBSTONE,
    size=0,
    digest=b"",
    context=((AUTHOR, 3, ()),),
)

EXAMPLES: tuple[Message, ...] = (
    Hello(1, 1, bytes(range(16)), NODE, b"bootboot", 0, MEMBER, 4 << 20, True),
    Goodbye("closing", "the node is stopping"),
    Ping(1),
    Pong(NUMBER_MAX),
    MemberStream(StreamPing(7, 3)),
    Summary((ShardSummary(SHARD, DOTS, HASH, False, ((AUTHOR, 4),), ((AUTHOR, 3), (AUTHOR_2, 1))),)),
    Have(SHARD, DOTS),
    Want(1, SHARD, DOTS),
    Records(SHARD, 0, (INLINE, CHUNKED, DELETED)),
    StreamEnd(1, SHARD, DOTS, True, ((AUTHOR, 3),)),
    Credit(65_536),
    Note(b"0123456789abcdef", "alerts/dock", b"\x00\xffbody"),
    ChunkWant((HASH, bytes(32))),
    ChunkPart(HASH, 65_536, 131_072, b"piece of a chunk"),
    ChunkMissing((HASH,)),
    ChunkOffer((ChunkRef(HASH, 70_000),)),
    MemberDatagram(Datagram(Gossip(), (VERDICT,), (MEMBER,))),
    ReachWant(1, OTHER),
    ReachAnswer(1, True),
    RelayedNote(NODE, OTHER, b"0123456789abcdef", "alerts/dock", b"\x00\xffbody", bytes(range(64)), True),
    SurveyWant(1),
    SurveyReport(1, (LinkReport(OTHER, 1_500, 10, True), LinkReport(NODE, UNKNOWN, UNKNOWN, False))),
    LiveWant(1, SHARD),
    LiveDots(1, SHARD, DOTS, DOTS, ((AUTHOR, 3),), True),
    StatementDigest(HASH),
    StatementIds((StatementId(HASH), StatementId(bytes(32)))),
    StatementWant((StatementId(HASH),)),
    Statements((Statement("revocation", OTHER, b"body", 1_700_000_000_000, NODE, b"der", bytes(range(64))),)),
    HoldWant(1, PLACED_SHARD, DOTS),
    HoldAnswer(1, True),
    ReadWant(1, ("fleet/dock", "fleet/gone")),
    ReadAnswer(1, ((INLINE, CHUNKED), ()), (True, False)),
    ScanWant(1, "fleet", 256, (0, 17, 255), "fleet/d", "fleet/dock", 100),
    ScanAnswer(1, (INLINE, CHUNKED), "fleet/dock", (17,), ("fleet/damaged",)),
    PlacedSummary((ShardSummary(PLACED_SHARD, DOTS, HASH),), (True,)),
)
"""One of each kind, in the order of their tags."""


# -- strategies --------------------------------------------------------------------------------

numbers = st.one_of(st.integers(1, 300), st.integers(1, SEQUENCE_MAX // 2))
hashes = st.binary(min_size=32, max_size=32)
authors = st.binary(min_size=40, max_size=40).map(Author)
segments = st.text(st.sampled_from("abcxyz019-_~ "), min_size=1, max_size=12)
wide_segments = st.sampled_from(["größe", "日本", "..x", ".hidden", "a.b", "x" * 255])
spaces = st.one_of(segments, wide_segments)


def _ranges(steps: list[int]) -> tuple[tuple[int, int], ...]:
    ends = list(accumulate(steps))
    return tuple((low + 1, high) for low, high in zip([0, *ends][::2], ends[::2], strict=False))


ranges = st.lists(st.integers(1, 1 << 36), min_size=1, max_size=6).map(_ranges)


def _sorted_by_author(found: dict[Author, Any]) -> tuple[tuple[Author, Any], ...]:
    return tuple(sorted(found.items()))


cuts = st.dictionaries(authors, numbers, max_size=3).map(_sorted_by_author)
deltas = st.dictionaries(authors, ranges, max_size=4).map(_sorted_by_author)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    found = []
    for author in sorted(draw(st.sets(authors, max_size=3))):
        base = draw(st.integers(0, 1 << 36))
        extras = accumulate(draw(st.lists(st.integers(1, 1000), max_size=3)), initial=base)
        found.append((author, base, tuple(extras)[1:]))
    return tuple(found)


@st.composite
def records(draw: st.DrawFn, space: str) -> Record:
    tail = draw(st.lists(spaces, max_size=3))
    head: dict[str, Any] = {
        "key": "/".join([space, *tail]),
        "author": draw(authors),
        "sequence": draw(numbers),
        "stamp": Stamp(draw(numbers)),
        "content_type": draw(st.sampled_from(["", "text/plain", "application/octet-stream"])),
        "context": draw(contexts()),
        "expires_ms": draw(st.integers(0, NUMBER_MAX)),
    }
    match draw(st.sampled_from(["inline", "chunks", "index", "tombstone"])):
        case "tombstone":
            return Record(**head, kind=TOMBSTONE, size=0, digest=b"")
        case "inline":
            body = draw(st.binary(max_size=200))
            return Record(**head, kind=VALUE, size=len(body), digest=draw(hashes), inline=body)
        case depth:
            chunks = draw(
                st.lists(st.builds(ChunkRef, hashes, st.integers(1, 4 << 20)), min_size=1, max_size=4)
            )
            size = sum(chunk.size for chunk in chunks) if depth == "chunks" else draw(numbers)
            manifest = Manifest(1 if depth == "chunks" else 2, tuple(chunks))
            return Record(**head, kind=VALUE, size=size, digest=draw(hashes), manifest=manifest)


@st.composite
def records_messages(draw: st.DrawFn) -> Records:
    space = draw(spaces)
    found = draw(st.lists(records(space), max_size=4))
    return Records(_shard(space, draw(st.integers(0, 63))), draw(st.integers(0, 9)), tuple(found))


@st.composite
def read_answers(draw: st.DrawFn) -> ReadAnswer:
    found = draw(st.lists(st.lists(records(draw(spaces)), max_size=2).map(tuple), max_size=3))
    return ReadAnswer(draw(counts), tuple(found), tuple(draw(st.booleans()) for _ in found))


@st.composite
def scan_answers(draw: st.DrawFn) -> ScanAnswer:
    found = draw(st.lists(records(draw(spaces)), max_size=3).map(tuple))
    damaged = draw(st.lists(spaces, max_size=2).map(tuple))
    return ScanAnswer(draw(counts), found, draw(spaces), draw(indexes), damaged)


def _shard(space: str, index: int) -> Shard:
    return Shard(f"{space}/64.{index}" if index else f"{space}/0")


@st.composite
def chunk_parts(draw: st.DrawFn) -> ChunkPart:
    body = draw(st.one_of(st.binary(min_size=1, max_size=300), st.sampled_from([bytes(70_000), bytes(256)])))
    offset, rest = draw(st.integers(0, 1 << 20)), draw(st.integers(0, 1 << 20))
    return ChunkPart(draw(hashes), offset, offset + len(body) + rest, body)


shards = st.builds(_shard, spaces, st.integers(0, 63))
indexes = st.lists(st.integers(0, 63), max_size=4, unique=True).map(sorted).map(tuple)
hash_lists = st.lists(hashes, max_size=5).map(tuple)
counts = st.integers(0, NUMBER_MAX)
statements = st.builds(
    Statement,
    st.sampled_from(["revocation", "rules", "x" * 64]),
    nodes,
    st.binary(max_size=300),
    st.integers(0, NUMBER_MAX),
    nodes,
    st.binary(max_size=300),
    st.binary(min_size=64, max_size=64),
)
link_reports = st.builds(
    LinkReport, nodes, st.integers(-1, NUMBER_MAX), st.integers(-1, 1_000), st.booleans()
)
protocols = st.lists(st.integers(1, 65_535), min_size=2, max_size=2).map(sorted)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        lambda span, **rest: Hello(span[0], span[1], **rest),
        protocols,
        mesh=st.binary(min_size=16, max_size=16),
        node=nodes,
        boot=st.binary(min_size=8, max_size=8),
        lane=st.integers(0, 1),
        member=members,
        credit_bytes=st.integers(0, 1 << 40),
        is_wanted=st.booleans(),
    ),
    st.builds(Goodbye, printable, printable),
    st.builds(Ping, st.integers(0, NUMBER_MAX)),
    st.builds(Pong, st.integers(0, NUMBER_MAX)),
    st.builds(MemberStream, stream_messages),
    st.builds(
        Summary,
        st.lists(st.builds(ShardSummary, shards, deltas, hashes, st.booleans(), cuts, cuts), max_size=3).map(
            tuple
        ),
    ),
    st.builds(Have, shards, deltas),
    st.builds(Want, numbers, shards, deltas),
    records_messages(),
    st.builds(StreamEnd, numbers, shards, deltas, st.booleans(), cuts),
    st.builds(LiveWant, numbers, shards),
    st.builds(LiveDots, numbers, shards, deltas, deltas, cuts, st.booleans()),
    st.builds(Credit, st.integers(0, 1 << 40)),
    st.builds(Note, st.binary(max_size=64), st.text(max_size=200), st.binary(max_size=500)),
    st.builds(ChunkWant, hash_lists),
    chunk_parts(),
    st.builds(ChunkMissing, hash_lists),
    st.builds(
        ChunkOffer,
        st.lists(st.builds(ChunkRef, hashes, st.integers(1, 4 * 1024 * 1024)), max_size=4).map(tuple),
    ),
    st.builds(MemberDatagram, datagrams),
    st.builds(ReachWant, counts, nodes),
    st.builds(ReachAnswer, counts, st.booleans()),
    st.builds(
        RelayedNote,
        nodes,
        nodes,
        st.binary(max_size=64),
        st.text(max_size=200),
        st.binary(max_size=500),
        signatures,
        st.booleans(),
    ),
    st.builds(SurveyWant, counts),
    st.builds(StatementDigest, hashes),
    st.builds(StatementIds, st.lists(hashes, max_size=4).map(tuple)),
    st.builds(StatementWant, st.lists(hashes, max_size=4).map(tuple)),
    st.builds(Statements, st.lists(statements, max_size=3).map(tuple)),
    st.builds(SurveyReport, counts, st.lists(link_reports, max_size=4).map(tuple)),
    st.builds(HoldWant, counts, shards, deltas),
    st.builds(HoldAnswer, counts, st.booleans()),
    st.builds(ReadWant, counts, st.lists(spaces, min_size=1, max_size=4).map(tuple)),
    read_answers(),
    st.builds(ScanWant, counts, spaces, st.just(64), indexes, spaces, spaces, st.integers(1, 1_000)),
    scan_answers(),
    st.builds(
        lambda summary, is_whole: PlacedSummary((summary,), (is_whole,)),
        st.builds(ShardSummary, shards, deltas, hashes),
        st.booleans(),
    ),
)
