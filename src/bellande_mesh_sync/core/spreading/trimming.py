"""Trimming: a revoked node's writes beyond its cut, taken in before this node heard of it, are set aside.

They had replaced other records, and without them nothing here accounts for these. So all dots of the shard
that are known without a record of theirs are unlearned too, as with a record that rotted: others, who did not
take those writes, offer what was replaced again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import CloseChanges, Effect, Log, NextPage, OpenChanges
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.spreading.pulls import Pulls
from bellande_mesh_sync.core.statements.revocations import Revocations
from bellande_mesh_sync.ids import Now, Shard

TRIMMING_BELOW: Final = -(1 << 40)
"""Numbers of views below this are for this machine."""


@dataclass(slots=True, eq=False)
class Reading:
    """One reading of all live records of a shard."""

    shard: Shard
    live: Knowledge = field(default_factory=Knowledge)
    beyond: list[Record] = field(default_factory=list)


class Trimming:
    """Args: become_new_author: our own last numbers are no longer known, and must not be given out again."""

    def __init__(
        self, replica: Replica, revocations: Revocations, pulls: Pulls, counters: Counters,
        become_new_author: Callable[[], None],
    ) -> None:  # fmt: skip
        self._replica = replica
        self._revocations = revocations
        self._pulls = pulls
        self._counters = counters
        self._become_new_author = become_new_author
        self._waiting: dict[Shard, int] = {}
        """Shards to be read, and the commit that has to be on disk before."""
        self._readings: dict[int, Reading] = {}
        self._committing: dict[Shard, int] = {}
        """Shards of which something was set aside, and the commit that does it."""
        self._last_reading = TRIMMING_BELOW

    def __len__(self) -> int:
        return len(self._waiting) + len(self._readings) + len(self._committing)

    def look(self) -> list[Effect]:
        """Somebody was revoked, or this run begins: is anything known beyond a cut?"""
        for shard, state in self._replica.shards():
            if self._revocations.beyond(shard, state.seen.delta()):
                self._waiting[shard] = self._replica.next_commit - 1
                # What is concluded from now on might rest on a record that goes.
                self._pulls.trimmed.add(shard)
        return self.read()

    def committed(self, now: Now) -> list[Effect]:
        """The disk got on: what was set aside is off it, and what waited for it can be read."""
        effects: list[Effect] = []
        for shard, commit in list(self._committing.items()):
            if commit <= self._replica.last_committed:
                del self._committing[shard]
                effects += self._pulls.trimming_done(shard, now)
        return effects + self.read()

    def commits_failed(self) -> None:
        """The disk took none of it; the next repair tries again."""
        self._waiting = dict.fromkeys([*self._waiting, *self._committing], 0)
        self._committing.clear()

    def read(self) -> list[Effect]:
        """Read the shards whose last open commit is on disk: a view shows only what is."""
        effects: list[Effect] = []
        busy = {reading.shard for reading in self._readings.values()} | self._committing.keys()
        for shard, commit in list(self._waiting.items()):
            if shard in busy or commit > self._replica.last_committed:
                continue
            del self._waiting[shard]
            self._last_reading -= 1
            self._readings[self._last_reading] = Reading(shard)
            dots = self._replica.shard(shard).committed.delta()
            effects.append(OpenChanges(self._last_reading, shard, dots))
        return effects

    def page(self, event: PageRead, now: Now) -> list[Effect]:
        reading = self._readings.get(event.reading)
        if reading is None:
            return []
        if event.code:
            del self._readings[event.reading]
            self._waiting[reading.shard] = 0
            return [CloseChanges(event.reading)]  # The next commit or repair tries again.
        for record in event.records:
            if self._revocations.counts(reading.shard, record.author, record.sequence):
                reading.live.add(record.author, record.sequence, record.sequence)
            else:
                reading.beyond.append(record)
        if not event.is_last:
            return [NextPage(event.reading)]
        del self._readings[event.reading]
        known = Knowledge(event.knowledge)
        return [CloseChanges(event.reading), *self._set_aside(reading, known, now)]

    def _set_aside(self, reading: Reading, known: Knowledge, now: Now) -> list[Effect]:
        shard = reading.shard
        withdrawn = self._replica.withdraw(shard, reading.beyond)
        for record in withdrawn:
            self._revocations.was_set_aside(record.author)
        if withdrawn:
            unlearned = reading.live.missing_from(known.delta())
        else:  # What it wrote was replaced since, by what has all of its past: only the numbers go.
            unlearned = self._revocations.beyond(shard, known.delta())
        if not unlearned:
            return self._pulls.trimming_done(shard, now)
        self._committing[shard] = self._replica.next_commit
        if self._replica.unlearn(shard, unlearned):
            self._become_new_author()
        self._counters["records_beyond_cut_set_aside"] += len(withdrawn)
        return [Log("warning", "revoked_writes_set_aside", {"shard": shard, "records": len(withdrawn)})]
