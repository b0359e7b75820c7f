"""In which order members are probed: each once a round, in a new order each round, with no list kept."""

from __future__ import annotations

import random

from bellande_mesh_sync.core.members.swim.view import ALIVE, SUSPECT, View


class ProbeOrder:
    """A walk k -> (a k + b) mod 2^n over all indexes: a permutation for every odd a.

    Round robin bounds the time until a member is probed by two rounds (SWIM, section 4.3); a shuffled
    list would do the same for four more bytes a member.
    """

    __slots__ = ("_factor", "_few", "_mask", "_offset", "_own", "_rng", "_step")

    def __init__(self, own: int, rng: random.Random) -> None:
        self._own = own
        self._rng = rng
        self._mask = self._step = self._factor = self._offset = 0
        self._step = 1  # The walk of one step is over: the first call begins a new one.
        self._few: list[int] = []

    def next(self, view: View) -> int:
        """The next live member, or -1 if there is none but us. Cost: O(1) on average."""
        if view.live_count < 2:
            return -1
        if view.few() is not None:
            return self._next_of_few(view)
        standings, size = view.standings, len(view.standings)
        for _ in range(2):
            while self._step <= self._mask:
                index = (self._factor * self._step + self._offset) & self._mask
                self._step += 1
                if index < size and ALIVE <= standings[index] <= SUSPECT and index != self._own:
                    return index
            self._shuffle(size)
        return self.next(view)  # The walk was from a time when none of the live was there.

    def _shuffle(self, size: int) -> None:
        self._mask = (1 << (size - 1).bit_length()) - 1
        self._factor = int(self._rng.random() * (self._mask + 1)) | 1
        self._offset = int(self._rng.random() * (self._mask + 1))
        self._step = 0

    def _next_of_few(self, view: View) -> int:
        while True:
            while self._few:
                index = self._few.pop()
                if ALIVE <= view.standing(index) <= SUSPECT and index != self._own:
                    return index
            pool = view.few()
            assert pool is not None
            self._few = list(pool)
            self._rng.shuffle(self._few)
