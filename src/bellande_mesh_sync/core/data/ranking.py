"""`max` and `min`: the largest or smallest value of all that were written, as its writer wrote it.

A write that has seen a better value carries that one on. So it makes no difference who had heard of whom,
and only a delete starts anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, NamedTuple

from bellande_mesh_sync.core.data.policy import Merging, Origin, Shown, newest_of
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.core.events import Write

_NUMBER: Final = re.compile(
    rb"[ \t\r\n]*(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,9})?)[ \t\r\n]*"
)


class Rank(NamedTuple):
    """Where a value stands: all numbers on one side of all that is no number."""

    is_number: bool
    number: Decimal
    data: bytes


class Ranked(Merging):
    """`max`: numbers by their value, above all that is no number; the rest by its bytes."""

    is_stateful = True

    def shown(self, siblings: Sequence[Record], wall_ms: int) -> Shown | None:
        best = self._best(siblings) or newest_of(siblings)
        return None if best is None else Shown(best, best.version)

    def stored(self, write: Write, seen: Sequence[Record], origin: Origin) -> tuple[str, bytes]:
        data = write.inline or b""
        best = self._best(seen)
        if best is None or self.first([self.rank(data), self.rank(best.inline or b"")]) == self.rank(data):
            return write.content_type, data
        return best.content_type, best.inline or b""

    def _best(self, siblings: Sequence[Record]) -> Record | None:
        values = [record for record in siblings if record.inline is not None and not record.is_tombstone]
        if not values:
            return None
        first = self.first(self.rank(record.inline or b"") for record in values)
        return max((r for r in values if self.rank(r.inline or b"") == first), key=order_of)

    def rank(self, data: bytes) -> Rank:
        number = number_of(data)
        return Rank(number is not None, number or Decimal(0), data)

    def first(self, ranks: Iterable[Rank]) -> Rank:
        return max(ranks)


class Lowest(Ranked):
    """`min`: numbers by their value, below all that is no number; the rest by its bytes."""

    def first(self, ranks: Iterable[Rank]) -> Rank:
        return min(ranks, key=lambda rank: (not rank.is_number, rank.number, rank.data))


def number_of(data: bytes) -> Decimal | None:
    """The number that this JSON text is, exactly; None for other bytes."""
    match = _NUMBER.fullmatch(data)
    if match is None:
        return None
    try:
        number = Decimal(match[1].decode())
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
