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
    """alive, suspect, dead or left."""
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


class Stats(Struct, frozen=True):
    """Counters since the start, and sizes now."""

    node: str
    uptime_s: float
    counters: dict[str, int]
    gauges: dict[str, float]
    peers: dict[str, dict[str, Any]]
    """For each linked peer: bytes and messages each way, round trip, records it still lacks of ours."""
