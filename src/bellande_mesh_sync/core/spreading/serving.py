"""Serving: the answering half of repair. A Want becomes pages read from disk, as fast as credit lasts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.cuts import CutTold
from bellande_mesh_sync.core.data.knowledge import parts_of
from bellande_mesh_sync.core.effects import CloseChanges, Effect, NextPage, OpenChanges, Send
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.messages import Records, StreamEnd, Want
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.weight import portions
from bellande_mesh_sync.ids import Shard

END_RANGES_MAX = 8192
"""Ranges in one StreamEnd, so that it fits a frame."""


@dataclass(slots=True, eq=False)
class Serve:
    """One stream being answered."""

    reading: int
    link: int
    want: Want
    is_waiting: bool = False
    """For credit: the next page is read when some comes."""


@dataclass(slots=True, eq=False)
class Desk:
    """What one link asked of us."""

    active: dict[int, Serve] = field(default_factory=dict)
    queued: deque[Want] = field(default_factory=deque)


class Serving:
    """At most `streams_max` streams a link at once, and one page of each in memory."""

    def __init__(
        self, config: CoreConfig, links: Links, counters: Counters, collected: Callable[[Shard], CutTold]
    ) -> None:
        self._config = config
        self._links = links
        self._counters = counters
        self._collected = collected
        """Up to where tombstones of a shard have been dropped here."""
        self._desks: dict[int, Desk] = {}
        self._readings: dict[int, Serve] = {}
        self._next_reading = 1

    def handle_want(self, link: Link, want: Want) -> list[Effect]:
        desk = self._desks.setdefault(link.link, Desk())
        if len(desk.active) < self._config.streams_max:
            return [self._open(link.link, desk, want)]
        if len(desk.queued) < self._config.streams_max:
            desk.queued.append(want)
        else:
            self._counters["wants_refused"] += 1  # The asker sees no progress and asks again.
        return []

    def _open(self, link: int, desk: Desk, want: Want) -> Effect:
        serve = Serve(self._next_reading, link, want)
        self._next_reading += 1
        desk.active[serve.reading] = serve
        self._readings[serve.reading] = serve
        return OpenChanges(serve.reading, want.shard, want.dots)

    def handle_page(self, page: PageRead) -> list[Effect]:
        serve = self._readings.get(page.reading)
        if serve is None:
            return []  # Its link went away while the page was read; the view is closed already.
        link = self._links.get(serve.link)
        assert link is not None, "a reading outlived its link"
        if page.code:
            self._counters["pages_unreadable"] += 1
            return self._finish(serve)
        effects: list[Effect] = []
        want = serve.want
        for records, weight in portions(page.records):
            effects.append(Send(serve.link, Records(want.shard, want.stream, records)))
            link.credit -= weight
        self._counters["records_served"] += len(page.records)
        if page.is_last:
            parts = list(parts_of(page.knowledge, END_RANGES_MAX))
            for number, part in enumerate(parts, 1):
                is_last = number == len(parts)
                collected = self._collected(want.shard) if is_last else ()
                end = StreamEnd(want.stream, want.shard, part, is_last, collected)
                effects.append(Send(serve.link, end))
            return effects + self._finish(serve)
        if link.credit > 0:
            effects.append(NextPage(serve.reading))
        else:
            serve.is_waiting = True
        return effects

    def shard_of(self, reading: int) -> Shard | None:
        """The shard that is being read, if it still is."""
        serve = self._readings.get(reading)
        return None if serve is None else serve.want.shard

    def credit_came(self, link: Link) -> list[Effect]:
        desk = self._desks.get(link.link)
        if desk is None or link.credit <= 0:
            return []
        effects: list[Effect] = []
        for serve in desk.active.values():
            if serve.is_waiting:
                serve.is_waiting = False
                effects.append(NextPage(serve.reading))
        return effects

    def _finish(self, serve: Serve) -> list[Effect]:
        desk = self._desks[serve.link]
        del self._readings[serve.reading]
        del desk.active[serve.reading]
        effects: list[Effect] = [CloseChanges(serve.reading)]
        if desk.queued:
            effects.append(self._open(serve.link, desk, desk.queued.popleft()))
        return effects

    def link_closed(self, link: int) -> list[Effect]:
        desk = self._desks.pop(link, None)
        if desk is None:
            return []
        for reading in desk.active:
            del self._readings[reading]
        return [CloseChanges(reading) for reading in desk.active]
