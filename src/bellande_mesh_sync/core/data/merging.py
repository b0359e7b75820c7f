"""Merging: what a function that settles conflicts is given, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.ids import node_of, stamp_ms


class Sibling(Struct, frozen=True):
    """One of several values that stand beside each other under a key: their writers did not know of each
    other's write."""

    data: bytes
    version: str
    author: str
    """Node id of the writer."""
    time_ms: int
    """The writer's hybrid clock, in milliseconds since 1970. Two siblings may have the same."""
    content_type: str


Merge: TypeAlias = Callable[[Sequence[Sibling]], bytes]
"""The one value that two or more siblings stand for.

Nodes call it at different times, on different sets of siblings, and on what it returned elsewhere. They
end with the same value only if it depends on nothing but the siblings, not on their order or number:
commutative, associative, idempotent.
"""


def siblings_of(records: Iterable[Record], data_of: Callable[[Record], bytes]) -> tuple[Sibling, ...]:
    """The values among these records in the order in which every node gives them to a merge function:
    by stamp, then by dot. A delete has no value, so a write that it did not know of outlives it."""
    values = sorted((record for record in records if not record.is_tombstone), key=order_of)
    return tuple(
        Sibling(
            data_of(record),
            record.version,
            node_of(record.author).hex(),
            stamp_ms(record.stamp),
            record.content_type,
        )
        for record in values
    )
