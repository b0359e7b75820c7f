"""What a core asks its shell to do. Effects are done in the order in which they are returned."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.history import OldVersion
from bellande_mesh_sync.core.data.knowledge import Delta, Ranges
from bellande_mesh_sync.core.data.record import Manifest, Record
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import Datagram
from bellande_mesh_sync.core.messages import Message
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.statements.statement import Judged, Statement
from bellande_mesh_sync.core.timers import Timer
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard


class Send(Struct, frozen=True, gc=False):
    """Queue a message on an open link; dropped without a word if the link is gone."""

    link: int
    message: Message


class SendDatagram(Struct, frozen=True, gc=False):
    """Seal and send; may get lost. Only to a member that takes datagrams, from a node that does."""

    target: NodeId
    datagram: Datagram
    size_bytes: int
    """No less than it takes when encoded and sealed."""


class PeerRecorded(Struct, frozen=True, gc=False):
    """From now on this record is where its node is reached, and with which key."""

    record: MemberRecord


class PeerForgotten(Struct, frozen=True, gc=False):
    """This node is no member we know any more: no datagram goes there or is taken from it."""

    node: NodeId


class Dial(Struct, frozen=True, gc=False):
    """Open a link. Ends in one LinkOpened, or in one DialFailed with the same `dial` number."""

    dial: int
    address: str
    peer: NodeId | None
    """Whom we must find there; None for a bootstrap address, where any member will do."""
    lane: int
    is_wanted: bool = False
    """Something waits for this link; to be said in the Hello."""


class Hangup(Struct, frozen=True, gc=False):
    """Send a Goodbye, flush, close. Ends in one LinkClosed."""

    link: int
    code: str
    reason: str


class SetTimer(Struct, frozen=True, gc=False):
    """Bring `timer` back at `at_ns` (monotonic) or a little later. Timers are never cancelled."""

    timer: Timer
    at_ns: int


class IntervalChange(Struct, frozen=True, gc=False):
    """Knowledge on disk: replace the intervals that start at `absorbed` by low..high."""

    shard: Shard
    author: Author
    low: int
    high: int
    absorbed: tuple[int, ...]


class Batch(Struct, frozen=True, gc=False):
    """What must become durable together, or not at all."""

    puts: tuple[tuple[Shard, Record], ...] = ()
    drops: tuple[tuple[Shard, str, Dot], ...] = ()
    """Live records that were replaced: shard, key, dot."""
    intervals: tuple[IntervalChange, ...] = ()
    fingerprints: tuple[tuple[Shard, int], ...] = ()
    """Amounts to add (modulo 2**256) to the shards' fingerprints."""
    members: tuple[MemberRecord, ...] = ()
    forgotten: tuple[NodeId, ...] = ()
    """Members that go out of the peer book, before `members` go in."""
    epoch: bytes = b""
    """A new author epoch, if not empty."""
    clock: int = 0
    """The clock when the batch was made, if not 0: it goes on above this after a restart."""
    history: tuple[OldVersion, ...] = ()
    """Replaced versions to keep. Beyond what each says, the oldest of its key are forgotten."""
    expired_ms: int = 0
    """Old versions that expired by then may be forgotten, if not 0; a store does so in portions."""
    set_aside: tuple[DamagedRecord, ...] = ()
    """Damaged rows to take out of their place, before `puts` go in. Their keys are remembered as damaged."""
    relearned: tuple[tuple[Shard, Author, Ranges], ...] = ()
    """Just this is known of these authors from now on, before `intervals` go in."""
    healed: tuple[tuple[Shard, Dot], ...] = ()
    """Dots set aside that have come back or were replaced: their keys are no longer damaged by them."""
    statements: tuple[Judged, ...] = ()
    """Signed statements to keep for ever."""
    collected: tuple[tuple[Shard, Author, int], ...] = ()
    """Tombstones up to these numbers of these authors were dropped, with this batch or before it."""


class Commit(Struct, frozen=True, gc=False):
    """Make `batch` durable (a real sync). Ends in Committed or CommitFailed with this number.

    Commits are applied in the order of their numbers, several at once where that saves a sync.
    Chunks that a record of the batch refers to are durable before it.
    """

    commit: int
    batch: Batch


class OpenChanges(Struct, frozen=True, gc=False):
    """Open a point-in-time view of the live records among `dots`, and read its first page."""

    reading: int
    shard: Shard
    dots: Delta


class NextPage(Struct, frozen=True, gc=False):
    """Read the next page of an open view. Each OpenChanges and NextPage ends in one PageRead."""

    reading: int


class CloseChanges(Struct, frozen=True, gc=False):
    reading: int


class FindMissing(Struct, frozen=True, gc=False):
    """Which chunks of this manifest are not on this disk? Ends in MissingFound.

    For depth 2: if index chunks are missing, just those; else the missing ones they list.
    """

    fetch: int
    manifest: Manifest


class Examine(Struct, frozen=True, gc=False):
    """Read every record of a shard, compare it with what it is said to hold. Ends in one Examined."""

    shard: Shard


class JudgeStatements(Struct, frozen=True, gc=False):
    """Check signatures and certificates, beside the event loop. Ends in one StatementsJudged."""

    link: int
    """Which they came over."""
    statements: tuple[Statement, ...]


class SendChunks(Struct, frozen=True, gc=False):
    """Read these chunks, check them, and send them as ChunkParts (or ChunkMissing) on the link."""

    link: int
    hashes: tuple[bytes, ...]


class Resolve(Struct, frozen=True, gc=False):
    """A command is done. `result` is what its docstring says."""

    request: int
    result: Any


class Reject(Struct, frozen=True, gc=False):
    """A command failed, with a code and facts of the error tree."""

    request: int
    code: str
    facts: dict[str, Any]


class Changed(Struct, frozen=True, gc=False):
    """These keys changed and the change is durable here. Records in commit order."""

    records: tuple[Record, ...]


class Deliver(Struct, frozen=True, gc=False):
    """A program's message arrived from a peer."""

    sender: NodeId
    topic: str
    body: bytes


class MemberChanged(Struct, frozen=True, gc=False):
    node: NodeId
    name: str
    old_state: str
    """Empty for a member never seen before."""
    new_state: str
    reason: str


class Log(Struct, frozen=True, gc=False):
    """Something an operator should be able to read later."""

    level: str
    code: str
    facts: dict[str, Any]


class Stop(Struct, frozen=True, gc=False):
    """This node must not go on, for the reason given by the code (identity_conflict)."""

    code: str
    reason: str


Effect: TypeAlias = (
    Send
    | SendDatagram
    | PeerRecorded
    | PeerForgotten
    | Dial
    | Hangup
    | SetTimer
    | Commit
    | OpenChanges
    | NextPage
    | CloseChanges
    | FindMissing
    | Examine
    | JudgeStatements
    | SendChunks
    | Resolve
    | Reject
    | Changed
    | Deliver
    | MemberChanged
    | Log
    | Stop
)
