"""What the public calls return. Node ids and versions are text here, so all of it is JSON as it stands."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Receipt(Struct, frozen=True):
    """Proof of a write: its version, and the nodes that had it on disk when the call returned."""

    key: str
    version: str
    nodes: tuple[str, ...]
    ack: str


class Entry(Struct, frozen=True):
    """A key and its visible version, without the bytes."""

    key: str
    version: str
    size: int
    content_type: str
    author: str
    """Node id of the writer."""
    time_ms: int
    """The writer's hybrid clock, in milliseconds since 1970."""
    digest: str
    """BLAKE3 of the whole value, in hex."""
    siblings: int
    """How many versions stand beside each other under the key; 1 means no conflict."""
    context: str
    """What a reader of this entry has seen: pass it to `put` or `delete` to replace exactly that."""


class SiblingView(Struct, frozen=True):
    """One of the versions that stand beside each other under a key, without the bytes."""

    version: str
    is_winner: bool
    """Whether it is the one that readers see; if that is a delete, the key counts as gone."""
    kind: str
    """`put` or `delete`."""
    size: int
    content_type: str
    digest: str
    """BLAKE3 of the whole value, in hex; empty for a delete."""
    author: str
    """Node id of the writer."""
    author_name: str
    """Its name; empty if this node does not know it as a member."""
    time_ms: int
    """The writer's hybrid clock, in milliseconds since 1970."""
    arrived_ms: int | None
    """When it became known here, by this node's clock, a second too late at most. None: not known, as after
    a restart of this node."""
    ahead_ms_min: int | None
    """The writer's clock was ahead of this node's by at least this when it wrote; below 0 it may have been
    behind by as much. None: not known."""
    ahead_ms_max: int | None
    """And by at most this. None: not known."""


class Siblings(Struct, frozen=True):
    """All that stands under a key."""

    key: str
    context: str
    """What a reader of this has seen: pass it to `resolve` to replace exactly these."""
    siblings: tuple[SiblingView, ...]
    """The winner first, then from the latest to the earliest; a single one is no conflict."""


class Conflict(Struct, frozen=True):
    """A key in conflict: several versions stand under it, at least one of them a value."""

    key: str
    siblings: int
    authors: tuple[str, ...]
    """Node ids of those who wrote them, each once."""
    author_names: tuple[str, ...]
    """Their names, in the same order; empty where this node does not know a member."""
    version: str
    """Of the winner."""
    newest_ms: int
    """Its time by its writer's hybrid clock, in milliseconds since 1970."""


class Conflicts(Struct, frozen=True):
    conflicts: tuple[Conflict, ...]
    cursor: str
    """Pass it to get the next page; empty at the end."""


class Value(Struct, frozen=True):
    """A value as `Mesh.get` returns it. `data` is the whole of it: for large ones use `Mesh.open_value`."""

    data: bytes
    version: str
    author: str
    content_type: str
    entry: Entry


class Listing(Struct, frozen=True):
    entries: tuple[Entry, ...]
    cursor: str
    """Pass it to get the next page; empty at the end."""
    damaged: tuple[str, ...] = ()
    """Keys of this page that are damaged on this node: they are there, and cannot be read."""


class Path(Struct, frozen=True, kw_only=True):
    """A free path, and how it was found. Lengths are in the scene's unit, times in seconds."""

    points: tuple[tuple[float, ...], ...]
    """Corners from start to goal; between two of them one moves straight."""
    cost: float
    """Its length."""
    lower_bound: float
    """No path is shorter: the straight distance."""
    gap: float
    """How much longer than the bound it is, as a share; the best path is at most so much shorter. 0: it is
    the best."""
    samples: int
    """Places drawn until the search ended."""
    first_cost: float
    """Of the first path that was found, before it was made shorter."""
    first_path_s: float
    """From the beginning of the search until that one was there; 0: it was known before."""
    seconds: float
    """Of the whole search. Compiling or loading compiled code comes before and is not in it."""
    compile_s: float
    """What compiling, or loading compiled code, took in this call: seconds once on a machine, then tenths of
    one once a process, then nothing."""
    algorithm: str
    engine: str
    """`compiled` or `numpy`."""
    seed: int


class Change(Struct, frozen=True):
    """A key changed, durably, on this node. `entry` is None when it is gone."""

    key: str
    kind: str
    """`put` or `delete`."""
    version: str
    author: str
    entry: Entry | None


class MeshMessage(Struct, frozen=True):
    """A message from a program on another node (or this one)."""

    sender: str
    topic: str
    body: bytes


