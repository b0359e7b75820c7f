"""One node: takes events, routes them to the machines below, returns what they want done.

The machines and their rooms: who is in the mesh (members/directory.py), which links are open and
whom to dial (session/), what is stored and what replaces what (data/replica.py), and how records
get around: push after a commit (spreading/push.py), knowledge compared and the difference asked
for (pulls.py) and answered (serving.py), chunks fetched (fetching.py), disks counted (acks.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from blake3 import blake3

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import (
    Changed,
    Deliver,
    Effect,
    Hangup,
    Log,
    MemberChanged,
    Reject,
    Resolve,
    Send,
    SendChunks,
    SetTimer,
)
from bellande_mesh_sync.core.events import (
    ChunkRefused,
    ChunksStored,
    CommitFailed,
    Committed,
    DialFailed,
    Event,
    Leave,
    LinkClosed,
    LinkOpened,
    MissingFound,
    PageRead,
    Received,
    SendNote,
    TimerFired,
    WriteMany,
)
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.member import MemberRecord, MemberState
from bellande_mesh_sync.core.messages import (
    CHUNKS_LANE,
    PROTOCOL_NEWEST,
    PROTOCOL_OLDEST,
    RECORDS_LANE,
    ChunkMissing,
    ChunkWant,
    Credit,
    Have,
    Hello,
    Members,
    Note,
    Ping,
    Pong,
    Records,
    ShardSummary,
    StreamEnd,
    Summary,
    Want,
)
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.core.session.dialing import Dialer
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.acks import Acks, Waiting, need_of
from bellande_mesh_sync.core.spreading.fetching import Fetch, Fetcher
from bellande_mesh_sync.core.spreading.pulls import Pulls
from bellande_mesh_sync.core.spreading.push import news_of, spread
from bellande_mesh_sync.core.spreading.serving import Serving
from bellande_mesh_sync.core.spreading.weight import weight_of
from bellande_mesh_sync.core.timers import AckOverdue, FetchOverdue, PullDue, RepairDue, StreamOverdue, Tick
from bellande_mesh_sync.ids import Author, NodeId, Now, Shard, author_of, node_of
from bellande_mesh_sync.keys import shard_of

CHUNK_LINK_IDLE_NS = 60_000_000_000
REPAIR_PEERS_MAX = 16
"""Peers that knowledge is compared with in one round; more are a random choice each time."""


class NodeCore:
    """The decisions of one node. Give it events with `handle`, perform what it returns, in order.

    Args:
        reader: sees committed records only.
        state: what the store held when it was opened.
        rng: all chance in here; seeded, the node is deterministic.
        new_epoch: 8 fresh bytes each call.
    """

    def __init__(
        self, config: CoreConfig, me: LocalNode, reader: RecordReader, state: StoredState,
        rng: random.Random, new_epoch: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self.config = config
        self.me = me
        self.counters = Counters()
        self.links = Links(me.node)
        self.directory = Directory(config, me, self.links, self.counters, state.members)
        self.clock = HybridClock(config.clock_drift_max_ms, state.clock)
        self.replica = Replica(author_of(me.node, state.epoch), self.clock, reader, state)
        self.acks = Acks(me.node)
        self.serving = Serving(config, self.links, self.counters)
        self.fetcher = Fetcher(config, self.links, self.counters)
        self.pulls = Pulls(
            config, me.node, self.links, self.replica, self.counters, self.fetcher.arriving
        )  # fmt: skip
        self._dialer = Dialer(config, me.bootstrap, rng)
        self._rng = rng
        self._new_epoch = new_epoch
        self._told_linked: tuple[NodeId, ...] = ()
        self._is_leaving = False
        self._handlers: dict[type, Callable[[Any, Now], list[Effect]]] = {
            WriteMany: self._write,
            SendNote: self._send_note,
            Leave: self._leave,
            LinkOpened: self._link_opened,
            LinkClosed: self._link_closed,
            DialFailed: self._dial_failed,
            Received: self._received,
            Committed: self._committed,
            CommitFailed: self._commit_failed,
            PageRead: lambda event, now: self.serving.handle_page(event),
            MissingFound: self._missing_found,
            ChunksStored: self._chunks_stored,
            ChunkRefused: self._chunk_refused,
            TimerFired: self._timer_fired,
        }
        self._receivers: dict[type, Callable[[Link, Any, Now], list[Effect]]] = {
            Records: self._records,
            Have: self._have,
            Credit: self._credit,
            Want: lambda link, want, now: self.serving.handle_want(link, want),
            StreamEnd: self.pulls.handle_end,
            Summary: self._summary,
            Members: self._members,
            Ping: lambda link, ping, now: [Send(link.link, Pong(ping.number))],
            Pong: self._pong,
            Note: self._note,
            ChunkWant: lambda link, want, now: [SendChunks(link.link, want.hashes)],
            ChunkMissing: self._chunk_missing,
        }

    def start(self, now: Now) -> list[Effect]:
        self.directory.start(now)
        self.replica.draft.remember(self.directory.own)
        first_repair_ns = now.mono_ns + round(self._rng.random() * self.config.sync_interval_ns)
        effects: list[Effect] = [SetTimer(RepairDue(), first_repair_ns)]
        return self._sealed(effects + self._tick(now))

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event; the effects, a Commit of all it wants on disk last among them."""
        return self._sealed(self._handlers[type(event)](event, now))

    def _sealed(self, effects: list[Effect]) -> list[Effect]:
        commit = self.replica.seal()
        if commit is not None:
            effects.append(commit)
        return effects

    def hello(self, lane: int) -> Hello:
        return Hello(
            PROTOCOL_OLDEST, PROTOCOL_NEWEST, self.me.mesh, self.me.node, self.me.boot, lane,
            self.directory.own, self.config.credit_bytes,
        )  # fmt: skip

    # -- programs

    def _write(self, command: WriteMany, now: Now) -> list[Effect]:
        if self.replica.uncommitted_bytes > self.config.uncommitted_bytes_max:
            limit = f"{self.config.uncommitted_bytes_max} bytes"
            return [Reject(command.request, "busy", {"what": "the write queue", "limit": limit})]
        if len(self.acks) >= self.config.acks_waiting_max:
            limit = f"{self.config.acks_waiting_max} writes"
            return [Reject(command.request, "busy", {"what": "the queue for acks", "limit": limit})]
        refused = self.replica.refusal(command.writes, now)
        if refused is not None:
            return [Reject(command.request, "precondition_failed", {"key": refused})]
        records = self.replica.write(command.writes, now)
        owners = self.directory.owners(now)
        self.acks.expect(
            Waiting(
                command.request,
                command.ack,
                command.timeout_ns,
                records,
                _ranges(records),
                owners,
                need_of(command.ack, len(owners)),
            )
        )
        draft = self.replica.draft
        draft.requests.append(command.request)
        draft.size_bytes += sum(weight_of(record) for record in records)
        self.counters["records_written"] += len(records)
        if command.ack == "local":
            return []  # The disk always answers.
        return [SetTimer(AckOverdue(command.request), now.mono_ns + command.timeout_ns)]

    def _send_note(self, command: SendNote, now: Now) -> list[Effect]:
        if command.to is None:
            links = self.links.records_links()
        else:
            link = self.links.to(command.to)
            if link is None:
                self.counters["notes_unroutable"] += 1
                address = self.directory.name_of(command.to)
                facts = {"address": address, "reason": "no link with this node is open"}
                return [Reject(command.request, "unreachable", facts)]
            links = [link]
        note = Note(command.id, command.topic, command.body)
        self.counters["notes_sent"] += len(links)
        return [*(Send(link.link, note) for link in links), Resolve(command.request, len(links))]

    def _leave(self, command: Leave, now: Now) -> list[Effect]:
        self._is_leaving = True
        record = self.directory.leave()
        self.replica.draft.remember(record)
        effects = self._tell(Members((record,), ()))
        for link in self.links.all_links():
            effects += self._hang_up(link, "closing", "the node is stopping", now)
        return [*effects, Resolve(command.request, None)]

    # -- links

    def _link_opened(self, event: LinkOpened, now: Now) -> list[Effect]:
        if event.dial:
            self._dialer.opened(event.dial, event.peer)
        link = Link(
            event.link, event.peer, event.hello.lane, event.hello.boot, event.address, event.dial != 0,
            now.mono_ns, now.mono_ns, event.hello.credit_bytes,
        )  # fmt: skip
        if self._is_leaving:
            return [Hangup(link.link, "closing", "the node is stopping")]
        if len(self.links) >= self.config.connections_max:
            self.counters["links_refused"] += 1
            return [Hangup(link.link, "busy", "this node has as many links as it may")]
        loser = self.links.add(link)
        if loser is link:
            return [Hangup(link.link, "duplicate", "the other link between us stays")]
        effects: list[Effect] = []
        if loser is not None:
            effects.append(Hangup(loser.link, "duplicate", "the newer link between us stays"))
            effects += self._after_link(loser, now)
        if link.lane == CHUNKS_LANE:
            return effects + self.fetcher.link_opened(link.peer, link.link, now)
        self.counters["links_opened"] += 1
        effects += self._learn([event.hello.member], link, now)
        effects.append(Send(link.link, Members(self.directory.records(), self.links.linked_peers())))
        effects.append(Send(link.link, self._summary_message()))
        return effects + self._changes(self.directory.evaluate(now))

    def _link_closed(self, event: LinkClosed, now: Now) -> list[Effect]:
        link = self.links.remove(event.link)
        if link is None:
            return []  # We hung it up ourselves.
        if link.lane == RECORDS_LANE:
            self.counters["links_lost"] += 1
        return self._after_link(link, now)

    def _hang_up(self, link: Link, code: str, reason: str, now: Now) -> list[Effect]:
        if self.links.remove(link.link) is None:
            return []
        return [Hangup(link.link, code, reason), *self._after_link(link, now)]

    def _after_link(self, link: Link, now: Now) -> list[Effect]:
        """Let everyone forget a link that is no longer among the open ones."""
        effects = self.serving.link_closed(link.link)
        self.pulls.link_closed(link.link)
        retries, given_up = self.fetcher.link_closed(link.link, now)
        effects += retries
        self._give_up(given_up)
        if link.lane == RECORDS_LANE and self.links.to(link.peer) is None:
            self._dialer.lost(link.peer, now)
            while (lane := self.links.for_chunks(link.peer)) is not None:
                effects += self._hang_up(lane, "closing", "the link for records is gone", now)
        return effects + self._changes(self.directory.evaluate(now))

    def _dial_failed(self, event: DialFailed, now: Now) -> list[Effect]:
        chunk_peer = self._dialer.failed(event.dial, event.code, now)
        self.counters["dials_failed"] += 1
        if chunk_peer is None:
            return []
        # It cannot be dialled, only dial us: let its chunks share the link for records.
        link = self.links.to(chunk_peer)
        return [] if link is None else self.fetcher.link_opened(chunk_peer, link.link, now)

    def _dial(self, now: Now) -> list[Effect]:
        if self._is_leaving:
            return []
        linked = {link.peer for link in self.links.records_links()}
        room = self.config.connections_max - len(self.links)
        effects: list[Effect] = list(self._dialer.due(self.directory.to_dial(now), linked, room, now))
        return effects + self._dial_for_chunks()

    # -- timers

    def _timer_fired(self, event: TimerFired, now: Now) -> list[Effect]:
        match event.timer:
            case Tick():
                return self._tick(now)
            case RepairDue():
                return self._repair(now)
            case PullDue(link=link):
                return self.pulls.handle_pull_due(link, now)
            case AckOverdue(request=request):
                return self.acks.overdue(request)
            case StreamOverdue(stream=stream, mark=mark):
                effects, is_stalled = self.pulls.handle_overdue(stream, mark, now)
                return effects + (self._compare() if is_stalled else [])
            case FetchOverdue(link=number, mark=mark):
                effects, is_stalled = self.fetcher.handle_overdue(number, mark, now)
                stalled = self.links.get(number) if is_stalled else None
                if stalled is not None:
                    effects += self._hang_up(stalled, "stalled", "no chunk came for too long", now)
                return effects
        raise AssertionError(f"unknown timer {event.timer!r}")

    def _tick(self, now: Now) -> list[Effect]:
        effects: list[Effect] = [SetTimer(Tick(), now.mono_ns + self.config.tick_ns)]
        if self._is_leaving:
            return effects
        for link in self.links.all_links():
            effects += self._look_after(link, now)
        effects += self._changes(self.directory.evaluate(now))
        linked = self.links.linked_peers()
        if linked != self._told_linked:
            self._told_linked = linked
            effects += self._tell(Members((), linked))
        return effects + self._dial(now)

    def _look_after(self, link: Link, now: Now) -> list[Effect]:
        silent_ns = now.mono_ns - link.last_heard_ns
        if link.lane == CHUNKS_LANE:
            is_ours = link.is_outbound and silent_ns > CHUNK_LINK_IDLE_NS
            if is_ours and not self.fetcher.is_using(link.link):
                return self._hang_up(link, "closing", "no chunks to fetch for a while", now)
            return []
        if silent_ns > 3 * self.config.ping_interval_ns:
            self.counters["links_silent"] += 1
            return self._hang_up(link, "silent", f"nothing heard for {silent_ns / 1e9:.1f} s", now)
        if silent_ns >= self.config.ping_interval_ns or link.ping_number == 0:
            link.ping_number += 1
            link.ping_sent_ns = now.mono_ns
            return [Send(link.link, Ping(link.ping_number))]
        return []

    def _pong(self, link: Link, pong: Pong, now: Now) -> list[Effect]:
        if pong.number == link.ping_number:
            link.rtt_ns = now.mono_ns - link.ping_sent_ns
        return []

    # -- members

    def _members(self, link: Link, message: Members, now: Now) -> list[Effect]:
        link.reported = message.linked
        effects = self._learn(message.members, link, now)
        return effects + self._changes(self.directory.evaluate(now)) + self._dial(now)

    def _learn(self, records: Iterable[MemberRecord], source: Link, now: Now) -> list[Effect]:
        """Take in member records; pass on and keep what was news."""
        news = []
        effects: list[Effect] = []
        for record in records:
            is_news, changes = self.directory.apply(record, now)
            effects += self._changes(changes)
            if is_news:
                kept = self.directory.own if record.node == self.me.node else record
                news.append(kept)
                self.replica.draft.remember(kept)
        if news:
            linked = self.links.linked_peers()
            is_own = any(record.node == self.me.node for record in news)
            message = Members(tuple(news), linked)
            effects += [
                Send(link.link, message)
                for link in self.links.records_links()
                if link is not source or is_own
            ]
        return effects

    def _changes(self, changes: list[MemberChanged]) -> list[Effect]:
        effects: list[Effect] = list(changes)
        for change in changes:
            if change.new_state == MemberState.LEFT:
                effects += self.acks.member_left(change.node)
        return effects

    def _tell(self, message: Members) -> list[Effect]:
        return [Send(link.link, message) for link in self.links.records_links()]

    # -- knowledge

    def _repair(self, now: Now) -> list[Effect]:
        pause_ns = round(self.config.sync_interval_ns * (0.9 + 0.2 * self._rng.random()))
        return [*self._compare(), SetTimer(RepairDue(), now.mono_ns + pause_ns)]

    def _compare(self) -> list[Effect]:
        """Open a repair with every peer, or with a random choice of many."""
        links = self.links.records_links()
        if len(links) > REPAIR_PEERS_MAX:
            links = self._rng.sample(links, REPAIR_PEERS_MAX)
        summary = self._summary_message()
        return [Send(link.link, summary) for link in links]

    def _summary_message(self) -> Summary:
        return Summary(
            tuple(
                ShardSummary(shard, state.committed.delta(), state.fingerprint.to_bytes(32, "little"))
                for shard, state in self.replica.shards()
            )
        )

    def _summary(self, link: Link, message: Summary, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for theirs in message.shards:
            effects += self._told(link, theirs.shard, theirs.knowledge, now)
            mine = self.replica.shard(theirs.shard)
            if mine.committed.delta() != theirs.knowledge:
                continue
            if mine.fingerprint.to_bytes(32, "little") != theirs.fingerprint:
                self.counters["fingerprint_mismatches"] += 1
                facts = {"shard": theirs.shard, "peer": self.directory.name_of(link.peer)}
                effects.append(Log("error", "fingerprint_mismatch", facts))
        return effects

    def _have(self, link: Link, message: Have, now: Now) -> list[Effect]:
        return self._told(link, message.shard, message.dots, now)

    def _told(self, link: Link, shard: Shard, dots: Delta, now: Now) -> list[Effect]:
        """A peer has these dots on disk: acks for our own, offers of what we lack."""
        effects: list[Effect] = []
        for author, ranges in dots:
            if node_of(author) == self.me.node:
                effects += self._check_epoch(shard, author, ranges[-1][1] if ranges else 0)
                effects += self.acks.note(link.peer, shard, author, ranges)
        return effects + self.pulls.offered(link, shard, dots, now)

    def _check_epoch(self, shard: Shard, author: Author, last: int) -> list[Effect]:
        """Others know writes in our name that we do not: our store is an old copy, so start a new author."""
        if author != self.replica.author or last <= self.replica.shard(shard).seen.last(self.replica.author):
            return []
        epoch = self._new_epoch()
        self.replica.take_new_epoch(author_of(self.me.node, epoch), epoch)
        self.counters["epochs_renewed"] += 1
        return [Log("warning", "store_overtaken", {"shard": shard, "last_known_elsewhere": last})]

    # -- records

    def _records(self, link: Link, message: Records, now: Now) -> list[Effect]:
        shard, stream = message.shard, message.stream
        pull = self.pulls.arrived(stream, link.link, shard) if stream else None
        seen = self.replica.shard(shard).seen
        accepted: dict[tuple[Author, int], Record] = {}
        draft = self.replica.draft
        effects: list[Effect] = []
        own = self.replica.author
        last_own = max((r.sequence for r in message.records if r.author == own), default=0)
        effects += self._check_epoch(shard, own, last_own)
        stamp_max = self.clock.limit(now)
        done_bytes = taken_bytes = 0
        for record in message.records:
            weight = weight_of(record)
            dot = (record.author, record.sequence)
            if seen.contains(*dot) or dot in accepted:
                self.counters["records_duplicate"] += 1
                done_bytes += weight
            elif not self._is_sound(record, stamp_max):
                self.pulls.taint(stream)
                done_bytes += weight
            elif record.manifest is not None:
                effects += self._fetch(link, shard, record, stream if pull else 0)
                done_bytes += weight
            else:
                accepted[dot] = record
                taken_bytes += weight
        if accepted:
            draft.credits[link.link] += taken_bytes
            draft.size_bytes += taken_bytes
            self.replica.accept(shard, list(accepted.values()), now)
            self.counters["records_received"] += len(accepted)
            if pull is not None:
                pull.uncommitted_count += len(accepted)
                draft.streams[stream] += len(accepted)
        return effects + self._give_credit(link, done_bytes) + self._dial_for_chunks()

    def _is_sound(self, record: Record, stamp_max: int) -> bool:
        if record.stamp > stamp_max:
            self.counters["clock_ahead"] += 1
            return False
        if record.inline is not None and blake3(record.inline).digest() != record.digest:
            self.counters["records_damaged"] += 1
            return False
        return True

    def _fetch(self, link: Link, shard: Shard, record: Record, stream: int) -> list[Effect]:
        if self.fetcher.is_arriving(shard, record, link.peer):
            return []
        effects = self.fetcher.start(shard, record, stream, link.peer)
        if effects is None:
            self.pulls.taint(stream)
            return []
        pull = self.pulls.arrived(stream, link.link, shard) if stream else None
        if pull is not None:
            pull.uncommitted_count += 1
        return effects

    def _give_credit(self, link: Link, amount_bytes: int) -> list[Effect]:
        link.owed += amount_bytes
        if link.owed < self.config.credit_bytes // 16 or self.links.get(link.link) is None:
            return []
        effect = Send(link.link, Credit(link.owed))
        link.owed = 0
        return [effect]

    def _credit(self, link: Link, message: Credit, now: Now) -> list[Effect]:
        link.credit = min(link.credit + message.amount_bytes, 1 << 40)
        return self.serving.credit_came(link)

    # -- chunks

    def _missing_found(self, event: MissingFound, now: Now) -> list[Effect]:
        effects, whole, given_up = self.fetcher.handle_missing(event, now)
        for fetch in whole:
            self._take_in(fetch, now)
        self._give_up(given_up)
        return effects + self._dial_for_chunks()

    def _take_in(self, fetch: Fetch, now: Now) -> None:
        """A large value is whole on this disk: now its record counts."""
        seen = self.replica.shard(fetch.shard).seen
        if seen.contains(fetch.record.author, fetch.record.sequence):
            self.pulls.abandoned(fetch.stream)
            return
        self.replica.accept(fetch.shard, [fetch.record], now)
        self.counters["records_received"] += 1
        draft = self.replica.draft
        draft.size_bytes += weight_of(fetch.record)
        draft.streams[fetch.stream] += 1

    def _give_up(self, fetches: list[Fetch]) -> None:
        for fetch in fetches:
            self.counters["fetches_abandoned"] += 1
            self.pulls.abandoned(fetch.stream)

    def _chunks_stored(self, event: ChunksStored, now: Now) -> list[Effect]:
        link = self.links.get(event.link)
        if link is None:
            return []
        link.last_heard_ns = now.mono_ns
        effects, _ = self.fetcher.stored(link.peer, event.hashes, now)
        return effects

    def _chunk_refused(self, event: ChunkRefused, now: Now) -> list[Effect]:
        self.counters["chunks_refused"] += 1
        link = self.links.get(event.link)
        return [] if link is None else self._chunks_failed(link, (event.hash,), now)

    def _chunk_missing(self, link: Link, message: ChunkMissing, now: Now) -> list[Effect]:
        self.counters["chunks_missing"] += len(message.hashes)
        return self._chunks_failed(link, message.hashes, now)

    def _chunks_failed(self, link: Link, hashes: tuple[bytes, ...], now: Now) -> list[Effect]:
        effects, given_up = self.fetcher.refused(link.peer, hashes, now)
        self._give_up(given_up)
        return effects + self.fetcher.pump(link.peer, now)

    def _dial_for_chunks(self) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self.fetcher.needs_link():
            member = self.directory.get(peer)
            dial = member and self._dialer.dial_for_chunks(member.record)
            if dial:
                effects.append(dial)
        return effects

    # -- the disk

    def _committed(self, event: Committed, now: Now) -> list[Effect]:
        commits = self.replica.committed(event.commit)
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
        effects += spread(news_of(commits, self.me.node), self.links.records_links(), self.counters)
        for number, amount in credits.items():
            link = self.links.get(number)
            if link is not None:
                effects += self._give_credit(link, amount)
        effects += self.pulls.committed(streams, shards, now)
        if changed:
            effects.append(Changed(tuple(changed)))
        return effects

    def _commit_failed(self, event: CommitFailed, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for commit in self.replica.failed():
            effects += self.acks.lost(commit.draft.requests, event.code, event.reason)
            for number, amount in commit.draft.credits.items():
                link = self.links.get(number)
                if link is not None:
                    effects += self._give_credit(link, amount)
        self.pulls.taint_all()
        self.counters["commits_failed"] += 1
        effects.append(Log("error", event.code, {"reason": event.reason}))
        return effects

    # -- messages

    def _received(self, event: Received, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for message in event.messages:
            link = self.links.get(event.link)
            if link is None:
                break  # Hung up in the middle: what it still said does not count.
            link.last_heard_ns = now.mono_ns
            receiver = self._receivers.get(type(message))
            if receiver is None:
                effects += self._hang_up(link, "bad_frame", f"unexpected {type(message).__name__}", now)
                break
            effects += receiver(link, message, now)
        return effects

    def _note(self, link: Link, note: Note, now: Now) -> list[Effect]:
        self.counters["notes_received"] += 1
        return [Deliver(link.peer, note.topic, note.body)]


def _ranges(records: list[Record]) -> dict[tuple[Shard, Author], tuple[int, int]]:
    """First and last number of these writes in each shard."""
    ranges: dict[tuple[Shard, Author], tuple[int, int]] = {}
    for record in records:
        log = (shard_of(record.key), record.author)
        first = ranges.get(log, (record.sequence, 0))[0]
        ranges[log] = (first, record.sequence)
    return ranges
