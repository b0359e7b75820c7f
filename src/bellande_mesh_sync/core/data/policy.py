"""What a space does about siblings: what a reader is shown of them, and what a write puts into its record.

Everything in here is a function of the siblings alone, not of their order, the node or the time. So nodes
that hold the same records show the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec
from blake3 import blake3
from msgspec import Struct

from bellande_mesh_sync.core.data.policies import visible
from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, Record, order_of
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.ids import Author, Stamp

_SET_BYTES: Final = 16
"""Of the hash over a set of versions; enough that no two sets ever share it."""


class Shown(Struct, frozen=True):
    """What a reader sees of a key."""

    record: Record
    """Where its author and time come from. Its size, digest, type and bytes are those of what is shown."""
    version: str


class Misfit(Exception):
    """A value that its space cannot take; the text says why."""


class Origin(Struct, frozen=True):
    """Which write a value comes from."""

    author: Author
    sequence: int
    stamp: Stamp


class Policy:
    """`lww` and `siblings`: the sibling with the latest stamp is shown."""

    merges: ClassVar[bool] = False
    """Whether siblings are made into one value, so that nobody has to settle anything."""
    is_stateful: ClassVar[bool] = False
    """Whether records hold something else than what was written, so that `stored` must be asked."""
    takes_context: ClassVar[bool] = True
    """Whether a writer may say what it has seen. If not, that is always all that its node holds."""
    takes_add: ClassVar[bool] = False
    size_bytes_max: ClassVar[int | None] = None
    """Of a value; None: as large as it likes."""

    def shown(self, siblings: Sequence[Record], wall_ms: int) -> Shown | None:
        """What a reader of these siblings sees; None if the key counts as gone."""
        record = visible(siblings, wall_ms)
        return None if record is None else Shown(record, record.version)

    def version(self, siblings: Sequence[Record], wall_ms: int) -> str:
        """The version that `shown` tells; empty if the key counts as gone."""
        shown = self.shown(siblings, wall_ms)
        return "" if shown is None else shown.version

    def check(self, write: Write) -> None:
        """Raises Misfit for a value that has no meaning in such a space."""

    def relevant(self, siblings: Sequence[Record]) -> Sequence[Record]:
        """The siblings that an `add` takes in, and therefore replaces."""
        return siblings

    def stored(self, write: Write, seen: Sequence[Record], origin: Origin) -> tuple[str, bytes]:
        """Content type and bytes of the record of this write, whose writer has seen these siblings.

        Raises Misfit. Only asked where `is_stateful`, and of a value.
        """
        raise AssertionError("only a stateful policy makes something else of a value")


class Merging(Policy):
    """What all policies share that look at the values. A delete that did not know of a value loses to it."""

    merges = True
    size_bytes_max = INLINE_BYTES_MAX

    def check(self, write: Write) -> None:
        if write.inline is None:
            raise Misfit(too_large(write.size))


def too_large(size_bytes: int) -> str:
    return f"it has {size_bytes} bytes, and {INLINE_BYTES_MAX} are the most that is merged"


def newest_of(siblings: Sequence[Record]) -> Record | None:
    """The latest value, whatever deletes stand beside it. What is shown where nothing fits a policy."""
    values = [record for record in siblings if not record.is_tombstone]
    return max(values, key=order_of, default=None)


def as_shown(record: Record, content_type: str, data: bytes) -> Record:
    """This record with other bytes, for readers."""
    return msgspec.structs.replace(
        record, size=len(data), digest=blake3(data).digest(), content_type=content_type, inline=data,
        manifest=None,
    )  # fmt: skip


def version_of(newest: Record, siblings: Sequence[Record]) -> str:
    """The name of what these siblings make together: of one its own, of several one that no record has.

    It stands for this very set, so it changes whenever a sibling comes or goes.
    """
    if len(siblings) == 1:
        return newest.version
    versions = "\n".join(sorted(record.version for record in siblings))
    return f"{newest.version}+{blake3(versions.encode()).hexdigest(length=_SET_BYTES)}"
