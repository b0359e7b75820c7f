"""Letting go: a node that is no owner of what it holds hands it to the owners, and only then forgets it.

What it holds may be left from when it was an owner, or a *hint*: its own writes, or others', that came here
because the writer saw other owners. It asks each owner whether it has all of that on its disk, as an owner.
Only when all of them have said so, and nothing was added meanwhile, does it forget the records, in one batch.

An owner that says so does not let go itself before it has asked in turn, and asking anew is what becoming an
owner and ceasing to be one means here: rounds are forgotten whenever members change. So two nodes cannot let
go because of each other's word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Delta, parts_of
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import CloseChanges, Effect, NextPage, OpenChanges, Send
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.messages import HoldAnswer, HoldWant
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.ids import Dot, NodeId, Now, Shard

ASKED_PER_TICK: Final = 64
"""Shards that owners are asked about at once."""
ASK_AGAIN_NS: Final = 5_000_000_000
KNOWLEDGE_RANGES_MAX: Final = 8_192
"""Ranges in one question, so that it fits a frame."""
READING_AT_ONCE: Final = 2
FIRST_READING: Final = -(1 << 50)
"""Numbers of views from here down are given here; others have those above."""


@dataclass(slots=True, eq=False)
class Round:
    """One asking of all owners of a shard."""

    shard: Shard
    knowledge: Delta
    owners: tuple[NodeId, ...]
    numbers: tuple[int, ...]
    asked_ns: int
    answers: set[tuple[NodeId, int]] = field(default_factory=set)
    """Who said yes to which part."""
    asked: set[NodeId] = field(default_factory=set)

    @property
    def is_agreed(self) -> bool:
        return all((owner, number) in self.answers for owner in self.owners for number in self.numbers)


@dataclass(slots=True, eq=False)
class Reading:
    """The keys of a shard being read, to be forgotten together."""

    round: Round
    rows: list[tuple[str, Dot]] = field(default_factory=list)


class Release:
    """Which shards are held here without being ours, and how far their hand-over is."""

    def __init__(
        self, local: NodeId, placement: Placement, links: Links, replica: Replica, counters: Counters
    ) -> None:
        self._local = local
        self._placement = placement
        self._links = links
        self._replica = replica
        self._counters = counters
        self._rounds: dict[Shard, Round] = {}
        self._agreed: dict[Shard, Round] = {}
        """Those that all owners have said yes to."""
        self._readings: dict[int, Reading] = {}
        self._numbers: dict[int, Shard] = {}
        self._left: dict[Shard, Delta] = {}
        """What was still known of a shard after it was let go."""
        self._next_number = 1
        self._next_reading = FIRST_READING
        self.unreached: tuple[NodeId, ...] = ()
        """Owners that have to be asked, and that there is no link with."""

    def __len__(self) -> int:
        return len(self._rounds)

    def members_changed(self) -> list[Effect]:
        """What owners have said counts no more: they, or we, may not be owners now."""
        effects: list[Effect] = [CloseChanges(reading) for reading in self._readings]
        self._readings.clear()
        self._rounds.clear()
        self._agreed.clear()
        self._numbers.clear()
        return effects

    def foreign(self) -> list[Shard]:
        """The shards that are held here and should not be. Cost: O(shards held)."""
        return [
            shard
            for shard, state in self._replica.shards()
            if self._placement.is_placed(shard)
            and self._placement.fits(shard)
            and not self._placement.is_mine(shard)
            and not self._is_let_go(shard, state.committed.delta())
        ]

    def _is_let_go(self, shard: Shard, known: Delta) -> bool:
        """Nothing is left but a number of our own that stands for no record (see `Replica.release`).

        After a restart nobody remembers that it is one: then the owners are asked about it once more.
        """
        return self._replica.shard(shard).seen.delta() == known and known in ((), self._left.get(shard))

    # -- the half that asks

    def tick(self, now: Now) -> list[Effect]:
        """Ask the owners of what is not ours, and forget rounds that are of no use any more."""
        effects: list[Effect] = []
        unreached: dict[NodeId, None] = {}
        room = ASKED_PER_TICK
        for shard in self.foreign():
            running = self._rounds.get(shard)
            if running is not None and self._is_fresh(running, now):
                unreached.update((owner, None) for owner in running.owners if owner not in running.asked)
            elif room:
                room -= 1
                effects += self._ask(shard, now)
        self.unreached = tuple(unreached)
        return effects

    def _is_fresh(self, round: Round, now: Now) -> bool:
        return now.mono_ns - round.asked_ns < ASK_AGAIN_NS and self._stands(round)

    def _stands(self, round: Round) -> bool:
        """Whether what was asked about is still what is here, and no more, all of it durable."""
        state = self._replica.shard(round.shard)
        return state.committed.delta() == round.knowledge == state.seen.delta()

    def _ask(self, shard: Shard, now: Now) -> list[Effect]:
        before = self._rounds.pop(shard, None)
        for number in before.numbers if before is not None else ():
            self._numbers.pop(number, None)
        knowledge = self._replica.shard(shard).committed.delta()
        parts = tuple(parts_of(knowledge, KNOWLEDGE_RANGES_MAX))
        numbers = tuple(range(self._next_number, self._next_number + len(parts)))
        self._next_number += len(parts)
        round = Round(shard, knowledge, self._placement.owners(shard), numbers, now.mono_ns)
        self._rounds[shard] = round
        self._numbers.update(dict.fromkeys(numbers, shard))
        effects: list[Effect] = []
        for owner in round.owners:
            link = self._links.to(owner)
            if link is None:
                continue
            round.asked.add(owner)
            wants = zip(numbers, parts, strict=True)
            effects += [Send(link.link, HoldWant(number, shard, part)) for number, part in wants]
        return effects

    def handle_answer(self, link: Link, answer: HoldAnswer, now: Now) -> list[Effect]:
        shard = self._numbers.get(answer.number)
        round = self._rounds.get(shard) if shard is not None else None
        if round is None or link.peer not in round.owners or not answer.has_all:
            return []
        round.answers.add((link.peer, answer.number))
        if round.is_agreed:
            self._agreed[round.shard] = round
        return self._read_next()

    # -- forgetting

    def _may_let_go(self, round: Round) -> bool:
        return (
            self._rounds.get(round.shard) is round
            and self._stands(round)
            and not self._placement.is_mine(round.shard)
            and not self._replica.damage.in_shard(round.shard)
        )

    def _read_next(self) -> list[Effect]:
        """Go through what may be let go, a few shards at a time; what has changed since is asked again."""
        effects: list[Effect] = []
        while self._agreed and len(self._readings) < READING_AT_ONCE:
            shard = next(iter(self._agreed))
            round = self._agreed.pop(shard)
            is_read = any(reading.round.shard == shard for reading in self._readings.values())
            if is_read or not self._may_let_go(round):
                continue
            number, self._next_reading = self._next_reading, self._next_reading - 1
            self._readings[number] = Reading(round)
            effects.append(OpenChanges(number, shard, round.knowledge))
        return effects

    def handle_page(self, page: PageRead) -> list[Effect]:
        reading = self._readings.get(page.reading)
        if reading is None:
            return []
        reading.rows += [(record.key, record.dot) for record in page.records]
        if not page.is_last:
            return [NextPage(page.reading)]
        del self._readings[page.reading]
        round = reading.round
        if not page.code and page.knowledge == round.knowledge and self._may_let_go(round):
            self._forget(round, reading.rows)
        return [CloseChanges(page.reading), *self._read_next()]

    def _forget(self, round: Round, rows: Sequence[tuple[str, Dot]]) -> None:
        del self._rounds[round.shard]
        self._replica.release(round.shard, rows)
        self._left[round.shard] = self._replica.shard(round.shard).seen.delta()
        self._counters["shards_let_go"] += 1
        self._counters["records_let_go"] += len(rows)
