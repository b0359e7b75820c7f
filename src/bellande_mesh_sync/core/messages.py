"""What nodes say to each other. The bytes of it are `wire`'s business.

Every message is an array-like tagged Struct: small on the wire, cheap to make, closed to unknown
shapes. Adding a field at the end with a default stays readable to the previous protocol version.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.cuts import CutTold
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Record
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import Datagram, StreamMessage
from bellande_mesh_sync.core.statements.statement import Statement, StatementId
from bellande_mesh_sync.core.survey import LinkReport
from bellande_mesh_sync.ids import NodeId, Shard

PROTOCOL_OLDEST: Final = 1
PROTOCOL_NEWEST: Final = 1

RECORDS_LANE: Final = 0
"""Control, records and messages: what must never wait behind a large value."""
CHUNKS_LANE: Final = 1


class Hello(Struct, frozen=True, array_like=True, tag=1):
    """The first message in each direction, after TLS has judged both certificates.

    Its arrival is the welcome: a TLS 1.3 client may believe it is in before the server has looked
    at its certificate, so nobody says anything else before the other's Hello is here.
    """

    protocol_oldest: int
    protocol_newest: int
    mesh: bytes
    node: NodeId
    boot: bytes
    """8 random bytes of this run, so a restarted node is told from an old link of itself."""
    lane: int
    member: MemberRecord
    credit_bytes: int
    """How many bytes of records may be sent before more credit arrives."""
    is_wanted: bool = False
    """Dialled because something waits for this link: a full node makes room for it."""


class Goodbye(Struct, frozen=True, array_like=True, tag=2):
    """The last message on a link: an error code, or `closing`, and a sentence."""

    code: str
    reason: str


class Ping(Struct, frozen=True, array_like=True, gc=False, tag=3):
    number: int


class Pong(Struct, frozen=True, array_like=True, gc=False, tag=4):
    number: int


class MemberStream(Struct, frozen=True, array_like=True, tag=5):
    """What failure detectors say to each other over streams: pings where datagrams fail, and their views."""

    message: StreamMessage


class Summary(Struct, frozen=True, array_like=True, tag=6):
    """The sender's committed knowledge of its shards, with fingerprints: the opening of a repair."""

    shards: tuple[ShardSummary, ...]


class ShardSummary(Struct, frozen=True, array_like=True):
    shard: Shard
    knowledge: Delta
    fingerprint: bytes
    """32 bytes: sum of the live records' hashes modulo 2**256. Equal knowledge must mean equal this.

    All zero beside a part of a knowledge that was too large for one message.
    """
    is_part: bool = False
    """Whether this is a part of a knowledge that was too large for one message."""
    stable: CutTold = ()
    collected: CutTold = ()
    """The sender's cuts of these names (see core/data/cuts.py)."""


class Have(Struct, frozen=True, array_like=True, tag=7):
    """Dots that the sender has just committed: an ack to their author, an offer to all others.

    From the author itself it means that it does not push these: the receiver should ask at once.
    """

    shard: Shard
    dots: Delta


class Want(Struct, frozen=True, array_like=True, tag=8):
    """Ask for the live records among these dots, as stream `stream` (the asker's number)."""

    stream: int
    shard: Shard
    dots: Delta


class Records(Struct, frozen=True, array_like=True, tag=9):
    """Records of one shard: pushed (stream 0), or part of the answer to a Want."""

    shard: Shard
    stream: int
    records: tuple[Record, ...]


class StreamEnd(Struct, frozen=True, array_like=True, tag=10):
    """All live records among the dots asked for were sent, as of a moment when the sender knew `knowledge`.

    Those of the dots that were not sent are obsolete: something within `knowledge` replaced them.
    So they may be claimed as known only by a node that holds all the rest of `knowledge`.
    A knowledge too large for one message comes in several; only `is_last` ends the stream.
    """

    stream: int
    shard: Shard
    knowledge: Delta
    is_last: bool = True
    collected: CutTold = ()
    """The sender's cut of this name: what did not come may be a tombstone up to here, which nobody sends any
    more. Who does not know all up to here was left behind, and concludes nothing before it has compared."""


class Credit(Struct, frozen=True, array_like=True, gc=False, tag=11):
    """The receiver has dealt with this many bytes of records; as many more may come."""

    amount_bytes: int


class Note(Struct, frozen=True, array_like=True, gc=False, tag=12):
    """A message from a program to programs on another node. `topic` is empty for direct ones."""

    id: bytes
    topic: str
    body: bytes


class ChunkWant(Struct, frozen=True, array_like=True, tag=13):
    hashes: tuple[bytes, ...]


class ChunkPart(Struct, frozen=True, array_like=True, gc=False, tag=14):
    """A piece of a chunk. Pieces come in order; a chunk is judged by its hash when it is whole."""

    hash: bytes
    offset: int
    total: int
    body: bytes


class ChunkMissing(Struct, frozen=True, array_like=True, tag=15):
    """The sender does not have these chunks (any more), or found its own copy damaged."""

    hashes: tuple[bytes, ...]


class ChunkOffer(Struct, frozen=True, array_like=True, tag=16):
    """Chunks that the sender has just stored, of a value whose record is still in the making.

    Fetched ahead, they are there when the record comes: cutting a large value here and carrying it
    there take as long as the longer of the two, not as both.
    """

    chunks: tuple[ChunkRef, ...]


