"""What happens to a core: `NodeCore.handle(event, now)` takes each of these."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.examination import Examination
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.members.swim.messages import Datagram
from bellande_mesh_sync.core.messages import Hello, Message
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.statements.statement import Judged, Statement
from bellande_mesh_sync.core.timers import Timer
from bellande_mesh_sync.ids import NodeId, Shard

# -- commands from programs --------------------------------------------------------------------


class Write(Struct, frozen=True, gc=False):
    """One write of a `WriteMany`. The value's chunks, if any, are on disk already."""

    key: str
    kind: int
    size: int = 0
    digest: bytes = b""
    content_type: str = ""
    inline: bytes | None = None
    manifest: Manifest | None = None
    expires_ms: int = 0
    context: Context | None = None
    """What the writer had read; None: whatever this node holds now."""
    if_match: str | None = None
    """Only if the visible version is this one; "" means: only if there is none."""
    add: int | None = None
    """In a counter's space, instead of a value: change it by so much."""


class WriteMany(Struct, frozen=True, gc=False):
    """Commit these writes together. Resolves to a tuple of `Receipt`, one a write.

    Rejects with precondition_failed, invalid_value, conflict_limit or storage errors (nothing written),
    or ack_timeout (written, and spreading).
    """

    request: int
    writes: tuple[Write, ...]
    ack: str
    timeout_ns: int
    known: tuple[Record, ...] = ()
    """What other nodes hold under these keys: the writes are to replace that as well."""


class ReadKeys(Struct, frozen=True, gc=False):
    """What is held under these keys, here or by their owners. Resolves to a tuple of
    `core.placement.questions.KeyFound`, one a key; at the latest after `timeout_ns`, with what is known then.
    """

    request: int
    keys: tuple[str, ...]
    timeout_ns: int
    asks_all: bool = False
    """Ask every owner, and everybody else in reach, to learn who has what is held."""


class ScanKeys(Struct, frozen=True, gc=False):
    """A page of the keys of a placed space, from its owners. Resolves to a
    `core.placement.questions.ScanFound`."""

    request: int
    space: str
    prefix: str
    after: str
    limit: int
    timeout_ns: int


class SyncNow(Struct, frozen=True, gc=False):
    """Compare with every linked node what is held, now. Resolves to how many those are."""

    request: int


class FetchValue(Struct, frozen=True, gc=False):
    """Bring the chunks of a record that is held elsewhere onto this disk. Resolves to None when all are here.

    Rejects with chunk_missing if none of the holders gives them all.
    """

    request: int
    record: Record
    holders: tuple[NodeId, ...]


class SendNote(Struct, frozen=True, gc=False):
    """A best-effort message to a linked node, or to all (`to` None). Resolves to the count of links."""

    request: int
    to: NodeId | None
    topic: str
    body: bytes
    id: bytes


class Leave(Struct, frozen=True, gc=False):
    """Tell the others that this node goes in peace. Resolves to None; all links close."""

    request: int


# -- commands about members --------------------------------------------------------------------


class AddMember(Struct, frozen=True, gc=False):
    """Dial these addresses soon, as seeds: any member of our mesh may answer there. Resolves to None
    at once; whom it finds shows as a link and in the directory.
    """

    request: int
    addresses: tuple[str, ...]


class RemoveMember(Struct, frozen=True, gc=False):
    """A member that is down (dead, asleep or left) will not come back: all are told, and it counts as left.
    Resolves to True.

    Rejects with not_found, or with still_member while it is alive or suspect, or is this node: such a
    one would be back with its next word. If a removed one comes back, it is a member again.
    """

    request: int
    node: NodeId


class RestoreMembers(Struct, frozen=True, gc=False):
    """Dial every known member that has no link and did not leave, now and not after its pause.

    Resolves to how many are tried at once; where there are many, the others follow within seconds.
    """

    request: int


class Cleanup(Struct, frozen=True, gc=False):
    """Remove every member that has been dead for longer than this. Resolves to a tuple of their ids."""

    request: int
    older_than_ns: int


class UpdateSelf(Struct, frozen=True, gc=False):
    """Say this in our own record from now on; None leaves a field as it is. Resolves to None.

    Until the node stops: the next run starts with its settings again.
    """

    request: int
    labels: tuple[tuple[str, str], ...] | None
    """Sorted by name. With the rest it fits a member record: the caller has checked that."""
    capacity: int | None
    zone: str | None


class AnnounceSelf(Struct, frozen=True, gc=False):
    """Say our own record to everyone again, with a higher incarnation. Resolves to None."""

    request: int


class Sleep(Struct, frozen=True, gc=False):
    """Fall silent on purpose: tell the others, close all links, send and take no datagrams.

    Programs on this node are served on. It wakes by itself after this time, or by Wake. Resolves to
    None when the word is out; a second Sleep only sets the time anew.
    """

    request: int
    for_ns: int


class Wake(Struct, frozen=True, gc=False):
    """End a sleep. Resolves to whether there was one."""

    request: int


class SetConnectionsMax(Struct, frozen=True, gc=False):
    """At most this many links from now on; those that are too many close, chunk lanes first.

    Resolves to None.
    """

    request: int
    count: int


class Survey(Struct, frozen=True, gc=False):
    """Ask every member in reach whom it has links with. Resolves to a `core.survey.SurveyAnswer`:
    when all have answered, or with those that have after `timeout_ns`.
    """

    request: int
    timeout_ns: int


class AddStatements(Struct, frozen=True, gc=False):
    """Lay these down for the whole mesh; they were signed here. Resolves to None once they are on disk.

    Rejects with usage if they do not count, or storage errors: then they are in effect and spreading, and
    not yet on this disk.
    """

    request: int
    judged: tuple[Judged, ...]


