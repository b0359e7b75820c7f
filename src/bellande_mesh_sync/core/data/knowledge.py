"""Knowledge: the set of dots a node has seen in a shard, per author an interval set."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from bellande_mesh_sync.ids import Author

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Inclusive (low, high) pairs: sorted, disjoint and not touching."""

Delta: TypeAlias = tuple[tuple[Author, Ranges], ...]
"""Ranges per author, sorted by author: a knowledge, or the difference of two, as it travels."""


class IntervalSet:
    """A set of positive integers as sorted disjoint inclusive intervals; nearly always just one."""

    __slots__ = ("highs", "lows")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.lows: list[int] = []
        self.highs: list[int] = []
        for low, high in ranges:
            self.add(low, high)

    def add(self, low: int, high: int) -> tuple[tuple[int, int], list[int]]:
        """Add low..high; return the interval it became and the lows of the intervals it absorbed.

        (What a store needs to keep one row per interval.) Cost: O(log n) plus what it absorbs.
        """
        lows, highs = self.lows, self.highs
        if lows and low == highs[-1] + 1:  # The common case by far: the next number.
            highs[-1] = high
            return (lows[-1], high), [lows[-1]]
        first = bisect_left(highs, low - 1)
        last = bisect_right(lows, high + 1)
        absorbed = lows[first:last]
        if absorbed:
            low = min(low, absorbed[0])
            high = max(high, highs[last - 1])
        lows[first:last] = [low]
        highs[first:last] = [high]
        return (low, high), absorbed

    def remove(self, low: int, high: int) -> None:
        """Take low..high out. Cost: O(log n) plus what it takes out."""
        first = bisect_left(self.highs, low)
        last = bisect_right(self.lows, high)
        if first >= last:
            return
        left = [(self.lows[first], low - 1)] if self.lows[first] < low else []
        right = [(high + 1, self.highs[last - 1])] if self.highs[last - 1] > high else []
        self.lows[first:last] = [start for start, _ in left + right]
        self.highs[first:last] = [end for _, end in left + right]

    def contains(self, number: int) -> bool:
        index = bisect_left(self.highs, number)
        return index < len(self.lows) and self.lows[index] <= number

    def contains_range(self, low: int, high: int) -> bool:
        index = bisect_left(self.highs, high)
        return index < len(self.lows) and self.lows[index] <= low

    def missing_from(self, other: IntervalSet) -> Ranges:
        """What `other` has and this set lacks."""
        return tuple(gap for low, high in other for gap in self.gaps(low, high))

    def gaps(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """The parts of low..high that are not in this set."""
        index = bisect_left(self.highs, low)
        while low <= high:
            if index >= len(self.lows) or self.lows[index] > high:
                yield (low, high)
                return
            if self.lows[index] > low:
                yield (low, self.lows[index] - 1)
            low = self.highs[index] + 1
            index += 1

    @property
    def contiguous(self) -> int:
        """The largest n with all of 1..n in the set."""
        return self.highs[0] if self.lows and self.lows[0] == 1 else 0

    @property
    def last(self) -> int:
        return self.highs[-1] if self.highs else 0

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.lows, self.highs, strict=True)

    def __bool__(self) -> bool:
        return bool(self.lows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IntervalSet) and self.lows == other.lows and self.highs == other.highs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)})"


class Knowledge:
    """All dots seen in one shard."""

    __slots__ = ("_authors", "_delta")

    def __init__(self, delta: Delta = ()) -> None:
        self._authors: dict[Author, IntervalSet] = {}
        self._delta: Delta | None = None
        """As it travels; made when asked for, and good until the next `add`."""
        for author, ranges in delta:
            for low, high in ranges:
                self.add(author, low, high)

    def add(self, author: Author, low: int, high: int) -> tuple[tuple[int, int], list[int]]:
        """As `IntervalSet.add`, for one author."""
        self._delta = None
        return self.of(author).add(low, high)

    def of(self, author: Author) -> IntervalSet:
        found = self._authors.get(author)
        if found is None:
            found = self._authors[author] = IntervalSet()
        return found

    def contains(self, author: Author, sequence: int) -> bool:
        found = self._authors.get(author)
        return found is not None and found.contains(sequence)

    def contains_range(self, author: Author, low: int, high: int) -> bool:
        found = self._authors.get(author)
        return found is not None and found.contains_range(low, high)

    def contiguous(self, author: Author) -> int:
        found = self._authors.get(author)
        return 0 if found is None else found.contiguous

    def last(self, author: Author) -> int:
        found = self._authors.get(author)
        return 0 if found is None else found.last

    def missing_from(self, other: Delta) -> Delta:
        """The dots of `other` that are not known here. Cost: O(authors and intervals of `other`)."""
        result: list[tuple[Author, Ranges]] = []
        for author, ranges in other:
            mine = self._authors.get(author)
            if mine is None:
                gaps = ranges
            elif len(ranges) == 1 and mine.contains_range(*ranges[0]):
                continue  # The common case by far: one interval, and all of it known.
            else:
                gaps = tuple(gap for low, high in ranges for gap in mine.gaps(low, high))
            if gaps:
                result.append((author, gaps))
        return tuple(result)

    def merge(self, delta: Delta) -> None:
        for author, ranges in delta:
            for low, high in ranges:
                self.add(author, low, high)

    def remove(self, delta: Delta) -> None:
        """No longer know these dots."""
        self._delta = None
        for author, ranges in delta:
            known = self._authors.get(author)
            if known is None:
                continue
            if len(ranges) > len(known.lows):
                # Many holes in few intervals: what is left is quicker made anew than cut out bit by bit.
                kept = IntervalSet(ranges).missing_from(known)
                self._authors[author] = IntervalSet(kept)
            else:
                for low, high in ranges:
                    known.remove(low, high)

    def delta(self) -> Delta:
        """All of it, in the form that travels."""
        if self._delta is None:
            held = sorted(self._authors.items())
            self._delta = tuple([(author, tuple(ranges)) for author, ranges in held if ranges])
        return self._delta

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Knowledge) and self.delta() == other.delta()

    __hash__ = None  # type: ignore[assignment]


def parts_of(delta: Delta, ranges_max: int) -> Iterator[Delta]:
    """The delta in pieces of at most `ranges_max` ranges, so that each fits a message; at least one."""
    part: list[tuple[Author, Ranges]] = []
    room = ranges_max
    for author, ranges in delta:
        start = 0
        while start < len(ranges):
            taken = ranges[start : start + room]
            part.append((author, taken))
            start += len(taken)
            room -= len(taken)
            if not room:
                yield tuple(part)
                part, room = [], ranges_max
    if part or not delta:
        yield tuple(part)


def count_of(delta: Delta) -> int:
    """How many dots a delta holds."""
    return sum(high - low + 1 for _, ranges in delta for low, high in ranges)