class MemberDatagram(Struct, frozen=True, array_like=True, gc=False, tag=17):
    """A datagram of a failure detector, to or from a node that takes none."""

    datagram: Datagram


class ReachWant(Struct, frozen=True, array_like=True, gc=False, tag=18):
    """Do you have a link with `node`? Asked by one that has none."""

    number: int
    node: NodeId


class ReachAnswer(Struct, frozen=True, array_like=True, gc=False, tag=19):
    number: int
    has_link: bool


class RelayedNote(Struct, frozen=True, array_like=True, gc=False, tag=20):
    """A note for a node that its sender has no link with: over a neighbour of both, and no further."""

    source: NodeId
    target: NodeId
    id: bytes
    topic: str
    body: bytes
    signature: bytes
    """By `source`, over all of this but `is_forwarded`."""
    is_forwarded: bool = False


class SurveyWant(Struct, frozen=True, array_like=True, gc=False, tag=21):
    """Whom do you have links with, and how good are they?"""

    number: int


class SurveyReport(Struct, frozen=True, array_like=True, tag=22):
    number: int
    reports: tuple[LinkReport, ...]


class LiveWant(Struct, frozen=True, array_like=True, gc=False, tag=30):
    """Which dots that you know of this shard have no live record with you? The sender was left behind."""

    number: int
    shard: Shard


class LiveDots(Struct, frozen=True, array_like=True, tag=31):
    """The answer to a LiveWant, in parts, of one moment at which the shard's records were all read and were
    what they should be."""

    number: int
    shard: Shard
    knowledge: Delta
    absent: Delta
    """Those dots of `knowledge` without a live record."""
    collected: CutTold
    is_last: bool


class StatementDigest(Struct, frozen=True, array_like=True, gc=False, tag=40):
    """The digest of all statements that the sender holds. Who holds others answers with StatementIds."""

    digest: bytes


class StatementIds(Struct, frozen=True, array_like=True, gc=False, tag=41):
    """All that the sender holds: send what it lacks, and ask for what it has beyond."""

    ids: tuple[StatementId, ...]


class StatementWant(Struct, frozen=True, array_like=True, gc=False, tag=42):
    ids: tuple[StatementId, ...]


class Statements(Struct, frozen=True, array_like=True, tag=43):
    """Asked for, or new. Nothing in it counts before its signature was checked."""

    statements: tuple[Statement, ...]


class PlacedSummary(Struct, frozen=True, array_like=True, tag=66):
    """As a Summary, of shards that not everybody holds."""

    shards: tuple[ShardSummary, ...]
    is_whole: tuple[bool, ...]
    """For each: whether the sender, as far as it knows, has all that there was when it became an owner."""


class HoldWant(Struct, frozen=True, array_like=True, tag=60):
    """The sender holds these dots of a shard and is none of its owners: does the receiver have them all?"""

    number: int
    shard: Shard
    knowledge: Delta


class HoldAnswer(Struct, frozen=True, array_like=True, gc=False, tag=61):
    """`has_all`: the sender is an owner of that shard, and has all that it was asked about on its disk."""

    number: int
    has_all: bool


class ReadWant(Struct, frozen=True, array_like=True, tag=62):
    """What do you hold under these keys? From a node that may not hold them."""

    number: int
    keys: tuple[str, ...]


class ReadAnswer(Struct, frozen=True, array_like=True, tag=63):
    """The siblings of the first of the keys asked for, as many as fit."""

    number: int
    found: tuple[tuple[Record, ...], ...]
    is_sure: tuple[bool, ...]
    """For each: the sender is an owner and lacks nothing that it knows of, so no siblings means no key."""


class ScanWant(Struct, frozen=True, array_like=True, tag=64):
    """Which keys do you hold in these shards of a space, with this prefix and above `after`?"""

    number: int
    space: str
    count: int
    shards: tuple[int, ...]
    """Of `count`, in order."""
    prefix: str
    after: str
    limit: int


class ScanAnswer(Struct, frozen=True, array_like=True, tag=65):
    number: int
    records: tuple[Record, ...]
    """In the order of their keys."""
    cursor: str
    """Up to which key this is all there is; empty at the end."""
    unsure: tuple[int, ...]
    """Of the shards asked for: those of which the sender may lack something."""
    damaged: tuple[str, ...] = ()
    """Keys that it cannot read."""


Message: TypeAlias = (
    Hello
    | Goodbye
    | Ping
    | Pong
    | MemberStream
    | Summary
    | Have
    | Want
    | Records
    | StreamEnd
    | Credit
    | Note
    | ChunkWant
    | ChunkPart
    | ChunkMissing
    | ChunkOffer
    | MemberDatagram
    | ReachWant
    | ReachAnswer
    | RelayedNote
    | SurveyWant
    | SurveyReport
    | LiveWant
    | LiveDots
    | StatementDigest
    | StatementIds
    | StatementWant
    | Statements
    | HoldWant
    | HoldAnswer
    | ReadWant
    | ReadAnswer
    | ScanWant
    | ScanAnswer
    | PlacedSummary
)