class NodeView(Struct, frozen=True):
    """A member, as this node sees it."""

    node: str
    name: str
    state: str
    """alive, suspect, asleep, dead, left or revoked."""
    addresses: tuple[str, ...]
    role: str
    software: str
    is_local: bool
    linked: bool
    """Whether this node has a link with it now."""
    rtt_ms: float | None
    last_heard_s: float | None
    """Seconds since anything came from it; None if nothing ever did."""
    reason: str
    """Why it is in this state."""
    since_s: float = 0.0
    """For how long it has been in this state; for this node, since its start."""
    zone: str = ""
    labels: dict[str, str] = {}
    capacity: int = 100
    incarnation: int = 0
    """How often it has said something new of itself."""
    datagrams: bool = False
    """Whether it takes datagrams; if not, all goes over links."""
    loss: float | None = None
    """Share of this node's last probes of it that stayed without an answer, 0 to 1; None before any."""


class RevocationView(Struct, frozen=True):
    """A node that is no member any more. Times in milliseconds since 1970."""

    node: str
    name: str
    """What it was called."""
    reason: str
    by: str
    """Id of the node, or of the authority, that signed it."""
    issued_ms: int
    """By the clock of who signed it."""
    heard_ms: int | None
    """When this node heard of it; None if that was in an earlier run."""
    refused_links: int
    """Links that it tried to open with this node since the node started, and the like for what follows."""
    refused_records: int
    """Records of it beyond the cut that came to this node, from whomever."""
    set_aside: int
    """Writes beyond the cut that this node had taken before it heard."""
    last_refused_ms: int | None
    """When it was refused last; None: never."""


class KeyRotation(Struct, frozen=True):
    """A new key was made and is being told to all members."""

    what: str
    used_from_s: int
    """So many seconds from now this node begins to use it."""
    old_until_s: int
    """So many seconds from now the old one is good."""


class Finding(Struct, frozen=True):
    """One thing that was found out about a member."""

    ago_s: float
    what: str
    """A word for machines, as `no_answer`."""
    by: str
    """Node id of who found it."""
    text: str
    """The same for people."""


class Explanation(Struct, frozen=True):
    """Why a member is in its state: the evidence behind this node's verdict."""

    node: str
    name: str
    state: str
    since_s: float
    reason: str
    incarnation: int
    own_health: int | None
    """This node's doubt about itself: 0 is well, and each step makes it more patient with others. None:
    not known."""
    linked: bool
    rtt_ms: float | None
    loss: float | None
    last_heard_s: float | None
    """Seconds since anything came over a link with it; None without a link."""
    last_ack_s: float | None
    """Seconds since it last answered a probe of this node; None if it never did."""
    accusers: tuple[str, ...]
    """While it is suspect: ids of the nodes that got no answer."""
    dead_in_s: float | None
    """While it is suspect: in how many seconds it counts as dead, unless it answers or is vouched for."""
    findings: tuple[Finding, ...]
    """Probes, helpers' answers and the like, the last ones first."""


class TopologyNode(Struct, frozen=True):
    node: str
    name: str
    state: str
    zone: str
    answered: bool
    """Whether it told whom it sees."""


class Sight(Struct, frozen=True):
    """What one node says of another one."""

    source: str
    target: str
    linked: bool
    rtt_ms: float | None
    loss: float | None
    """Share of lost probes, 0 to 1."""
    route: str
    """`direct`: they have a link. `via`: a third node has links with both. `none`: neither."""
    via: str
    """That third node's id, the quickest if there are several; else empty."""


class Topology(Struct, frozen=True):
    """Who sees whom, as told by all that could be reached."""

    node: str
    """Who asked."""
    nodes: tuple[TopologyNode, ...]
    sights: tuple[Sight, ...]
    complete: bool
    """False: in a mesh this large only pairs with a link are in `sights`."""


class DamagedValue(Struct, frozen=True):
    """Something that a verification found damaged."""

    key: str
    kind: str
    """`record`, `chunk`, or `missing_chunk`: a part of a large value that is not there at all."""
    repaired: bool
    """Whether it was had from another node, or replaced, by the time of the report."""


class VerifyProgress(Struct, frozen=True):
    """How far a verification has come. What is still to be read is not known before it is read."""

    seconds: float
    bytes: int
    records: int
    chunks: int
    damaged: int


class CertificateView(Struct, frozen=True):
    """A certificate. Times are ISO 8601 in UTC."""

    of: str
    """Whose it is to the node that was asked: `this node`, `issuer` (its right to issue others), `authority`,
    `peer`."""
    name: str
    node: str
    """SHA-256 of its key: of a node its id, of an authority the pin."""
    role: str
    """`authority` or `issuer` for one that signs others."""
    serial: str
    """Hex digits."""
    issued_by: str
    not_before: str
    not_after: str
    left_s: float
    """Seconds until its end; below 0 after it."""
    standing: str
    """`good`, `ending` (its renewal is late), `expired`, `not valid yet`."""
    renewed: bool
    """Whether it is renewed by itself, as far as the node knows."""


class CertificateCheck(Struct, frozen=True):
    """What a certificate is worth to this mesh."""

    ok: bool
    faults: tuple[str, ...]
    """What is wrong with it, and by how much."""
    certificate: CertificateView | None
    """None: it could not be read."""