# -- the network -------------------------------------------------------------------------------


class LinkOpened(Struct, frozen=True, gc=False):
    """A link is up: TLS and the peer's Hello are done and checked (mesh, protocol, identity)."""

    link: int
    peer: NodeId
    hello: Hello
    address: str
    """The other end, as seen by us."""
    dial: int
    """The number of the Dial it came from; 0 for one that the peer dialled."""


class DialFailed(Struct, frozen=True, gc=False):
    dial: int
    code: str
    reason: str


class LinkClosed(Struct, frozen=True, gc=False):
    link: int
    code: str
    reason: str


class Received(Struct, frozen=True, gc=False):
    """Messages of one link, in order. Never Hello, Goodbye or ChunkPart: those end in the shell.

    No messages at all: only a part of one came, which shows that the peer is there.
    """

    link: int
    messages: tuple[Message, ...]
    size_bytes: int
    """What they took on the wire."""


class DatagramReceived(Struct, frozen=True, gc=False):
    """A datagram that only `peer` can have sealed, and that did not come before. Decoded and checked."""

    peer: NodeId
    datagram: Datagram


class StatementsJudged(Struct, frozen=True, gc=False):
    """Answer to JudgeStatements."""

    link: int
    judged: tuple[Judged, ...]
    refused: tuple[tuple[Statement, str], ...]
    """With why they do not hold."""


class Found(Struct, frozen=True, gc=False):
    """Somebody may be a member of our mesh, and be reached there: heard on the local network."""

    node: NodeId | None
    """Who it says to be; the dial proves it."""
    addresses: tuple[str, ...]


class AddressesChanged(Struct, frozen=True, gc=False):
    """This machine is reached elsewhere from now on."""

    addresses: tuple[str, ...]


class SealKeyChanged(Struct, frozen=True, gc=False):
    """Datagrams for this node are to be sealed with a new key; those with the old one are taken a while."""

    seal_key: bytes


class LoopLate(Struct, frozen=True, gc=False):
    """The event loop ran this much late."""

    lag_ns: int


# -- the disk ----------------------------------------------------------------------------------


class Committed(Struct, frozen=True, gc=False):
    """All commits up to and including this number are durable."""

    commit: int


class CommitFailed(Struct, frozen=True, gc=False):
    """The disk refused: every commit after the last Committed one is void and left no trace.

    Only for refusals that are that clean, such as a full disk. After a failed sync nobody knows
    what the disk holds: then the shell stops the node instead.
    """

    code: str
    reason: str


class PageRead(Struct, frozen=True, gc=False):
    """A page of an open view, in dot order for each author."""

    reading: int
    records: tuple[Record, ...]
    size_bytes: int
    is_last: bool
    knowledge: Delta = ()
    """With the last page: the shard's knowledge at the moment of the view."""
    code: str = ""
    """A storage error's code, if the page could not be read: the view is closed."""


class MissingFound(Struct, frozen=True, gc=False):
    """Answer to FindMissing. Empty `chunks`: the value is whole on this disk.

    `is_index`: the chunks are index chunks of a depth-2 manifest; ask again once they are here.
    """

    fetch: int
    chunks: tuple[ChunkRef, ...]
    is_index: bool
    code: str = ""


class DamageFound(Struct, frozen=True, gc=False):
    """Something was read that is not what was written, by whomever it was read."""

    records: tuple[DamagedRecord, ...] = ()
    chunks: tuple[ChunkRef, ...] = ()
    """Chunks of live values that are damaged or gone."""
    shards: tuple[Shard, ...] = ()
    """Shards whose records are not what their fingerprint says."""


class Examined(Struct, frozen=True, gc=False):
    """Answer to Examine."""

    shard: Shard
    found: Examination | None
    """None if it could not be read to the end; it is tried again later."""


class ChunksStored(Struct, frozen=True, gc=False):
    """Chunks that came over `link` were verified and are on disk (durable with the next commit)."""

    link: int
    hashes: tuple[bytes, ...]


class ChunksAdded(Struct, frozen=True, gc=False):
    """Chunks of a large value that is being written here are on this disk; its record will follow."""

    chunks: tuple[ChunkRef, ...]
    key: str = ""
    """Under which it will be, if that is known."""


class ChunkRefused(Struct, frozen=True, gc=False):
    """A chunk that came over `link` has another hash than asked for, or could not be stored."""

    link: int
    hash: bytes
    code: str


class TimerFired(Struct, frozen=True, gc=False):
    timer: Timer


Event: TypeAlias = (
    WriteMany
    | ReadKeys
    | ScanKeys
    | FetchValue
    | SyncNow
    | SendNote
    | Leave
    | AddMember
    | RemoveMember
    | RestoreMembers
    | Cleanup
    | UpdateSelf
    | AnnounceSelf
    | Sleep
    | Wake
    | SetConnectionsMax
    | Survey
    | AddStatements
    | LinkOpened
    | DialFailed
    | LinkClosed
    | Received
    | DatagramReceived
    | StatementsJudged
    | Found
    | AddressesChanged
    | SealKeyChanged
    | LoopLate
    | Committed
    | CommitFailed
    | PageRead
    | MissingFound
    | DamageFound
    | Examined
    | ChunksStored
    | ChunksAdded
    | ChunkRefused
    | TimerFired
)


class Receipt(Struct, frozen=True, gc=False):
    """Proof of a write: its version, and the nodes that had it on disk when the call returned."""

    key: str
    version: str
    nodes: tuple[NodeId, ...]
    ack: str
