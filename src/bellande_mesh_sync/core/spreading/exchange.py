"""The exchange: knowledge compared, records and chunks taken in, and what a commit sets going.

One node's data plane. It owns the replica and the machines around it and lets the events that
concern them meet in the right order; whom to talk to, and when, is `node.py`'s business.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence

from blake3 import blake3

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.cuts import CutTold, told
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, parts_of
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica, ShardState
from bellande_mesh_sync.core.data.sibling_cap import SIBLINGS_MAX
from bellande_mesh_sync.core.data.space_policies import SpacePolicies, UnfitError
from bellande_mesh_sync.core.effects import Changed, Effect, Log, NextPage, Reject, Resolve, Send, SetTimer
from bellande_mesh_sync.core.events import (
    ChunkRefused,
    ChunksAdded,
    ChunksStored,
    CommitFailed,
    Committed,
    FetchValue,
    MissingFound,
    PageRead,
    SyncNow,
    WriteMany,
)
from bellande_mesh_sync.core.messages import (
    ChunkMissing,
    ChunkOffer,
    Credit,
    Have,
    PlacedSummary,
    Records,
    ShardSummary,
    Summary,
    Want,
)
from bellande_mesh_sync.core.placement.custody import Custody
from bellande_mesh_sync.core.placement.placed_acks import placed_waiting, shards_of_records
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.placement.release import FIRST_READING
from bellande_mesh_sync.core.placement.rendezvous import Candidate
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.acks import Acks, Waiting, need_of
from bellande_mesh_sync.core.spreading.collecting import Collector
from bellande_mesh_sync.core.spreading.fetching import Fetch, Fetcher
from bellande_mesh_sync.core.spreading.held_off import HeldOff
from bellande_mesh_sync.core.spreading.mending import Mending
from bellande_mesh_sync.core.spreading.pulls import Pull, Pulls
from bellande_mesh_sync.core.spreading.push import HAVE_RANGES_MAX, news_of, spread
from bellande_mesh_sync.core.spreading.returning import Returning
from bellande_mesh_sync.core.spreading.serving import Serving
from bellande_mesh_sync.core.spreading.trimming import TRIMMING_BELOW, Trimming
from bellande_mesh_sync.core.spreading.weight import weight_of
from bellande_mesh_sync.core.statements.revocations import Revocations
from bellande_mesh_sync.core.timers import AckOverdue
from bellande_mesh_sync.errors import damaged_key
from bellande_mesh_sync.ids import SEQUENCE_MAX, Author, NodeId, Now, Shard, author_of, node_of
from bellande_mesh_sync.keys import shard_of, space_of

NO_FINGERPRINT = bytes(32)
REPAIR_PEERS_MAX = 16
"""Peers that knowledge is compared with in one round; more are a random choice each time."""
SEEK_PEERS_MAX = 8
SEEK_PAUSE_NS = 10_000_000_000
"""So many are asked who else has a large value, and so seldom for one shard."""
SUMMARY_RANGES_MAX = 8192
"""Ranges in one Summary, so that it fits a frame; more shards come in further ones."""


class Exchange:
    """Replica, acks, pulls, serving and fetching of one node, and how they meet."""

    def __init__(
        self, config: CoreConfig, me: LocalNode, links: Links, counters: Counters, reader: RecordReader,
        state: StoredState, rng: random.Random, new_epoch: Callable[[], bytes], policies: SpacePolicies,
        revocations: Revocations,
    ) -> None:  # fmt: skip
        self.config = config
        self.me = me
        self.links = links
        self.counters = counters
        self.clock = HybridClock(config.clock_drift_max_ms, state.clock)
        author = author_of(me.node, state.epoch)
        self.placement = Placement(config.placed, me.node)
        self.replica = Replica(
            author, self.clock, reader, state, policies, config.history, self.placement.shard_of
        )
        self.acks = Acks(me.node)
        self.serving = Serving(config, links, counters, self._collected_in)
        self.fetcher = Fetcher(config, links, counters)
        self.held_off = HeldOff(self.clock)
        self.pulls = Pulls(
            config, me.node, links, self.replica, counters, self.fetcher.arriving, self.held_off
        )
        self.mending = Mending(
            self.replica, self.pulls, self.fetcher, links, counters, self._become_new_author
        )
        self.custody = Custody(
            config, me.node, self.placement, links, self.replica, reader, state, counters, self._told,
            self.pulls.held.__contains__,
        )  # fmt: skip
        self.returning = Returning(self.replica, links, self.mending, counters)
        self.mending.on_clean = self.returning.examined
        self.pulls.on_behind = self.returning.begin
        self.collector = Collector(me.node, self.replica, reader, counters)
        self.revocations = revocations
        self.pulls.beyond = revocations.beyond
        self.trimming = Trimming(
            self.replica, revocations, self.pulls, counters, self._become_new_author
        )  # fmt: skip
        self._rng = rng
        self._new_epoch = new_epoch
        self.is_disk_refusing = False
        """Whether the last commit that the disk answered was refused."""
        self.trouble_ns: dict[str, int] = {}
        """When something that an operator should know was seen last, by name."""
        self._sought_ns: dict[Shard, int] = {}
        """When other sources for large values of a shard were asked for last."""
        self._overtaken_authors: set[Author] = set()
        """Ourselves before others turned out to know later writes of ours than we do."""

    # -- local writes

    def write_knowing(self, command: WriteMany, owners: frozenset[NodeId], now: Now) -> list[Effect]:
        """As `write`, where the writer has seen what other nodes hold as well."""
        self.replica.borrow(command.known)
        try:
            return self.write(command, owners, now)
        finally:
            self.replica.borrow(())

    def write(self, command: WriteMany, owners: frozenset[NodeId], now: Now) -> list[Effect]:
        if not command.writes:
            return [Resolve(command.request, ())]
        if self.replica.uncommitted_bytes > self.config.uncommitted_bytes_max:
            limit = f"{self.config.uncommitted_bytes_max} bytes"
            return [Reject(command.request, "busy", {"what": "the write queue", "limit": limit})]
        if len(self.acks) >= self.config.acks_waiting_max:
            limit = f"{self.config.acks_waiting_max} writes"
            return [Reject(command.request, "busy", {"what": "the queue for acks", "limit": limit})]
        held = self.replica.siblings([write.key for write in command.writes])
        damaged = self.replica.damaged_among(command.writes)
        if damaged is not None:
            return [Reject(command.request, "corrupt_store", damaged_key(damaged).facts)]
        try:
            writes = self.replica.settled(command.writes, now)
        except UnfitError as error:
            return [Reject(command.request, "invalid_value", error.facts)]
        refused = self.replica.refusal(writes, now)
        if refused is not None:
            return [Reject(command.request, "precondition_failed", {"key": refused})]
        overfull = self.replica.overfull(writes)
        if overfull is not None:
            facts = {"key": overfull, "limit": SIBLINGS_MAX}
            return [Reject(command.request, "conflict_limit", facts)]
        records = self.replica.write(writes, now, held)
        waiting = Waiting(
            command.request,
            command.ack,
            command.timeout_ns,
            records,
            _ranges(records, self.replica.shard_of),
            owners,
            need_of(command.ack, len(owners)),
        )
        if self.placement.is_used:
            shards = shards_of_records(records, self.placement)
            waiting = placed_waiting(waiting, shards, self.placement, self.me.node)
        self.acks.expect(waiting)
        draft = self.replica.draft
        draft.requests.append(command.request)
        draft.size_bytes += sum(weight_of(record) for record in records)
        self.counters["records_written"] += len(records)
        if command.ack == "local":
            return []  # The disk always answers.
        return [SetTimer(AckOverdue(command.request), now.mono_ns + command.timeout_ns)]

    def compare(self, now: Now) -> list[Effect]:
        """Open a repair with every peer, or with a random choice of many."""
        links = self.links.records_links()
        if len(links) > REPAIR_PEERS_MAX:
            links = self._rng.sample(links, REPAIR_PEERS_MAX)
        return self.summaries(links, now)

    def sync_now(self, command: SyncNow, now: Now) -> list[Effect]:
        links = self.links.records_links()
        effects = self.summaries(links, now) + self.custody.tick(now)
        return [*effects, Resolve(command.request, len(links))]

    def summaries(self, links: Sequence[Link], now: Now) -> list[Effect]:
        """Tell peers all that is durable here and that they are to have too; they ask for what they lack."""
        held = self.replica.shards()
        common = [(shard, state) for shard, state in held if not self.placement.is_placed(shard)]
        summaries = [Summary(part) for part in self._summary_parts(common)]
        effects: list[Effect] = [Send(link.link, summary) for link in links for summary in summaries]
        for link in links if self.placement.is_used else ():
            placed = [each for each in held if self.placement.is_placed(each[0])]
            for part in self._summary_parts(
                [each for each in placed if self.placement.is_for(each[0], link.peer)]
            ):
                is_whole = tuple(self.custody.wholeness.is_whole(each.shard, now) for each in part)
                effects.append(Send(link.link, PlacedSummary(part, is_whole)))
        return effects

    def _summary_parts(
        self, shards: Iterable[tuple[Shard, ShardState]]
    ) -> Iterator[tuple[ShardSummary, ...]]:
        part: list[ShardSummary] = []
        count = 0
        for shard, state in shards:
            for summary in self._summaries_of(shard, state):
                part.append(summary)
                count += 4 + sum(4 + len(ranges) for _, ranges in summary.knowledge)
                count += 3 * (len(summary.stable) + len(summary.collected))
                if count > SUMMARY_RANGES_MAX:
                    yield tuple(part)
                    part, count = [], 0
        if part:
            yield tuple(part)

    def _summaries_of(self, shard: Shard, state: ShardState) -> list[ShardSummary]:
        """All that is durable of a shard and counts, in as many parts as it takes."""
        durable = state.committed.delta()
        late = self.revocations.beyond(shard, durable)
        counting = Knowledge(late).missing_from(durable) if late else durable
        pieces = list(parts_of(counting, SUMMARY_RANGES_MAX))
        if len(pieces) > 1 or late:
            return [ShardSummary(shard, piece, NO_FINGERPRINT, is_part=True) for piece in pieces]
        fingerprint = state.fingerprint.to_bytes(32, "little")
        cuts = told(state.stable), told(state.collected)
        return [ShardSummary(shard, pieces[0], fingerprint, False, *cuts)]

    def handle_want(self, link: Link, want: Want, now: Now) -> list[Effect]:
        """Answered from the disk, but for what does not count any more and is not off it yet."""
        late = self.revocations.beyond(want.shard, want.dots)
        if late:
            want = Want(want.stream, want.shard, Knowledge(late).missing_from(want.dots))
        return self.serving.handle_want(link, want)

    def handle_summary(self, link: Link, message: Summary | PlacedSummary, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        whole = message.is_whole if isinstance(message, PlacedSummary) else (False,) * len(message.shards)
        for theirs, is_whole in zip(message.shards, whole, strict=True):
            fits, misfit = self.custody.fits(link, theirs.shard, now)
            if not fits:
                effects += misfit
                continue
            if not self.placement.is_placed(theirs.shard):
                self.collector.note(link.peer, theirs)
            mine = self.replica.shard(theirs.shard)
            if is_whole and not theirs.is_part:
                self.custody.compared(theirs, mine)
            is_left_out = self.collector.was_left_out(theirs.shard, theirs.collected)
            if is_left_out and self.placement.is_mine(theirs.shard):
                effects += self.returning.begin(link.link, theirs.shard, now)
            if mine.committed.delta() != theirs.knowledge:
                effects += self._told(link, theirs.shard, theirs.knowledge, now)
                effects += self._offer_back(link, theirs, mine)
                continue
            effects += self._acked(link, theirs.shard, theirs.knowledge)
            if not theirs.is_part and theirs.fingerprint != mine.fingerprint.to_bytes(32, "little"):
                self.counters["fingerprint_mismatches"] += 1
                self.trouble_ns["replicas"] = now.mono_ns
                facts = {"shard": theirs.shard, "peer": link.peer.hex()}
                effects.append(Log("error", "fingerprint_mismatch", facts))
                effects += self.mending.doubt(theirs.shard, now)
        return effects

    def _offer_back(self, link: Link, theirs: ShardSummary, mine: ShardState) -> list[Effect]:
        """Tell a peer what its summary shows it to lack, so that one summary repairs both ways."""
        if theirs.is_part:
            return []  # A part only: what it does not name may be in the next one.
        lacking = Knowledge(theirs.knowledge).missing_from(mine.committed.delta())
        parts = parts_of(lacking, HAVE_RANGES_MAX) if lacking else ()
        return [Send(link.link, Have(theirs.shard, part)) for part in parts]

    def handle_have(self, link: Link, message: Have, now: Now) -> list[Effect]:
        fits, effects = self.custody.fits(link, message.shard, now)
        return effects + self._told(link, message.shard, message.dots, now) if fits else effects

    def _told(self, link: Link, shard: Shard, dots: Delta, now: Now) -> list[Effect]:
        """A peer has these dots on disk: acks for our own, offers of what we lack."""
        effects = self._acked(link, shard, dots) + self.fetcher.has_too(link.peer, shard, dots, now)
        if not self.placement.is_mine(shard):
            return effects  # It is for others to hold.
        return effects + self.pulls.offered(link, shard, dots, now)

    def _acked(self, link: Link, shard: Shard, dots: Delta) -> list[Effect]:
        effects: list[Effect] = []
        for author, ranges in dots:
            if node_of(author) != self.me.node or not ranges:
                continue
            if author == self.replica.author and ranges[-1][1] > self.replica.shard(shard).seen.last(author):
                # What they have under these numbers is not what we wrote under them: no ack for us.
                effects += self._overtaken(shard, ranges[-1][1])
            elif author not in self._overtaken_authors:
                effects += self.acks.note(link.peer, shard, author, ranges)
        return effects

    def _overtaken(self, shard: Shard, last: int) -> list[Effect]:
        """Others know writes in our name that we do not: our store is an old copy, so start a new author."""
        if self._overtaken_authors:
            self.counters["epoch_claims_ignored"] += 1  # Nobody can honestly know this run's own numbers.
            return []
        self._overtaken_authors.add(self.replica.author)
        self._become_new_author()
        return [Log("warning", "store_overtaken", {"shard": shard, "last_known_elsewhere": last})]

    def _become_new_author(self) -> None:
        epoch = self._new_epoch()
        self.replica.take_new_epoch(author_of(self.me.node, epoch), epoch)
        self.counters["epochs_renewed"] += 1

    # -- records

    def handle_records(self, link: Link, message: Records, now: Now) -> list[Effect]:
        shard, stream = message.shard, message.stream
        if message.records and shard != self.replica.shard_of(message.records[0].key):
            self.counters["records_refused"] += len(message.records)
            return self._give_credit(link, sum(weight_of(record) for record in message.records))
        pull = self.pulls.arrived(stream, link.link, shard, message.records) if message.records else None
        seen = self.replica.shard(shard).seen
        accepted: dict[tuple[Author, int], Record] = {}
        draft = self.replica.draft
        effects: list[Effect] = []
        own = self.replica.author
        last_own = max((r.sequence for r in message.records if r.author == own), default=0)
        if last_own > seen.last(own):
            effects += self._overtaken(shard, last_own)
        # What is to be set aside may seem to have replaced what comes now: that waits for the next repair.
        is_trimmed = shard in self.pulls.trimmed
        space = space_of(shard)
        stamp_max = self.clock.limit(now)
        done_bytes = taken_bytes = 0
        for record in message.records:
            weight = weight_of(record)
            dot = (record.author, record.sequence)
            if seen.contains(*dot) or dot in accepted:
                self.counters["records_duplicate"] += 1
                done_bytes += weight
            elif not self.revocations.counts(shard, record.author, record.sequence):
                self._refuse_revoked(record, now)
                if pull is not None:
                    pull.is_tainted = True
                done_bytes += weight
            elif is_trimmed or not self._is_sound(shard, record, space, stamp_max, now):
                if pull is not None:
                    pull.is_tainted = True
                done_bytes += weight
            elif record.manifest is not None:
                effects += self._fetch(link, shard, record, pull, now)
                done_bytes += weight
            else:
                accepted[dot] = record
                taken_bytes += weight
        if accepted:
            draft.credits[link.link] += taken_bytes
            draft.size_bytes += taken_bytes
            taken = self.replica.accept(shard, list(accepted.values()), now)
            self.counters["records_received"] += len(taken)
            if pull is not None:
                pull.uncommitted_count += len(taken)
                draft.streams[stream] += len(taken)
                pull.is_tainted |= len(taken) < len(accepted)
        return effects + self._give_credit(link, done_bytes)

    def _refuse_revoked(self, record: Record, now: Now) -> None:
        self.counters["records_beyond_cut"] += 1
        self.revocations.refused_record(record.author, now)

    def _is_sound(self, shard: Shard, record: Record, space: str, stamp_max: int, now: Now) -> bool:
        """Whether the record may be taken in; one that may not leaves a gap, and repair asks again."""
        is_elsewhere = self.placement.is_placed(shard) and self.replica.shard_of(record.key) != shard
        if space_of(record.key) != space or is_elsewhere or record.sequence > SEQUENCE_MAX:
            self.counters["records_refused"] += 1
            return False
        if record.stamp > stamp_max:
            self.counters["clock_ahead"] += 1
            self.trouble_ns["clock"] = now.mono_ns
            self.held_off.note(shard, record, now)
            return False
        if record.inline is not None and blake3(record.inline).digest() != record.digest:
            self.counters["records_damaged"] += 1
            return False
        return True

    def _fetch(self, link: Link, shard: Shard, record: Record, pull: Pull | None, now: Now) -> list[Effect]:
        if self.fetcher.is_arriving(shard, record.dot):
            dots = ((record.author, ((record.sequence, record.sequence),)),)
            return self.fetcher.has_too(link.peer, shard, dots, now)
        effects = self.fetcher.start(shard, record, pull.stream if pull else 0, link.peer)
        if pull is not None and effects is None:
            pull.is_tainted = True
        elif pull is not None:
            pull.uncommitted_count += 1
        return effects or []

    def _give_credit(self, link: Link, amount_bytes: int) -> list[Effect]:
        link.owed += amount_bytes
        if link.owed < self.config.credit_bytes // 16 or self.links.get(link.link) is None:
            return []
        effect = Send(link.link, Credit(link.owed))
        link.owed = 0
        return [effect]

    def handle_credit(self, link: Link, message: Credit, now: Now) -> list[Effect]:
        link.credit = min(link.credit + message.amount_bytes, 1 << 40)
        return self.custody.pace.slowed(self.serving.credit_came(link), self._is_placed, now)

    # -- chunks

    def handle_missing_found(self, event: MissingFound, now: Now) -> list[Effect]:
        self.mending.looked(event)
        effects, whole, given_up = self.fetcher.handle_missing(event, now)
        for fetch in whole:
            if fetch.request:
                effects.append(Resolve(fetch.request, None))
            else:
                self._take_in(fetch, now)
        effects += self._give_up(given_up)
        shard = self.fetcher.wants_sources(event.fetch)
        return effects if shard is None else effects + self._seek_sources(shard, now)

    def _seek_sources(self, shard: Shard, now: Now) -> list[Effect]:
        """Much is to come from one peer. Who hears what we have of the shard says what else it has."""
        if now.mono_ns - self._sought_ns.get(shard, -SEEK_PAUSE_NS) < SEEK_PAUSE_NS:
            return []
        self._sought_ns[shard] = now.mono_ns
        links = [link for link in self.links.records_links() if self.placement.is_for(shard, link.peer)]
        if len(links) > SEEK_PEERS_MAX:
            links = self._rng.sample(links, SEEK_PEERS_MAX)
        summaries = [Summary((part,)) for part in self._summaries_of(shard, self.replica.shard(shard))]
        return [Send(link.link, summary) for link in links for summary in summaries]

    def _take_in(self, fetch: Fetch, now: Now) -> None:
        """A large value is whole on this disk: now its record counts."""
        seen = self.replica.shard(fetch.shard).seen
        record = fetch.record
        if not self.revocations.counts(fetch.shard, record.author, record.sequence):
            self._refuse_revoked(record, now)
            self.pulls.abandoned(fetch.stream)
            return
        if fetch.shard in self.pulls.trimmed or seen.contains(record.author, record.sequence):
            self.pulls.abandoned(fetch.stream)
            return
        if not self.replica.accept(fetch.shard, [fetch.record], now):
            self.pulls.abandoned(fetch.stream)
            return
        self.counters["records_received"] += 1
        draft = self.replica.draft
        draft.size_bytes += weight_of(fetch.record)
        draft.streams[fetch.stream] += 1

    def _give_up(self, fetches: list[Fetch]) -> list[Effect]:
        effects: list[Effect] = []
        for fetch in fetches:
            self.counters["fetches_abandoned"] += 1
            self.pulls.abandoned(fetch.stream)
            if fetch.request:
                facts = {"key": fetch.record.key, "chunk": next(iter(sorted(fetch.missing)), b"").hex()}
                effects.append(Reject(fetch.request, "chunk_missing", facts))
        return effects

    def fetch_value(self, command: FetchValue, now: Now) -> list[Effect]:
        """Bring chunks here whose record is held elsewhere."""
        effects = self.fetcher.borrow(command.request, command.record, command.holders)
        if effects is None:
            return [Reject(command.request, "busy", {"what": "the queue for large values", "limit": "full"})]
        return effects

    def handle_chunks_added(self, event: ChunksAdded, now: Now) -> list[Effect]:
        offer = ChunkOffer(event.chunks)
        links = self.links.records_links()
        if event.key and self.placement.is_used:
            shard = self.replica.shard_of(event.key)
            links = [link for link in links if self.placement.is_for(shard, link.peer)]
        return [Send(link.link, offer) for link in links]

    def handle_chunk_offer(self, link: Link, message: ChunkOffer, now: Now) -> list[Effect]:
        return self.fetcher.fetch_ahead(link.peer, message.chunks)

    def handle_chunks_stored(self, event: ChunksStored, now: Now) -> list[Effect]:
        link = self.links.get(event.link)
        if link is None:
            return []
        link.last_heard_ns = now.mono_ns
        effects, _ = self.fetcher.stored(link.peer, event.hashes, now)
        self.mending.chunks_stored(event.hashes)
        return effects

    def handle_chunk_refused(self, event: ChunkRefused, now: Now) -> list[Effect]:
        self.counters["chunks_refused"] += 1
        link = self.links.get(event.link)
        return [] if link is None else self._chunks_failed(link, (event.hash,), now)

    def handle_chunk_missing(self, link: Link, message: ChunkMissing, now: Now) -> list[Effect]:
        self.counters["chunks_missing"] += len(message.hashes)
        return self._chunks_failed(link, message.hashes, now)

    def _chunks_failed(self, link: Link, hashes: tuple[bytes, ...], now: Now) -> list[Effect]:
        effects, given_up = self.fetcher.refused(link.peer, hashes, now)
        effects += self._give_up(given_up)
        return effects + self.fetcher.pump(link.peer, now) + self.mending.chunks_refused(hashes, now)

    # -- tombstones, and who missed them

    def _collected_in(self, shard: Shard) -> CutTold:
        return told(self.replica.shard(shard).collected)

    def collect(self, now: Now) -> None:
        """Drop some of the tombstones that nobody needs any more."""
        busy = [shard for shard, _ in self.replica.shards() if self.mending.is_reading(shard)]
        self.collector.tick([*busy, *self.returning.shards, *self.pulls.trimmed], now)

    # -- the disk

    def handle_committed(self, event: Committed, now: Now) -> list[Effect]:
        commits = self.replica.committed(event.commit)
        self.is_disk_refusing = False
        streams: dict[int, int] = {}
        credits: dict[int, int] = {}
        shards: set[Shard] = set()
        changed: list[Record] = []
        effects: list[Effect] = []
        for commit in commits:
            draft = commit.draft
            for stream, count in draft.streams.items():
                streams[stream] = streams.get(stream, 0) + count
            for number, amount in draft.credits.items():
                credits[number] = credits.get(number, 0) + amount
            for shard, author, low, high in draft.ranges:
                shards.add(shard)
                if node_of(author) == self.me.node:
                    effects += self.acks.note(self.me.node, shard, author, ((low, high),))
            changed += draft.records
        news, links = news_of(commits, self.me.node), self.links.records_links()
        effects += spread(news, links, self.counters, self.placement)
        for number, amount in credits.items():
            link = self.links.get(number)
            if link is not None:
                effects += self._give_credit(link, amount)
        effects += self.mending.committed([commit.draft for commit in commits])
        effects += self.trimming.committed(now)
        effects += self.pulls.committed(streams, shards, now)
        effects += self.returning.committed(now)
        if changed:
            effects.append(Changed(tuple(changed)))
        return effects

    def handle_commit_failed(self, event: CommitFailed, now: Now) -> list[Effect]:
        lost = self.replica.failed()
        requests = [request for commit in lost for request in commit.draft.requests]
        effects = self.acks.lost(requests, event.code, event.reason)
        for commit in lost:
            for number, amount in commit.draft.credits.items():
                link = self.links.get(number)
                if link is not None:
                    effects += self._give_credit(link, amount)
        self.pulls.taint_all()
        self.mending.commits_failed()
        effects += self.returning.commits_failed()
        self.trimming.commits_failed()
        self.collector.look_again()
        self.counters["commits_failed"] += 1
        self.is_disk_refusing = True
        effects.append(Log("error", event.code, {"reason": event.reason}))
        return effects

    def link_gone(self, link: Link, now: Now) -> list[Effect]:
        """Forget what was under way over a link that is no longer among the open ones."""
        effects = self.serving.link_closed(link.link)
        self.pulls.link_closed(link.link)
        effects += self.returning.link_closed(link.link)
        retries, given_up = self.fetcher.link_closed(link.link, now)
        effects += self._give_up(given_up) + retries
        return effects + self.custody.link_gone(link, now)

    # -- reading for others

    def handle_page(self, page: PageRead, now: Now) -> list[Effect]:
        """Views with numbers below 0 are `returning`'s, far below `trimming`'s, and lowest what is let go."""
        if page.reading <= FIRST_READING:
            return self.custody.handle_page(page)
        if page.reading < TRIMMING_BELOW:
            return self.trimming.page(page, now)
        if page.reading < 0:
            return self.returning.handle_page(page, now)
        if self._is_placed(page.reading):
            self.custody.pace.took(page.records, now)
        return self.custody.pace.slowed(self.serving.handle_page(page), self._is_placed, now)

    def page_due(self, reading: int) -> list[Effect]:
        return [NextPage(reading)] if self.serving.shard_of(reading) is not None else []

    def _is_placed(self, reading: int) -> bool:
        shard = self.serving.shard_of(reading)
        return shard is not None and self.placement.is_placed(shard)

    def members_seen(self, members: Sequence[Candidate], gone_count: int, now: Now) -> list[Effect]:
        """Who counts as an owner. If that is news, all tell each other what the other is to have too."""
        is_news, effects = self.custody.see(members, gone_count, now)
        return effects + self.compare(now) if is_news else effects


def _ranges(
    records: list[Record], shard_of: Callable[[str], Shard] = shard_of
) -> dict[tuple[Shard, Author], tuple[int, int]]:
    """First and last number of these writes in each shard."""
    ranges: dict[tuple[Shard, Author], tuple[int, int]] = {}
    for record in records:
        log = (shard_of(record.key), record.author)
        first = ranges.get(log, (record.sequence, 0))[0]
        ranges[log] = (first, record.sequence)
    return ranges
