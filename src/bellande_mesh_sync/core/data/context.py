"""Contexts: which dots of one key a write had seen, and therefore replaces.

A context lists, for each author that ever wrote the key, a *base* and *extras*: every dot of that
author up to the base was seen, and beyond it just the extras. The extras are there for a node
that has an author's 7th write but not yet its 6th: claiming "up to 7" would wipe out a 6th that
nobody here has read. (Dotted version vectors; Goncalves et al., DottedDB, SRDS 2017.)
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Final, TypeAlias

import msgspec

from bellande_mesh_sync.ids import AUTHOR_BYTES, SEQUENCE_MAX, Author, Dot

ContextEntry: TypeAlias = tuple[Author, int, tuple[int, ...]]
Context: TypeAlias = tuple[ContextEntry, ...]
"""Sorted by author; extras sorted, each above the base."""

CONTEXT_OF_ALL: Final = "*"
"""As a text: what stands for a context that is too long to be carried around."""
AUTHORS_MAX: Final = 8_192
EXTRAS_MAX: Final = 65_536


def covers(context: Context, author: Author, sequence: int) -> bool:
    """Whether the writer of `context` had seen this dot."""
    for entry_author, base, extras in context:
        if entry_author == author:
            return sequence <= base or sequence in extras
    return False


def includes(context: Context, other: Context) -> bool:
    """Whether the writer of `context` had surely seen all that the writer of `other` had."""
    known = {author: (base, extras) for author, base, extras in context}
    for author, base, extras in other:
        seen_base, seen_extras = known.get(author, (0, ()))
        if base > seen_base or any(extra > seen_base and extra not in seen_extras for extra in extras):
            return False
    return True


def join(
    contexts: Iterable[Context], dots: Iterable[Dot], contiguous: Callable[[Author], int], *,
    names_each: bool = False,
) -> Context:  # fmt: skip
    """The context of a write by someone who has seen all these contexts and dots.

    Args:
        contiguous: for an author, the sequence number up to which this node has seen every write
            in the shard; only up to there may single dots be folded into a base.
        names_each: each of `dots` can be read from the context, as a base or an extra. Without it the last
            of several by one author hides the others; longer only where one has several.

    Cost: O(total entries).
    """
    bases: dict[Author, int] = {}
    singles: dict[Author, set[int]] = {}
    for context in contexts:
        for author, base, extras in context:
            bases[author] = max(bases.get(author, 0), base)
            if extras:
                singles.setdefault(author, set()).update(extras)
    lowest: dict[Author, int] = {}
    for author, sequence in dots:
        bases.setdefault(author, 0)
        singles.setdefault(author, set()).add(sequence)
        if names_each:
            lowest[author] = min(sequence, lowest.get(author, sequence))
    return tuple(
        _entry(
            author,
            bases[author],
            singles.get(author, set()),
            min(contiguous(author), lowest.get(author, SEQUENCE_MAX)),
        )
        for author in sorted(bases)
    )


def _entry(author: Author, base: int, singles: set[int], fold_up_to: int) -> ContextEntry:
    foldable = [sequence for sequence in singles if sequence <= fold_up_to]
    base = max(base, max(foldable, default=0))
    return (author, base, tuple(sorted(sequence for sequence in singles if sequence > base)))


def context_text(context: Context) -> str:
    """A context as callers carry it around: opaque, safe in URLs and headers."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(context)).rstrip(b"=").decode()


def parse_context(text: str) -> Context:
    """The context in a text made by `context_text`; ValueError for anything else."""
    padded = text + "=" * (-len(text) % 4)
    try:
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        context = msgspec.msgpack.decode(raw, type=tuple[tuple[bytes, int, tuple[int, ...]], ...])
    except (ValueError, msgspec.MsgspecError) as error:
        raise ValueError(f"not a context: {text[:80]!r}") from error
    if not _is_sound(context):
        raise ValueError(f"not a context: {text[:80]!r}")
    return tuple((Author(author), base, extras) for author, base, extras in context)


def _is_sound(context: tuple[tuple[bytes, int, tuple[int, ...]], ...]) -> bool:
    """Whether peers would take it: a record that they refuse would cost us every link."""
    if len(context) > AUTHORS_MAX or sum(len(extras) for _, _, extras in context) > EXTRAS_MAX:
        return False
    before = b""
    for author, base, extras in context:
        if len(author) != AUTHOR_BYTES or author <= before:
            return False
        before = author
        numbers = (base, *extras)
        if base < 0 or numbers[-1] > SEQUENCE_MAX:
            return False
        if any(low >= high for low, high in pairwise(numbers)):
            return False
    return True
