"""Cursors of watches: what a watcher has been told of, as text that any node of the mesh can go on from.

A cursor is the knowledge of the shards under a prefix: for each author the numbers of its writes that were
known when it was made. What a node knows beyond that is what the watcher has missed, wherever it was before.
So a cursor stays good over a restart of the node or of the watcher, and at another node.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from blake3 import blake3
from msgspec import Struct

from bellande_mesh_sync.core.data.knowledge import Delta, IntervalSet
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.errors import CursorGoneError, UsageError
from bellande_mesh_sync.ids import Author, Shard
from bellande_mesh_sync.keys import space_of

NAME_BYTES: Final = 12
"""Authors are named by the start of their hash: a third of the text, and two alike are beyond reach."""
_MESH_BYTES: Final = 8
_FORMAT: Final = 1

_Authors = dict[bytes, list[tuple[int, int]]]


class Cursor(Struct, frozen=True, array_like=True):
    """What a watch of `prefix` has told."""

    format: int
    mesh: bytes
    prefix: str
    seen: dict[str, _Authors]

    def missing_from(self, shard: Shard, known: Delta) -> Delta:
        """Those of the dots of this shard, known here, that the watcher has not been told of."""
        seen = self.seen.get(shard, {})
        missing = []
        for author, ranges in known:
            told = IntervalSet(seen.get(_name_of(author), ()))
            gaps = tuple(gap for low, high in ranges for gap in told.gaps(low, high))
            if gaps:
                missing.append((author, gaps))
        return tuple(missing)

    def may_lack_deletes(self, shard: Shard, collected: Mapping[Author, int]) -> bool:
        """Whether deletes may have been forgotten here, by the numbers up to `collected`, that the watcher
        has not been told of. One that was told nothing of the shard needs none."""
        seen = self.seen.get(shard)
        if not seen:
            return False
        return any(
            next(IntervalSet(seen.get(_name_of(author), ())).gaps(1, number), None)
            for author, number in collected.items()
        )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cursor).decode


def cursor_text(mesh: bytes, prefix: str, replica: Replica) -> str:
    """The cursor of a watch that has told all that is durable here. Cost: O(authors under the prefix)."""
    seen = {
        str(shard): {_name_of(author): list(ranges) for author, ranges in delta}
        for shard, delta in known_under(prefix, replica)
        if delta
    }
    packed = _encode(Cursor(_FORMAT, mesh[:_MESH_BYTES], prefix, seen))
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def parse_cursor(text: str, mesh: bytes, prefix: str) -> Cursor:
    """A cursor as it was given out; "" is that of a watch that has told nothing.

    Raises:
        UsageError: it is none, or it was made by a watch of other keys.
        CursorGoneError: it is of another mesh, so nothing here can be compared with it.
    """
    if not text:
        return Cursor(_FORMAT, mesh[:_MESH_BYTES], prefix, {})
    try:
        cursor = _decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        for authors in cursor.seen.values():
            for name, ranges in authors.items():
                _check(name, ranges)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise UsageError(reason="that is no cursor of a watch; give one as it came, or none") from None
    if cursor.format != _FORMAT or cursor.mesh != mesh[:_MESH_BYTES]:
        raise CursorGoneError(reason="it is of another mesh")
    if not prefix.startswith(cursor.prefix):
        reason = f"the cursor is of a watch of {cursor.prefix!r}, and there is more under {prefix!r}"
        raise UsageError(reason=reason)
    return cursor


def known_under(prefix: str, replica: Replica) -> Iterable[tuple[Shard, Delta]]:
    """What is durable here of the shards that may hold keys with this prefix."""
    space, slash, _ = prefix.partition("/")
    for shard, state in replica.shards():
        name = space_of(shard)
        if name == space if slash else name.startswith(space):
            yield shard, state.committed.delta()


def _name_of(author: Author) -> bytes:
    return blake3(author).digest()[:NAME_BYTES]


def _check(name: bytes, ranges: Sequence[tuple[int, int]]) -> None:
    last = 0
    for low, high in ranges:
        if not last < low <= high:
            raise ValueError("ranges out of order")
        last = high
    if len(name) != NAME_BYTES:
        raise ValueError("no author's name")
