"""A set of small numbers with O(1) random choice, in an order that does not depend on hashing."""

from __future__ import annotations

import random
from collections.abc import Iterator


class Pool:
    __slots__ = ("_items", "_places")

    def __init__(self) -> None:
        self._items: list[int] = []
        self._places: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, item: int) -> bool:
        return item in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._items)

    def __getitem__(self, place: int) -> int:
        return self._items[place]

    def add(self, item: int) -> None:
        if item not in self._places:
            self._places[item] = len(self._items)
            self._items.append(item)

    def discard(self, item: int) -> None:
        place = self._places.pop(item, -1)
        if place < 0:
            return
        last = self._items.pop()
        if last != item:
            self._items[place] = last
            self._places[last] = place

    def choose(self, rng: random.Random) -> int:
        return self._items[int(rng.random() * len(self._items))]
