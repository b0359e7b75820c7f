"""What a merge function must do so that all nodes end with the same, tried on siblings that occurred."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, permutations
from typing import Final

import msgspec
from msgspec import Struct

from bellande_mesh_sync.core.data.merging import Merge, Sibling

ALL_ORDERS_MAX: Final = 4
"""Up to so many siblings every order and every part is tried, beyond it a few of each."""
_SHOWN_BYTES_MAX: Final = 200


class BrokenLaw(Struct, frozen=True):
    law: str
    told: str
    """What was tried and what came of it, for whoever wrote the function."""


class _Broken(Exception):
    def __init__(self, law: str, told: str) -> None:
        self.law = BrokenLaw(law, told)


def broken_law(merge: Merge, siblings: Sequence[Sibling]) -> BrokenLaw | None:
    """The first law that `merge` breaks on these siblings (two or more, in their fixed order).

    - total: it returns bytes and raises nothing, and leaves the siblings as they are.
    - deterministic: the same siblings give the same bytes again.
    - commutative: the order of the siblings does not matter.
    - idempotent: what it returned, merged with itself or with a sibling that is in it already, stays.
    - associative: what it returned for some of the siblings, merged with the others, is what all give.

    What it returned for a part stands in the place of the newest of that part, with its version, author
    and time.
    """
    try:
        _check(merge, tuple(siblings))
    except _Broken as found:
        return found.law
    return None


def _check(merge: Merge, siblings: tuple[Sibling, ...]) -> None:
    merged = _call(merge, siblings)
    _same("deterministic", merged, _call(merge, siblings), "called again with the same siblings")
    for order in _orders(siblings):
        names = " ".join(str(siblings.index(sibling) + 1) for sibling in order)
        _same("commutative", merged, _call(merge, order), f"with the siblings in the order {names}")
    whole = _standing_for(siblings, merged)
    twin = msgspec.structs.replace(siblings[0], data=merged)
    _same("idempotent", merged, _call(merge, (twin, whole)), "merged with itself, as two nodes wrote it back")
    for number, sibling in enumerate(siblings[:-1], 1):
        told = f"merged with sibling {number}, which is in it already"
        _same("idempotent", merged, _call(merge, (sibling, whole)), told)
    for part in _parts(siblings):
        rest = [sibling for sibling in siblings if sibling not in part]
        of_part = _standing_for(part, _call(merge, part))
        together = sorted([*rest, of_part], key=lambda sibling: _place(siblings, sibling))
        names = " and ".join(str(siblings.index(sibling) + 1) for sibling in part)
        _same("associative", merged, _call(merge, together), f"with siblings {names} merged beforehand")


def _call(merge: Merge, siblings: Sequence[Sibling]) -> bytes:
    try:
        merged = merge(list(siblings))
    except Exception as error:
        raise _Broken("total", f"it raised {error!r}") from error
    if type(merged) is not bytes:
        raise _Broken("total", f"it returned {type(merged).__name__} and not bytes: {shown(merged)}")
    return merged


def _same(law: str, merged: bytes, again: bytes, how: str) -> None:
    if merged != again:
        raise _Broken(law, f"at first: {shown(merged)}\n{how}: {shown(again)}")


def _standing_for(part: Sequence[Sibling], merged: bytes) -> Sibling:
    return msgspec.structs.replace(part[-1], data=merged)


def _place(siblings: Sequence[Sibling], sibling: Sibling) -> int:
    return [each.version for each in siblings].index(sibling.version)


def _orders(siblings: tuple[Sibling, ...]) -> Iterable[tuple[Sibling, ...]]:
    if len(siblings) <= ALL_ORDERS_MAX:
        return permutations(siblings)
    return _few_orders(siblings)


def _few_orders(siblings: tuple[Sibling, ...]) -> Iterator[tuple[Sibling, ...]]:
    """Backwards, and each two neighbours exchanged: enough to make any order."""
    yield siblings[::-1]
    for index in range(len(siblings) - 1):
        yield (*siblings[:index], siblings[index + 1], siblings[index], *siblings[index + 2 :])


def _parts(siblings: tuple[Sibling, ...]) -> Iterable[tuple[Sibling, ...]]:
    """Two or more siblings, but not all."""
    count = len(siblings)
    if count <= ALL_ORDERS_MAX:
        return (part for size in range(2, count) for part in combinations(siblings, size))
    return (siblings[:cut] for cut in range(2, count))


def shown(value: object) -> str:
    if isinstance(value, bytes | str) and len(value) > _SHOWN_BYTES_MAX:
        return f"{value[:_SHOWN_BYTES_MAX]!r}... ({len(value)} long)"
    text = repr(value)
    return text if len(text) <= _SHOWN_BYTES_MAX else f"{text[:_SHOWN_BYTES_MAX]}... ({len(text)} characters)"
