"""How many siblings local writes may pile up under a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.events import Write

SIBLINGS_MAX: Final = 32
"""A program that always writes blind would let a key, and every look at it, grow for ever."""


def beyond_cap(writes: Sequence[Write], held: Mapping[str, Sequence[Record]]) -> str | None:
    """The first key that one of these writes would give a sibling too many, or None.

    A write that replaces at least one sibling may go in however many there are: what peers bring is always
    kept, and somebody must be able to tidy up.
    """
    added: dict[str, int] = {}
    """By key, how many siblings the writes before in this batch leave that are not in `held`."""
    left = dict(held)
    for write in writes:
        if write.key not in left:
            continue
        if write.context is None:
            left[write.key], added[write.key] = (), 1
            continue
        context, siblings = write.context, left[write.key]
        kept = [s for s in siblings if not covers(context, s.author, s.sequence)]
        count = len(kept) + added.get(write.key, 0) + 1
        if count > SIBLINGS_MAX and len(kept) == len(siblings):
            return write.key
        left[write.key], added[write.key] = kept, added.get(write.key, 0) + 1
    return None
