"""Cuts: for each author of a shard a number, up to which something holds of its writes.

A record is within a cut if its own number is, and the numbers of all that it replaced are. Three cuts are
kept of a shard, each within the one before:

- *stable*: every owner is known to have all of this, and so is what each of them had written by then;
- *settled*: of all of this every owner is known to know that it is stable;
- *collected*: tombstones up to here have been dropped on this node.

(Causal stability; Baquero, Almeida, Shoker, DAIS 2014. docs/decisions/0013-tombstones.md has the proof.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Author

Cut: TypeAlias = Mapping[Author, int]
CutTold: TypeAlias = tuple[tuple[Author, int], ...]
"""As it travels and is stored: sorted by author, numbers above 0."""


def is_within(record: Record, cut: Cut) -> bool:
    """Whether the record and everything it has replaced are within the cut."""
    if record.sequence > cut.get(record.author, 0):
        return False
    return all(
        (extras[-1] if extras else base) <= cut.get(author, 0) for author, base, extras in record.context
    )


def told(cut: Cut) -> CutTold:
    return tuple([(author, cut[author]) for author in sorted(cut) if cut[author]])


def lowest(cuts: Iterable[Cut]) -> dict[Author, int]:
    """What is within all of these cuts; there is at least one."""
    first, *others = cuts
    result = dict(first)
    for other in others:
        result = {author: min(number, other.get(author, 0)) for author, number in result.items()}
    return {author: number for author, number in result.items() if number}


def highest(one: Cut, other: Cut) -> Cut:
    """What is within one of these cuts or the other."""
    if not other or one == other:
        return one
    return {author: max(one.get(author, 0), other.get(author, 0)) for author in (*one, *other)}


def raise_by(cut: dict[Author, int], record: Record) -> None:
    """Let the cut have the record within it."""
    cut[record.author] = max(cut.get(record.author, 0), record.sequence)
    for author, base, extras in record.context:
        cut[author] = max(cut.get(author, 0), extras[-1] if extras else base)


def is_known(cut: Iterable[tuple[Author, int]], knowledge: Knowledge) -> bool:
    """Whether every number up to the cut is known."""
    return all(knowledge.contiguous(author) >= number for author, number in cut)


def contiguous_cut(delta: Delta) -> dict[Author, int]:
    """Up to where a knowledge has no gap."""
    return {author: ranges[0][1] for author, ranges in delta if ranges and ranges[0][0] == 1}
