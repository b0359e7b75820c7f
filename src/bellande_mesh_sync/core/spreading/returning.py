"""Returning: a node that was left behind compares what it holds with a peer before it concludes anything.

Whoever lacks a number up to a peer's collected cut was away, or unknown, when tombstones were dropped that
it never got. What it still holds may be deleted, and nobody can send it the delete any more. So it asks that
peer which of the dots it knows have no live record with it, once the peer has read all of its records and
found them to be what they should be. What is live here, known there and not live there was replaced: by
something that is here too, which would have taken it away, or by a tombstone that is gone. It goes, into the
history. What the peer does not know, such as writes made here in the meantime, stays. Only then are the dots
claimed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.cuts import CutTold, told
from bellande_mesh_sync.core.data.examination import Examination
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, parts_of
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import CloseChanges, Effect, Log, NextPage, OpenChanges, Send
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.messages import LiveDots, LiveWant
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.mending import Mending
from bellande_mesh_sync.ids import Now, Shard

PART_RANGES_MAX = 8192
"""Ranges in one LiveDots, so that it fits a frame."""
ABSENT_RANGES_MAX = 2_000_000
"""Ranges that a peer may tell for one comparison: about 80 bytes of memory each."""
ASKERS_MAX = 64
"""Peers that wait for one reading of a shard."""
ANSWER_EVERY_NS = 5_000_000_000
"""How often a link may have a shard read for it."""
PATIENCE_NS = 120_000_000_000
"""A comparison that has not moved for so long is begun anew."""


@dataclass(slots=True, eq=False)
class _Comparison:
    number: int
    link: int
    shard: Shard
    moved_ns: int
    known: Knowledge = field(default_factory=Knowledge)
    """What the peer knew when it read its records, as far as it has told."""
    absent: Knowledge = field(default_factory=Knowledge)
    """Those of its dots that have no live record there."""
    range_count: int = 0
    collected: CutTold = ()
    is_told: bool = False
    """All of this is here."""
    is_reading: bool = False
    """What is live here is being read, or what of it is stale."""
    own: Delta = ()
    """What was known here when that was read."""
    reading: int = 0
    """The view of the stale records, if one is open."""


class Returning:
    """At most one comparison a shard. Also the other half: answers those who ask."""

    def __init__(self, replica: Replica, links: Links, mending: Mending, counters: Counters) -> None:
        self._replica = replica
        self._links = links
        self._mending = mending
        self._counters = counters
        self._comparisons: dict[Shard, _Comparison] = {}
        self._askers: dict[Shard, dict[int, int]] = {}
        """By shard and link: the number of what was asked."""
        self._answered_ns: dict[tuple[Shard, int], int] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._comparisons)

    @property
    def shards(self) -> list[Shard]:
        """Where this node knows that it was left behind."""
        return list(self._comparisons)

    # -- asking

    def begin(self, link: int, shard: Shard, now: Now) -> list[Effect]:
        """This peer has collected tombstones that were never heard of here."""
        if shard in self._comparisons:
            return []
        found = _Comparison(self._next, link, shard, now.mono_ns)
        self._next += 1
        self._comparisons[shard] = found
        self._counters["comparisons"] += 1
        return [Send(link, LiveWant(found.number, shard))]

    def handle_told(self, link: Link, dots: LiveDots, now: Now) -> list[Effect]:
        found = self._comparisons.get(dots.shard)
        if found is None or found.link != link.link or found.number != dots.number or found.is_told:
            return []
        found.moved_ns = now.mono_ns
        found.range_count += sum(len(ranges) for _, ranges in (*dots.knowledge, *dots.absent))
        if found.range_count > ABSENT_RANGES_MAX:
            del self._comparisons[dots.shard]
            return [Log("error", "comparison_too_large", {"shard": dots.shard, "peer": link.peer.hex()})]
        found.known.merge(dots.knowledge)
        found.absent.merge(dots.absent)
        if not dots.is_last:
            return []
        found.collected = dots.collected
        found.is_told = True
        return self._go_on(found)

    def committed(self, now: Now) -> list[Effect]:
        """More is on disk here: what was waited for may be among it."""
        effects: list[Effect] = []
        for found in list(self._comparisons.values()):
            effects += self._go_on(found)
        return effects

    def _go_on(self, found: _Comparison) -> list[Effect]:
        """Read what is live here, once all is here that is live there."""
        if not found.is_told or found.is_reading:
            return []
        live = found.absent.missing_from(found.known.delta())
        if self._replica.shard(found.shard).committed.missing_from(live):
            return []  # The summaries that the peer sends have it asked for.
        found.is_reading = True
        return self._mending.read(found.shard)

    def _read(self, found: _Comparison, own: Examination, now: Now) -> list[Effect]:
        """This is what is live here. The stale among it go page by page."""
        found.moved_ns = now.mono_ns
        found.own = own.knowledge
        live = Knowledge(own.unproven).missing_from(own.knowledge)
        stale = Knowledge(found.absent.missing_from(live)).missing_from(live)
        if not stale:
            return self._end(found, now)
        self._next += 1
        found.reading = -self._next
        return [OpenChanges(found.reading, found.shard, stale)]

    def handle_page(self, page: PageRead, now: Now) -> list[Effect]:
        """A page of a view with a number below 0."""
        found = next((each for each in self._comparisons.values() if each.reading == page.reading), None)
        if found is None:
            return []
        found.moved_ns = now.mono_ns
        if page.code:
            self._start_over(found)
            return [CloseChanges(page.reading)]
        count = self._replica.drop_stale(found.shard, page.records, now)
        self._counters["stale_dropped"] += count
        if not page.is_last:
            return [NextPage(page.reading)]
        found.reading = 0
        facts = {"shard": found.shard, "records": count}
        return [
            CloseChanges(page.reading),
            Log("warning", "stale_dropped", facts),
            *self._end(found, now),
        ]

    def _end(self, found: _Comparison, now: Now) -> list[Effect]:
        """Claim what the peer told, in the batch that drops the last stale record or after it."""
        seen = self._replica.shard(found.shard).seen
        fresh = Knowledge(found.own).missing_from(seen.delta())
        if found.absent.missing_from(fresh) != fresh:
            # Something came meanwhile that is gone at the peer: it may be stale too, and has to be read.
            self._start_over(found)
            return self._go_on(found)
        self._replica.claim_obsolete(found.shard, seen.missing_from(found.absent.delta()))
        self._replica.adopt(found.shard, found.collected)
        del self._comparisons[found.shard]
        return []

    def _start_over(self, found: _Comparison) -> None:
        found.is_reading, found.reading, found.own = False, 0, ()

    # -- answering

    def handle_want(self, link: Link, want: LiveWant, now: Now) -> list[Effect]:
        askers = self._askers.setdefault(want.shard, {})
        last_ns = self._answered_ns.get((want.shard, link.link))
        is_early = last_ns is not None and now.mono_ns - last_ns < ANSWER_EVERY_NS
        if is_early or (len(askers) >= ASKERS_MAX and link.link not in askers):
            self._counters["comparisons_refused"] += 1
            return []  # Who hears nothing asks again.
        askers[link.link] = want.number
        self._answered_ns[want.shard, link.link] = now.mono_ns
        return self._mending.read(want.shard)

    def examined(self, found: Examination, now: Now) -> list[Effect]:
        """A shard was read through, and is what it is said to be."""
        effects: list[Effect] = []
        for link, number in self._askers.pop(found.shard, {}).items():
            effects += self._answer(link, number, found)
        waiting = self._comparisons.get(found.shard)
        if waiting is not None and waiting.is_reading and not waiting.reading:
            effects += self._read(waiting, found, now)
        return effects

    def _answer(self, link: int, number: int, found: Examination) -> list[Effect]:
        collected = told(self._replica.shard(found.shard).collected)
        known = list(parts_of(found.knowledge, PART_RANGES_MAX))
        absent = list(parts_of(found.unproven, PART_RANGES_MAX))
        parts: list[tuple[Delta, Delta]] = [(part, ()) for part in known] + [((), part) for part in absent]
        last = len(parts) - 1
        return [
            Send(link, LiveDots(number, found.shard, *part, collected, place == last))
            for place, part in enumerate(parts)
        ]

    # -- trouble

    def link_closed(self, link: int) -> list[Effect]:
        effects: list[Effect] = []
        for askers in self._askers.values():
            askers.pop(link, None)
        self._answered_ns = {place: ns for place, ns in self._answered_ns.items() if place[1] != link}
        for shard in [shard for shard, found in self._comparisons.items() if found.link == link]:
            effects += self._give_up(shard)
        return effects

    def retry(self, now: Now) -> list[Effect]:
        """At each repair: give up what does not get on; whoever is still behind begins anew."""
        effects: list[Effect] = []
        for shard, found in list(self._comparisons.items()):
            if now.mono_ns - found.moved_ns > PATIENCE_NS:
                effects += self._give_up(shard)
        return effects

    def commits_failed(self) -> list[Effect]:
        """What was dropped or claimed may not have been."""
        return [effect for shard in list(self._comparisons) for effect in self._give_up(shard)]

    def _give_up(self, shard: Shard) -> list[Effect]:
        found = self._comparisons.pop(shard)
        return [CloseChanges(found.reading)] if found.reading else []
