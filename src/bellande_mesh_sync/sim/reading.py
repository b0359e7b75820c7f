"""What a program gets that reads a key at a simulated node: as much as `Mesh.get` would tell it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.policies import visible
from bellande_mesh_sync.core.data.record import ChunkRef, Record, order_of
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.keys import shard_of
from bellande_mesh_sync.sim.disk import SimDisk
from bellande_mesh_sync.sim.history import Shown, Sibling
from bellande_mesh_sync.sim.node import SimNode

_decode_index = msgspec.msgpack.Decoder(list[ChunkRef]).decode


@dataclass(frozen=True, slots=True)
class Reading:
    """The siblings of a key, and the context that stands for having seen just them."""

    siblings: tuple[Record, ...]
    context: Context
    visible: str
    """The version that a reader sees; empty if the key counts as gone."""

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(record.version for record in self.siblings)


def read(node: SimNode, key: str) -> Reading:
    """Read at a node that runs."""
    core = node.core
    assert isinstance(core, NodeCore), "only a running node can be read"
    siblings = node.disk.shown(key)
    if not siblings:
        return Reading((), (), "")
    winner = visible(siblings, node.clock.now().wall_ms)
    context = core.replica.context_of(shard_of(key), siblings)
    return Reading(siblings, context, winner.version if winner is not None else "")


def shown(node: SimNode, key: str, siblings: tuple[Record, ...], time_ns: int) -> Shown:
    """The same in the words of a history, after reading the bytes of every value too."""
    told = tuple(
        Sibling(record.version, record.digest, record.stamp, is_whole(node.disk, record))
        for record in sorted(siblings, key=order_of)
    )
    return Shown(node.index, key, told, time_ns, bool(node.disk.platter.rotten_chunks))


def answer(node: SimNode, key: str, wall_ms: int) -> tuple[object, ...]:
    """Everything a client can see of a key, byte for byte; empty if there is nothing."""
    siblings = node.disk.shown(key)
    winner = visible(siblings, wall_ms)
    if winner is None:
        return ()
    body = blake3(value_of(node.disk, winner) or b"").hexdigest()
    return (winner.version, winner.size, winner.content_type, winner.stamp, body, len(siblings))


def is_whole(disk: SimDisk, record: Record) -> bool:
    """Whether this disk gives the bytes that the record speaks of."""
    if record.is_tombstone:
        return True
    body = value_of(disk, record)
    return body is not None and len(body) == record.size and blake3(body).digest() == record.digest


def value_of(disk: SimDisk, record: Record) -> bytes | None:
    """The whole value, put together from the chunks on this disk."""
    if record.manifest is None:
        return record.inline
    refs = record.manifest.chunks
    if record.manifest.depth == 2:
        bodies = [disk.chunk(ref.hash) for ref in refs]
        refs = tuple(ref for body in bodies if body is not None for ref in _decode_index(body))
    pieces = [disk.chunk(ref.hash) for ref in refs]
    return None if None in pieces else b"".join(piece for piece in pieces if piece is not None)
