"""Fetching: records whose value is in chunks wait here until every chunk is on disk."""

from __future__ import annotations

from dataclasses import dataclass, field

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, count_of
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.effects import Effect, FindMissing, Send, SetTimer
from bellande_mesh_sync.core.events import MissingFound
from bellande_mesh_sync.core.messages import ChunkWant
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.spreading.sources import Source
from bellande_mesh_sync.core.timers import FetchOverdue
from bellande_mesh_sync.ids import Dot, NodeId, Now, Shard

FETCHES_MAX = 10_000
"""Records that may wait for chunks at once; one more is not taken in now, repair brings it again."""
FETCH_REFS_MAX = 1_000_000
"""The same for the chunks that their manifests name: 100 bytes of memory each."""
WANT_CHUNKS_MAX = 64
AHEAD_BYTES_MAX = 16 * 1024 * 1024 * 1024
"""Chunks without a record that one peer may have us store: a value in the making may be as large."""
AHEAD_OFFERS_MAX = 256
HELPERS_MAX = 8
"""Sources that one record's chunks are shared out to at once; the others come in as queues get empty."""


@dataclass(slots=True, eq=False)
class Fetch:
    """One record on its way in."""

    number: int
    shard: Shard
    record: Record
    stream: int
    sources: list[NodeId]
    """Who has it, as far as we know; tried in turn."""
    failed: set[NodeId] = field(default_factory=set)
    """Those of them that did not give a chunk of it, or a wrong one: the others go first."""
    missing: set[bytes] = field(default_factory=set)
    failures: int = 0
    request: int = 0
    """Of who only wants the chunks: the record stays where it is."""


