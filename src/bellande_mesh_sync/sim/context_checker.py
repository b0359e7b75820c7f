"""Whether a write replaces more than it may: what neither its node nor its client had read.

Such a write loses another one without a trace, and every node agrees on the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.events import Receipt, Write
from bellande_mesh_sync.ids import Author, Dot, parse_version
from bellande_mesh_sync.sim.checkers import Disk, Violation
from bellande_mesh_sync.sim.trace import in_words

Held = Mapping[Author, Mapping[int, int]]
"""The dots of a shard that a disk knows: by author, the last number of each interval by its first."""


class ContextChecker:
    """Compares the context of each write with what its node's disk knew when the write came to it."""

    def __init__(self) -> None:
        self._by_key: dict[str, dict[Dot, Record]] = {}
        """Every version that ever was on a disk."""
        self._unread: dict[tuple[int, str, Dot], list[Record]] = {}
        """By node and write: what it replaces though its node had not seen it; its client may have."""

    def applied(self, disk: Disk, batch: Batch) -> None:
        """A write is on its own node's disk first, and by then all that it saw there is durable too."""
        for shard, record in batch.puts:
            versions = self._by_key.setdefault(record.key, {})
            if record.dot in versions:
                continue
            versions[record.dot] = record
            held = disk.platter.intervals.get(shard, {})
            if not _is_known(held, record.context):
                unread = list(_unread_by(record, versions, held))
                if unread:
                    self._unread[disk.index, record.key, record.dot] = unread

    def resolved(self, index: int, writes: Sequence[Write], receipts: Sequence[Receipt]) -> None:
        """A client of this node got these receipts for what it asked."""
        for write, receipt in zip(writes, receipts, strict=True):
            # An earlier write of the request may have replaced it, and this one that.
            read = [other.context for other in writes if other.key == write.key and other.context]
            for lost in self._unread.pop((index, write.key, parse_version(receipt.version)), ()):
                if not any(_covers(context, lost) for context in read):
                    what = f"{receipt.version} replaces {in_words(lost)}, which nobody had read"
                    raise Violation("context", f"n{index}", what)


def _unread_by(record: Record, versions: Mapping[Dot, Record], held: Held) -> Iterator[Record]:
    """What the record replaces, and neither was on its node's disk nor replaced by something that was."""
    replaced = {author: (base, extras) for author, base, extras in record.context}
    read: list[Record] = []
    unread: list[Record] = []
    for other in versions.values():
        base, extras = replaced.get(other.author, (0, ()))
        if other.sequence <= base or other.sequence in extras:
            (read if _knows(held, other.author, other.sequence) else unread).append(other)
    if not unread:
        return
    bases: dict[Author, int] = {}
    singles: set[Dot] = set()
    for author, base, extras in (entry for successor in read for entry in successor.context):
        bases[author] = max(base, bases.get(author, 0))
        singles.update(Dot(author, extra) for extra in extras)
    for other in unread:
        if other.sequence > bases.get(other.author, 0) and other.dot not in singles:
            yield other


def _is_known(held: Held, context: Context) -> bool:
    """The usual case, quickly: all that the context covers was on the disk, also of other keys."""
    return all(max(base, *extras, 0) <= held.get(author, {}).get(1, 0) for author, base, extras in context)


def _knows(held: Held, author: Author, sequence: int) -> bool:
    return any(low <= sequence <= high for low, high in held.get(author, {}).items())


def _covers(context: Context, record: Record) -> bool:
    return any(
        author == record.author and (record.sequence <= base or record.sequence in extras)
        for author, base, extras in context
    )
