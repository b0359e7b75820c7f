"""One node's view of the mesh: columns over a roster, five bytes for each member."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import Standing
from bellande_mesh_sync.core.members.swim.pool import Pool
from bellande_mesh_sync.core.members.swim.roster import BUCKETS, Roster

UNKNOWN, ALIVE, SUSPECT, DEAD, ASLEEP, LEFT, REMOVED = (int(standing) for standing in Standing)

_WORD: Final = (1 << 64) - 1
_SPREAD: Final = (
    0, 1, 1, 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F,
)  # fmt: skip
"""Odd factors that tell standings apart in the sums. A suspicion is a thing of seconds: as if alive."""

FINGERPRINT_BYTES: Final = 16
_TRIES: Final = 24
_FEW: Final = 8
"""With fewer than one in this many members live, they are kept in a pool of their own."""


class View:
    """Who this node knows, and what it believes of each. Knows no messages and no time but ages."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.standings = bytearray()
        self._numbers = array("I")
        self._sums = array("Q", bytes(8 * BUCKETS))
        self.known_count = 0
        self.live_count = 0
        """Alive or suspect, this node included."""
        self.down = Pool()
        """Dead, asleep, left or removed."""
        self._since_ns: dict[int, int] = {}
        self._few: Pool | None = None

    def copy(self) -> View:
        """A view with the same members, none of them down: how a simulator makes many nodes at once."""
        assert not self.down, "only views without a past are copied"
        twin = View(self.roster)
        twin.standings = bytearray(self.standings)
        twin._numbers = self._numbers[:]
        twin._sums = self._sums[:]
        twin.known_count, twin.live_count = self.known_count, self.live_count
        return twin

    # -- questions

    def standing(self, index: int) -> int:
        return self.standings[index] if 0 <= index < len(self.standings) else UNKNOWN

    def number(self, index: int) -> int:
        return self._numbers[index]

    def record(self, index: int) -> MemberRecord:
        return self.roster.record(self._numbers[index])

    def incarnation(self, index: int) -> int:
        """Of a known member."""
        return self.roster.record(self._numbers[index]).incarnation

    def since_ns(self, index: int) -> int:
        """Since when it is down."""
        return self._since_ns[index]

    def known(self) -> Iterator[int]:
        """Cost: O(members)."""
        return (index for index, standing in enumerate(self.standings) if standing)

    def known_in(self, bucket: int) -> Iterator[int]:
        return (index for index in self.roster.by_bucket[bucket] if self.standing(index))

    # -- changes

    def put(self, index: int, number: int, standing: int, since_ns: int) -> None:
        """Believe this record and standing of a member from now on; a down one since `since_ns`."""
        if index >= len(self.standings):
            missing = index + 1 - len(self.standings)
            self.standings.extend(bytes(missing))
            self._numbers.extend([0] * missing)
        old = self.standings[index]
        if old:
            self._add(index, -1)
            if self._numbers[index] != number:
                self.roster.let_go(self._numbers[index])
        else:
            self.known_count += 1
        self.standings[index] = standing
        self._numbers[index] = number
        self._add(index, 1)
        self._file(index, old, standing, since_ns)

    def ban(self, index: int) -> None:
        """Know it no more, and never use its index again: others may hold it, as those who probe it now."""
        old = self.standings[index]
        self._add(index, -1)
        self.known_count -= 1
        self.standings[index] = UNKNOWN
        self._file(index, old, UNKNOWN, 0)

    def forget(self, index: int) -> None:
        """Cost: O(1) and the members of one bucket."""
        old = self.standings[index]
        self._add(index, -1)
        self.known_count -= 1
        self.standings[index] = UNKNOWN
        self._file(index, old, UNKNOWN, 0)
        self.roster.let_go(self._numbers[index])
        self.roster.forget(index)

    def _add(self, index: int, sign: int) -> None:
        amount = sign * self.roster.marks[self._numbers[index]] * _SPREAD[self.standings[index]]
        bucket = self.roster.nodes[index][0]
        self._sums[bucket] = (self._sums[bucket] + amount) & _WORD

    def _file(self, index: int, old: int, new: int, since_ns: int) -> None:
        was_live, is_live = old in (ALIVE, SUSPECT), new in (ALIVE, SUSPECT)
        self.live_count += is_live - was_live
        if new >= DEAD:
            self.down.add(index)
            self._since_ns[index] = since_ns
        else:
            self.down.discard(index)
            self._since_ns.pop(index, None)
        if self._few is not None:
            self._few.add(index) if is_live else self._few.discard(index)
        if was_live != is_live:
            self._weigh()

    def _weigh(self) -> None:
        if self._few is None and self.live_count * _FEW < self.known_count:
            self._few = Pool()
            for index in self.known():
                if self.standings[index] <= SUSPECT:
                    self._few.add(index)
        elif self._few is not None and self.live_count * _FEW > 2 * self.known_count:
            self._few = None

    # -- comparing

    def sums(self) -> bytes:
        # An array is in the machine's order; on the wire it is always little-endian.
        return b"".join(amount.to_bytes(8, "little") for amount in self._sums)

    def fingerprint(self) -> bytes:
        return blake3(memoryview(self._sums).cast("B")).digest(FINGERPRINT_BYTES)

    def buckets_unlike(self, sums: bytes) -> list[int]:
        mine = self.sums()
        return [n for n in range(BUCKETS) if mine[8 * n : 8 * n + 8] != sums[8 * n : 8 * n + 8]]

    # -- chance

    def choose_live(self, rng: random.Random, count: int, *without: int) -> list[int]:
        """Up to `count` different live members, none of them in `without`. Cost: O(count)."""
        chosen: list[int] = []
        standings, size, random_ = self.standings, len(self.standings), rng.random
        for _ in range(_TRIES + count):
            if self._few is not None:
                index = self._few.choose(rng) if self._few else 0
            else:
                index = int(random_() * size)
            if ALIVE <= standings[index] <= SUSPECT and index not in without and index not in chosen:
                chosen.append(index)
                if len(chosen) == count:
                    break
        return chosen

    def few(self) -> Pool | None:
        """The live members, if they are few among the known."""
        return self._few