class VerifyReport(Struct, frozen=True):
    """What a verification of all that a node holds came to."""

    ok: bool
    """Whether nothing was found."""
    deep: bool
    seconds: float
    bytes: int
    """Read from the disk."""
    records: int
    chunks: int
    found: dict[str, int]
    """How many of each kind: record, chunk, missing_chunk, shard (its records are not what its
    fingerprint says), database (its file as such is damaged)."""
    repaired: int
    unrepaired: int
    """Waiting for a node that has it; it is asked for again and again."""
    damaged: tuple[DamagedValue, ...]
    """At most 1,000 of them, those not repaired first."""
    database: str
    """What is wrong with the database as such; empty if nothing."""


class SweepReport(Struct, frozen=True):
    """What a sweep of chunks that nothing refers to came to."""

    seconds: float
    chunks: int
    """On this disk when it began, and their bytes."""
    chunk_bytes: int
    swept: int
    """Chunks that are gone now, and their bytes."""
    swept_bytes: int
    waiting: int
    """Chunks that nothing refers to either, and that go once their grace time is over."""
    waiting_bytes: int
    disk_bytes: int
    """What the disk has more."""


class Status(Struct, frozen=True):
    node: str
    name: str
    mesh: str
    mesh_id: str
    state: str
    """stopped, starting, running or stopping."""
    version: str
    uptime_s: float
    tcp: str
    http: str
    https: str
    """Addresses as host:port; empty if turned off."""
    keys: int
    records: int
    members: dict[str, int]
    """Count by state, this node included."""
    links: int
    encrypted: bool
    conflicts: int = 0
    """Keys in conflict."""


class Stats(Struct, frozen=True):
    """Counters since the start, and sizes now."""

    node: str
    uptime_s: float
    counters: dict[str, int]
    gauges: dict[str, float]
    peers: dict[str, dict[str, Any]]
    """For each linked peer: bytes and messages each way, round trip, records it still lacks of ours."""
    conflicts: dict[str, int] = {}
    """Keys in conflict by space; of very many spaces those with the most. `gauges` has the sum of all."""


class Version(Struct, frozen=True):
    """One version of a key, present or replaced, without its bytes."""

    key: str
    version: str
    kind: str
    """`put` or `delete`."""
    state: str
    """`current`: what readers see, or the delete that they see nothing for. `sibling`: beside that one, not
    replaced. `replaced`: by a later write."""
    size: int
    content_type: str
    author: str
    """Node id of the writer."""
    time_ms: int
    """The writer's hybrid clock, in milliseconds since 1970."""
    replaced_ms: int | None
    """The same of the write that replaced it; None while nothing has."""
    digest: str


class History(Struct, frozen=True):
    """What a node has of a key's past."""

    key: str
    versions: tuple[Version, ...]
    """The latest first."""
    complete: bool
    """Whether that is all there ever was: False if versions were forgotten or never came here."""


class Difference(Struct, frozen=True):
    """A key that was not the same at two moments."""

    key: str
    kind: str
    """`added`, `changed` or `deleted`; `unknown` if the history does not reach back to one of the moments."""
    before: Entry | None
    """What was visible at the first moment; None if nothing was, or if that is what is not known."""
    after: Entry | None
    """The same of the second moment."""


class DiffPage(Struct, frozen=True):
    differences: tuple[Difference, ...]
    cursor: str
    """Pass it to get the next page; empty at the end. A page may be empty before that."""
    from_ms: int
    to_ms: int


class RestorePage(Struct, frozen=True):
    changes: tuple[Difference, ...]
    """What was written, or in a dry run would be: from what is there now to what was there then."""
    gone: tuple[str, ...]
    """Keys of which is not known what was there then. They stay as they are."""
    unchanged: int
    cursor: str
    """Pass it to go on with the next keys; empty at the end."""
    at_ms: int


class Restored(Struct, frozen=True):
    """What `Mesh.restore` did, in numbers of keys."""

    at_ms: int
    written: int
    """Have their value of then again."""
    deleted: int
    """Were not there then, and are deleted now."""
    unchanged: int
    gone: int
    """Stay as they are, for the history does not reach back far enough."""
    gone_keys: tuple[str, ...]
    """The first thousand of them."""


class NodeShare(Struct, frozen=True):
    """How much of a space one member is to hold."""

    node: str
    name: str
    capacity: int
    zone: str
    shards: int


class SpacePlacement(Struct, frozen=True):
    """A space with a number of replicas, and who is to hold how much of it."""

    space: str
    replicas: int
    shards: int
    nodes: tuple[NodeShare, ...]


class KeyPlacement(Struct, frozen=True):
    """Where a key is to be held."""

    key: str
    shard: str
    is_placed: bool
    """False: by every member."""
    owners: tuple[str, ...]
    """Node ids, best first."""
    names: tuple[str, ...]
    """What people call them, in the same order."""