class Fetcher:
    """Asks for missing chunks, a window of bytes at a time from each source.

    Whoever has nothing more to give takes over half of what others have yet to be asked for, if it has that
    too. So a value comes from all who have it, from each as much as it is quick.
    """

    def __init__(self, config: CoreConfig, links: Links, counters: Counters) -> None:
        self._config = config
        self._links = links
        self._counters = counters
        self._fetches: dict[int, Fetch] = {}
        self._by_dot: dict[tuple[Shard, Dot], Fetch] = {}
        self._waiting: dict[bytes, list[Fetch]] = {}
        """Who waits for a chunk. A chunk is asked of one source at a time."""
        self._sources: dict[NodeId, Source] = {}
        self._ahead: dict[int, NodeId] = {}
        """Offers that are being compared with the disk."""
        self._next_fetch = 1
        self._refs_count = 0

    def __len__(self) -> int:
        return len(self._fetches)

    @property
    def has_work(self) -> bool:
        return bool(self._waiting)

    def manifests(self) -> list[Manifest]:
        """Of the records that wait here for chunks."""
        return [fetch.record.manifest for fetch in self._fetches.values() if fetch.record.manifest]

    def arriving(self, shard: Shard) -> Delta:
        knowledge = Knowledge()
        for held_shard, dot in self._by_dot:
            if held_shard == shard:
                knowledge.add(dot.author, dot.sequence, dot.sequence)
        return knowledge.delta()

    def is_arriving(self, shard: Shard, dot: Dot) -> bool:
        """Whether this record waits here for its chunks."""
        return (shard, dot) in self._by_dot

    def has_too(self, peer: NodeId, shard: Shard, dots: Delta, now: Now) -> list[Effect]:
        """A peer says that it has these: those of them that wait here have one more source.

        Cost: O(the dots or the fetches, whichever are fewer).
        """
        is_news = False
        for fetch in self._among(shard, dots) if self._by_dot else ():
            if peer not in fetch.sources:
                fetch.sources.append(peer)
                is_news = True
        return self._help(peer, now) if is_news else []

    def _among(self, shard: Shard, dots: Delta) -> list[Fetch]:
        if count_of(dots) <= len(self._by_dot):
            named = (
                Dot(author, n)
                for author, ranges in dots
                for low, high in ranges
                for n in range(low, high + 1)
            )
            found = (self._by_dot.get((shard, dot)) for dot in named)
            return [fetch for fetch in found if fetch is not None]
        known = Knowledge(dots)
        return [
            fetch for (held, dot), fetch in self._by_dot.items() if held == shard and known.contains(*dot)
        ]

    def wants_sources(self, number: int) -> Shard | None:
        """The shard of a record of which much is missing, and only one peer is known to have it."""
        fetch = self._fetches.get(number)
        if fetch is None or fetch.request or len(fetch.sources) > 1:
            return None
        source = self._sources.get(fetch.sources[0])
        return fetch.shard if source is not None and source.queue_bytes >= self._config.share_bytes else None

    def start(self, shard: Shard, record: Record, stream: int, peer: NodeId) -> list[Effect] | None:
        """Take in a record with a manifest; None if too many wait already."""
        assert record.manifest is not None, "only large values are fetched"
        if len(self._fetches) >= FETCHES_MAX or self._refs_count >= FETCH_REFS_MAX:
            self._counters["fetches_refused"] += 1
            return None
        if peer in self._sources:
            self._sources[peer].ahead_bytes = 0
        fetch = Fetch(self._next_fetch, shard, record, stream, [peer])
        self._next_fetch += 1
        self._fetches[fetch.number] = fetch
        self._by_dot[shard, record.dot] = fetch
        self._refs_count += len(record.manifest.chunks)
        return [FindMissing(fetch.number, record.manifest)]

    def borrow(self, request: int, record: Record, holders: tuple[NodeId, ...]) -> list[Effect] | None:
        """As `start`, for somebody who wants to read the value and is not to hold its record."""
        number = self._next_fetch
        effects = self.start(Shard(f"?{number}"), record, 0, holders[0])  # A place of its own.
        if effects is not None:
            self._fetches[number].request = request
            self._fetches[number].sources = list(holders)
        return effects

    def fetch_ahead(self, peer: NodeId, chunks: tuple[ChunkRef, ...]) -> list[Effect]:
        """A peer stores chunks whose record will follow. More than the bound are left for the record."""
        source = self._sources.setdefault(peer, Source())
        size_bytes = sum(chunk.size for chunk in chunks)
        if source.ahead_bytes + size_bytes > AHEAD_BYTES_MAX or len(self._ahead) >= AHEAD_OFFERS_MAX:
            self._counters["chunks_not_fetched_ahead"] += len(chunks)
            return []
        source.ahead_bytes += size_bytes
        number = self._next_fetch
        self._next_fetch += 1
        self._ahead[number] = peer
        return [FindMissing(number, Manifest(1, chunks))]

    def _queue_ahead(self, peer: NodeId, found: MissingFound, now: Now) -> list[Effect]:
        source = self._sources.get(peer)
        if source is None or found.code:
            return []
        for chunk in found.chunks:
            if chunk.hash not in self._waiting:
                self._waiting[chunk.hash] = []  # Nobody yet; the record's fetch will join.
                source.add(chunk)
        self._counters["chunks_ahead"] += len(found.chunks)
        return self.pump(peer, now)

    def handle_missing(self, found: MissingFound, now: Now) -> tuple[list[Effect], list[Fetch], list[Fetch]]:
        """(effects, fetches whose value is whole now, fetches given up)."""
        ahead = self._ahead.pop(found.fetch, None)
        if ahead is not None:
            return self._queue_ahead(ahead, found, now), [], []
        fetch = self._fetches.get(found.fetch)
        if fetch is None:
            return [], [], []
        if found.code:
            return [], [], [self._remove(fetch)]
        if not found.chunks:
            return [], [self._remove(fetch)], []
        fetch.missing = {chunk.hash for chunk in found.chunks}
        peer = self._source_of(fetch)
        if peer is None:
            return [], [], [self._remove(fetch)]
        source = self._sources.setdefault(peer, Source())
        coming = [other.in_flight for other in self._sources.values() if other.in_flight]
        for chunk in found.chunks:
            waiting = self._waiting.get(chunk.hash)
            if waiting is None:
                self._waiting[chunk.hash] = [fetch]
                if not any(chunk.hash in in_flight for in_flight in coming):
                    source.add(chunk)
            elif fetch not in waiting:
                waiting.append(fetch)
        effects = self.pump(peer, now)
        for other in fetch.sources[:HELPERS_MAX]:
            effects += self._help(other, now)
        return effects, [], []

    def _source_of(self, fetch: Fetch) -> NodeId | None:
        """The next linked source in turn, any linked peer when none of them is."""
        linked = [peer for peer in fetch.sources if self._links.to(peer) is not None]
        linked = [peer for peer in linked if peer not in fetch.failed] or linked
        if not linked and fetch.failures:
            linked = list(self._links.linked_peers())
        return linked[fetch.failures % len(linked)] if linked else None

    # -- sharing

    def _help(self, peer: NodeId, now: Now) -> list[Effect]:
        """Let a peer take its part of what others have yet to be asked for, unless it has enough to do."""
        if self._links.to(peer) is None:
            return []
        source = self._sources.get(peer)
        if source is None:
            source = Source()
            if not self._share(peer, source):
                return []
            self._sources[peer] = source
        elif not source.queue:
            self._share(peer, source)
        return self.pump(peer, now)

    def _share(self, peer: NodeId, source: Source) -> int:
        """Move the later half of the longest queue here, as far as this node has that; how many chunks."""
        others = (other for other in self._sources.values() if other is not source)
        busiest = max(others, key=lambda other: other.queue_bytes, default=None)
        if busiest is None or busiest.queue_bytes < self._config.share_bytes:
            return 0
        moved = busiest.give_half(source, lambda chunk: self._has(peer, chunk.hash))
        self._counters["chunks_shared"] += moved
        return moved

    def _has(self, peer: NodeId, chunk_hash: bytes) -> bool:
        waiting = self._waiting.get(chunk_hash, ())
        return any(peer in fetch.sources and peer not in fetch.failed for fetch in waiting)

    # -- asking

    def needs_link(self) -> list[NodeId]:
        """Peers of whom chunks are wanted and to whom no chunk link is open."""
        return [
            peer
            for peer, source in self._sources.items()
            if source.queue and not source.link and self._links.to(peer) is not None
        ]

    def link_opened(self, peer: NodeId, link: int, now: Now) -> list[Effect]:
        """Use this link for what is asked of the peer, if there is none yet."""
        source = self._sources.get(peer)
        if source is None or source.link:
            return []
        source.link = link
        return self.pump(peer, now)

    def pump(self, peer: NodeId, now: Now) -> list[Effect]:
        """Ask for as much as the window allows."""
        source = self._sources.get(peer)
        if source is None:
            return []
        if not source.link:
            lane = self._links.for_chunks(peer)
            if lane is None:
                return []  # `needs_link` makes the core dial one.
            source.link = lane.link
        asked: list[bytes] = []
        window_bytes = self._config.fetch_window_bytes
        while source.in_flight_bytes < window_bytes and (source.queue or self._share(peer, source)):
            chunk = source.take()
            if chunk.hash in self._waiting and chunk.hash not in source.in_flight:
                source.in_flight[chunk.hash] = chunk.size
                source.in_flight_bytes += chunk.size
                asked.append(chunk.hash)
        effects: list[Effect] = [
            Send(source.link, ChunkWant(tuple(asked[start : start + WANT_CHUNKS_MAX])))
            for start in range(0, len(asked), WANT_CHUNKS_MAX)
        ]
        if source.in_flight and not source.is_watched:
            source.is_watched = True
            effects.append(self._watch(source, now))
        return effects

    def _watch(self, source: Source, now: Now) -> Effect:
        at_ns = now.mono_ns + 3 * self._config.stall_timeout_ns
        return SetTimer(FetchOverdue(source.link, source.mark), at_ns)

    def is_using(self, link: int) -> bool:
        return any(source.link == link and source.in_flight for source in self._sources.values())

    def got_bytes(self, link: int) -> None:
        """A part of a chunk came over this link: slow, but not stalled."""
        for source in self._sources.values():
            if source.link == link:
                source.mark += 1

    # -- answers

    def stored(self, peer: NodeId, hashes: tuple[bytes, ...], now: Now) -> tuple[list[Effect], list[Fetch]]:
        """Chunks are on disk: (effects, fetches to be looked at again with FindMissing)."""
        whole: list[Fetch] = []
        source = self._sources.get(peer)
        for chunk_hash in hashes:
            if source is not None:
                source.in_flight_bytes -= source.in_flight.pop(chunk_hash, 0)
                source.mark += 1
            for fetch in self._waiting.pop(chunk_hash, ()):
                fetch.missing.discard(chunk_hash)
                if not fetch.missing:
                    whole.append(fetch)
        self._counters["chunks_fetched"] += len(hashes)
        effects: list[Effect] = []
        for fetch in whole:
            assert fetch.record.manifest is not None
            effects.append(FindMissing(fetch.number, fetch.record.manifest))
        return effects + self.pump(peer, now), whole

    def refused(self, peer: NodeId, hashes: tuple[bytes, ...], now: Now) -> tuple[list[Effect], list[Fetch]]:
        """A source could not give these chunks: try the next one. (effects, fetches given up)."""
        source = self._sources.get(peer)
        affected: dict[int, Fetch] = {}
        for chunk_hash in hashes:
            if source is None or chunk_hash not in source.in_flight:
                continue  # It was not asked: a manifest is no secret, and others are giving the chunk.
            source.in_flight_bytes -= source.in_flight.pop(chunk_hash)
            for fetch in self._waiting.pop(chunk_hash, ()):
                fetch.failed.add(peer)
                affected[fetch.number] = fetch
        return self._retry(affected, now)

    def _retry(self, affected: dict[int, Fetch], now: Now) -> tuple[list[Effect], list[Fetch]]:
        effects: list[Effect] = []
        given_up: list[Fetch] = []
        for fetch in affected.values():
            fetch.failures += 1
            if fetch.failures > 2 * len(fetch.sources) + 2 or self._source_of(fetch) is None:
                given_up.append(self._remove(fetch))
                continue
            self._stop_waiting(fetch)
            assert fetch.record.manifest is not None
            effects.append(FindMissing(fetch.number, fetch.record.manifest))
        for source in self._sources.values() if affected else ():
            source.keep(lambda chunk: chunk.hash in self._waiting)  # Or it would be asked for twice.
        return effects, given_up

    def handle_overdue(self, link: int, mark: int, now: Now) -> tuple[list[Effect], bool]:
        """(effects, whether the link made no progress and should be hung up)."""
        for source in self._sources.values():
            if source.link == link and source.is_watched:
                if not source.in_flight:
                    source.is_watched = False
                    return [], False
                if source.mark == mark:
                    return [], True
                return [self._watch(source, now)], False
        return [], False

    def link_closed(self, link: int, now: Now) -> tuple[list[Effect], list[Fetch]]:
        """What was asked over this link is asked of the next source."""
        affected: dict[int, Fetch] = {}
        for peer, source in list(self._sources.items()):
            gone = self._links.to(peer) is None
            if source.link != link and not gone:
                continue
            for chunk_hash in [*source.in_flight, *(chunk.hash for chunk in source.queue)]:
                for fetch in self._waiting.pop(chunk_hash, ()):
                    affected[fetch.number] = fetch
            del self._sources[peer]
        return self._retry(affected, now)

    def _stop_waiting(self, fetch: Fetch) -> None:
        for chunk_hash in fetch.missing:
            waiting = self._waiting.get(chunk_hash)
            if waiting is not None and fetch in waiting:
                waiting.remove(fetch)
                if not waiting:
                    del self._waiting[chunk_hash]
        fetch.missing = set()

    def _remove(self, fetch: Fetch) -> Fetch:
        self._stop_waiting(fetch)
        del self._fetches[fetch.number]
        assert fetch.record.manifest is not None
        self._refs_count -= len(fetch.record.manifest.chunks)
        del self._by_dot[fetch.shard, fetch.record.dot]
        return fetch
