"""Nearest: which node ids lie closest to a point, by XOR distance."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from itertools import islice

from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId


class NearestIndex:
    """Node ids in order. Of sorted numbers, those that begin with the same bits stand together: the
    list is a prefix tree that takes no room, and a branch of it is found by bisection.

    Source: the distance of Kademlia (Maymounkov, Mazieres; IPTPS 2002), section 2.1.
    """

    def __init__(self, nodes: Iterable[NodeId] = ()) -> None:
        self._numbers = sorted({_number(node) for node in nodes})

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, node: NodeId) -> None:
        """Adding one that is there changes nothing. Cost: O(log n) comparisons and one memmove."""
        if not self._holds(_number(node)):
            insort(self._numbers, _number(node))

    def discard(self, node: NodeId) -> None:
        """Cost: as `add`."""
        if self._holds(_number(node)):
            del self._numbers[bisect_left(self._numbers, _number(node))]

    def _holds(self, number: int) -> bool:
        index = bisect_left(self._numbers, number)
        return index < len(self._numbers) and self._numbers[index] == number

    def nearest(self, point: bytes, count: int) -> list[NodeId]:
        """The `count` ids with the smallest XOR distance to `point` (32 bytes), nearest first.

        All of them if there are not that many. Cost: O(count + log n) bisections.
        """
        return list(islice(self.ranked(point), count))

    def ranked(self, point: bytes) -> Iterator[NodeId]:
        """All ids by their distance to `point`, as far as one asks. None may come or go meanwhile."""
        numbers, target = self._numbers, int.from_bytes(point, "big")
        branches = [(0, len(numbers))] if numbers else []
        while branches:
            low, high = branches.pop()
            if high - low == 1:
                yield NodeId(numbers[low].to_bytes(NODE_ID_BYTES, "big"))
                continue
            # Up to this bit all of the branch are alike, so they are equally far as far as it goes.
            bit = (numbers[low] ^ numbers[high - 1]).bit_length() - 1
            middle = bisect_left(numbers, numbers[high - 1] >> bit << bit, low, high)
            zeros, ones = (low, middle), (middle, high)
            branches += (zeros, ones) if target >> bit & 1 else (ones, zeros)


def _number(node: NodeId) -> int:
    return int.from_bytes(node, "big")
