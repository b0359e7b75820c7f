"""Values made of entries that each know which write put them there, and how siblings of such values join.

An entry is named by its name and its dot. An entry that some sibling lacks although its writer had seen
the dot was taken out by that writer: it is gone. One that a writer had not seen stays. So what was taken
out is told by the contexts that records have anyhow, and no marks of removed things are kept. (Optimized
observed-remove sets, Bieniusa et al., 2012; delta state CRDTs, Almeida, Shoker, Baquero, 2018.)

This is how such a value lies in its record: the MessagePack of [authors, entries].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import AUTHOR_BYTES, SEQUENCE_MAX, Author, Dot

STAMP_MAX: Final = 2**63 - 1
EntryKey: TypeAlias = tuple[bytes, Author, int]
_Row: TypeAlias = tuple[bytes, int, int, int, bytes]


class Entry(Struct, frozen=True, order=True, gc=False):
    """A part of a value. The stamp orders entries of one name."""

    name: bytes
    stamp: int
    author: Author
    sequence: int
    value: bytes

    @property
    def key(self) -> EntryKey:
        return (self.name, self.author, self.sequence)


class _Packed(Struct, frozen=True, array_like=True, gc=False):
    authors: tuple[bytes, ...]
    entries: tuple[_Row, ...]
    """name, index of the author, sequence, stamp, value; in the order of the first three."""


_decode: Final = msgspec.msgpack.Decoder(_Packed).decode


class Part(Struct, frozen=True):
    """One sibling: what it holds, and what its writer had seen."""

    dot: Dot
    context: Context
    entries: tuple[Entry, ...]


def part_of(record: Record, entries: Iterable[Entry]) -> Part:
    return Part(record.dot, record.context, tuple(entries))


def survivors(parts: Sequence[Part]) -> list[Entry]:
    """The entries that no part has taken out, sorted by name, then by age.

    Cost: O(entries x parts that know their authors).
    """
    if len(parts) == 1:
        return sorted(parts[0].entries)
    found: dict[EntryKey, Entry] = {}
    holders: dict[EntryKey, set[int]] = {}
    for index, part in enumerate(parts):
        for entry in part.entries:
            # Two that say different things of one dot: some node was lied to, but all must agree on which.
            found[entry.key] = max(entry, found.get(entry.key, entry))
            holders.setdefault(entry.key, set()).add(index)
    sights = _sights(parts)
    return sorted(
        entry
        for key, entry in found.items()
        if all(
            sight.part in holders[key] or not sight.covers(entry.sequence)
            for sight in sights.get(entry.author, ())
        )
    )


class _Sight(Struct, frozen=True, gc=False):
    """Which writes of one author the writer of a part had seen."""

    part: int
    base: int
    extras: frozenset[int]

    def covers(self, sequence: int) -> bool:
        return sequence <= self.base or sequence in self.extras


def _sights(parts: Sequence[Part]) -> dict[Author, list[_Sight]]:
    """By author, all that is known of it. Who never heard of an author takes out nothing of it."""
    found: dict[Author, list[_Sight]] = {}
    for index, part in enumerate(parts):
        found.setdefault(part.dot.author, []).append(_Sight(index, 0, frozenset((part.dot.sequence,))))
        for author, base, extras in part.context:
            found.setdefault(author, []).append(_Sight(index, base, frozenset(extras)))
    return found


def pack(entries: Iterable[Entry]) -> bytes:
    ordered = sorted(entries, key=lambda entry: entry.key)
    authors = sorted({entry.author for entry in ordered})
    index = {author: place for place, author in enumerate(authors)}
    rows = [(each.name, index[each.author], each.sequence, each.stamp, each.value) for each in ordered]
    return msgspec.msgpack.encode((authors, rows))


def unpack(data: bytes) -> list[Entry]:
    """The entries in these bytes; ValueError for what `pack` does not make: a member may write anything."""
    try:
        packed = _decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValueError(f"not entries: {error}") from None
    count = len(packed.authors)
    if any(len(author) != AUTHOR_BYTES for author in packed.authors):
        raise ValueError("not entries: an author of another length")
    if any(first >= second for first, second in pairwise(packed.authors)):
        raise ValueError("not entries: authors out of order")
    for _, author, sequence, stamp, _ in packed.entries:
        if not (0 <= author < count and 1 <= sequence <= SEQUENCE_MAX and 0 <= stamp <= STAMP_MAX):
            raise ValueError("not entries: a figure out of range")
    if any(first[:3] >= second[:3] for first, second in pairwise(packed.entries)):
        raise ValueError("not entries: entries out of order")
    return [
        Entry(name, stamp, Author(packed.authors[author]), sequence, value)
        for name, author, sequence, stamp, value in packed.entries
    ]
