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

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import (
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
    Stop,
)
from bellande_mesh_sync.core.events import (
    ChunkRefused,
    ChunksAdded,
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
    ChunkOffer,
    ChunkWant,
    Credit,
    Have,
    Hello,
    Members,
    Note,
    Ping,
    Pong,
    Records,
    StreamEnd,
    Summary,
    Want,
)
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.core.session.dialing import UNWANTED, Dialer
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.timers import AckOverdue, FetchOverdue, PullDue, RepairDue, StreamOverdue, Tick
from bellande_mesh_sync.ids import NodeId, Now

CHUNK_LINK_IDLE_NS = 60_000_000_000
MEMBERS_MESSAGE_MAX = 500
LOGGED_FAILURES = (1, 10, 100)
"""Which failures in a row to reach a node are worth a line in the log."""


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
        self.exchange = Exchange(config, me, self.links, self.counters, reader, state, rng, new_epoch)
        self.replica = self.exchange.replica
        self.acks = self.exchange.acks
        self.fetcher = self.exchange.fetcher
        self.pulls = self.exchange.pulls
        self._dialer = Dialer(config, me.bootstrap, rng)
        self._rng = rng
        self._told_linked: tuple[NodeId, ...] = ()
        self._is_leaving = False
        self._no_chunk_links: dict[NodeId, int] = {}
        """Peers that turned a link for chunks away, and until when none is dialled to them again."""
        exchange = self.exchange
        self._handlers: dict[type, Callable[[Any, Now], list[Effect]]] = {
            WriteMany: lambda event, now: exchange.write(event, self.directory.owners(now), now),
            SendNote: self._send_note,
            Leave: self._leave,
            LinkOpened: self._link_opened,
            LinkClosed: self._link_closed,
            DialFailed: self._dial_failed,
            Received: self._received,
            Committed: exchange.handle_committed,
            CommitFailed: exchange.handle_commit_failed,
            PageRead: lambda event, now: exchange.serving.handle_page(event),
            MissingFound: exchange.handle_missing_found,
            ChunksAdded: exchange.handle_chunks_added,
            ChunksStored: exchange.handle_chunks_stored,
            ChunkRefused: exchange.handle_chunk_refused,
            TimerFired: self._timer_fired,
        }
        self._receivers: dict[type, Callable[[Link, Any, Now], list[Effect]]] = {
            Records: exchange.handle_records,
            Have: exchange.handle_have,
            Credit: exchange.handle_credit,
            Want: lambda link, want, now: exchange.serving.handle_want(link, want),
            StreamEnd: exchange.pulls.handle_end,
            Summary: exchange.handle_summary,
            Members: self._members,
            Ping: lambda link, ping, now: [Send(link.link, Pong(ping.number))],
            Pong: self._pong,
            Note: self._note,
            ChunkWant: lambda link, want, now: [SendChunks(link.link, want.hashes)],
            ChunkOffer: exchange.handle_chunk_offer,
            ChunkMissing: exchange.handle_chunk_missing,
        }

    def start(self, now: Now) -> list[Effect]:
        self.directory.start(now)
        self.replica.draft.remember(self.directory.own)
        first_repair_ns = now.mono_ns + round(self._rng.random() * self.config.sync_interval_ns)
        effects: list[Effect] = [SetTimer(RepairDue(), first_repair_ns)]
        return self._sealed(effects + self._tick(now), now)

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event; the effects, a Commit of all it wants on disk last among them."""
        return self._sealed(self._handlers[type(event)](event, now), now)

    def _sealed(self, effects: list[Effect], now: Now) -> list[Effect]:
        if self.fetcher.has_work:
            effects += self._dial_for_chunks(now)
        commit = self.replica.seal()
        if commit is not None:
            effects.append(commit)
        return effects

    def backlog(self) -> dict[str, int]:
        """How much waits for other nodes or for the disk, by name. Bounded, and nothing at rest."""
        return {
            "acks_waiting": len(self.acks),
            "fetches": len(self.fetcher),
            "streams": len(self.pulls),
            "uncommitted_bytes": self.replica.uncommitted_bytes,
        }

    def hello(self, lane: int) -> Hello:
        return Hello(
            PROTOCOL_OLDEST, PROTOCOL_NEWEST, self.me.mesh, self.me.node, self.me.boot, lane,
            self.directory.own, self.config.credit_bytes,
        )  # fmt: skip

    # -- programs

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
        effects: list[Effect] = []
        if len(self.links) >= self.config.connections_max:
            spare = self.links.longest_silent_chunk_lane() if link.lane == RECORDS_LANE else None
            if spare is None:
                return self._refuse_link(link, now)
            effects += self._hang_up(spare, "closing", "its place is needed for a link for records", now)
        loser = self.links.add(link)
        if loser is link:
            return [*effects, Hangup(link.link, "duplicate", "the other link between us stays")]
        if loser is not None:
            effects.append(Hangup(loser.link, "duplicate", "the newer link between us stays"))
            effects += self._after_link(loser, "duplicate", now)
        if link.lane == CHUNKS_LANE:
            return effects + self.fetcher.link_opened(link.peer, link.link, now)
        self.counters["links_opened"] += 1
        for lane in self.links.chunk_lanes(link.peer):
            if lane.boot != link.boot:
                effects += self._hang_up(lane, "closing", "it is from before the peer's restart", now)
        effects += self._learn([event.hello.member], link, now)
        effects += self._introduce(link)
        effects += self.exchange.summaries([link])
        return effects + self._changes(self.directory.evaluate(now))

    def _refuse_link(self, link: Link, now: Now) -> list[Effect]:
        self.counters["links_refused"] += 1
        effects: list[Effect] = [Hangup(link.link, "busy", "this node has as many links as it may")]
        if link.lane == CHUNKS_LANE and link.is_outbound:
            effects += self._chunks_over_records(link.peer, now)
        return effects

    def _link_closed(self, event: LinkClosed, now: Now) -> list[Effect]:
        link = self.links.remove(event.link)
        if link is None:
            return []  # We hung it up ourselves.
        if link.lane == RECORDS_LANE:
            self.counters["links_lost"] += 1
        elif link.is_outbound and event.code in UNWANTED:
            self._no_chunk_links[link.peer] = now.mono_ns + self.config.redial_max_ns
        return self._after_link(link, event.code, now)

    def _hang_up(self, link: Link, code: str, reason: str, now: Now) -> list[Effect]:
        if self.links.remove(link.link) is None:
            return []
        return [Hangup(link.link, code, reason), *self._after_link(link, code, now)]

    def _after_link(self, link: Link, code: str, now: Now) -> list[Effect]:
        """Let everyone forget a link that is no longer among the open ones."""
        effects = self.exchange.link_gone(link, now)
        if link.lane == RECORDS_LANE and self.links.to(link.peer) is None:
            self._dialer.lost(link.peer, code, now)
            while (lane := self.links.for_chunks(link.peer)) is not None:
                effects += self._hang_up(lane, "closing", "the link for records is gone", now)
        return effects + self._changes(self.directory.evaluate(now))

    def _dial_failed(self, event: DialFailed, now: Now) -> list[Effect]:
        self.counters["dials_failed"] += 1
        chunk_peer = self._dialer.chunk_dial_failed(event.dial)
        if chunk_peer is not None:
            return self._chunks_over_records(chunk_peer, now)
        target = self._dialer.failed(event.dial, event.code, now)
        if target is None or event.code == "self" or target.failures not in LOGGED_FAILURES:
            return []
        whom = target.addresses[0] if target.peer is None else self.directory.name_of(target.peer)
        return [Log("warning", event.code, {"dialled": whom, "reason": event.reason})]

    def _dial(self, now: Now) -> list[Effect]:
        if self._is_leaving:
            return []
        linked = {link.peer for link in self.links.records_links()}
        room = self.config.connections_max - len(linked)  # Links for chunks make room for those for records.
        effects: list[Effect] = list(self._dialer.due(self.directory.to_dial(now), linked, room, now))
        return effects

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
                return effects + (self.exchange.compare() if is_stalled else [])
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
        is_news = link.reported != message.linked
        link.reported = message.linked
        effects = self._learn(message.members, link, now)
        if not effects and not is_news:
            return []
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
        if self.directory.has_double and not self._is_leaving:
            self._is_leaving = True
            reason = "another node runs with this node's identity; give one of them a home of its own"
            effects.append(Stop("identity_conflict", reason))
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

    def _introduce(self, link: Link) -> list[Effect]:
        """Tell a newly linked peer everyone we know, in messages that fit a frame."""
        records, linked = self.directory.records(), self.links.linked_peers()
        return [
            Send(link.link, Members(records[start : start + MEMBERS_MESSAGE_MAX], linked))
            for start in range(0, len(records), MEMBERS_MESSAGE_MAX)
        ]

    def _tell(self, message: Members) -> list[Effect]:
        return [Send(link.link, message) for link in self.links.records_links()]

    # -- knowledge

    def _repair(self, now: Now) -> list[Effect]:
        self.replica.try_again()
        self.pulls.try_again()
        pause_ns = round(self.config.sync_interval_ns * (0.9 + 0.2 * self._rng.random()))
        return [*self.exchange.compare(), SetTimer(RepairDue(), now.mono_ns + pause_ns)]

    def _dial_for_chunks(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self.fetcher.needs_link():
            member = self.directory.get(peer)
            has_no_room = now.mono_ns < self._no_chunk_links.get(peer, 0)
            if has_no_room or member is None or not member.record.addresses:
                effects += self._chunks_over_records(peer, now)
                continue
            dial = self._dialer.dial_for_chunks(member.record)
            if dial is not None:
                effects.append(dial)
        return effects

    def _chunks_over_records(self, peer: NodeId, now: Now) -> list[Effect]:
        """It cannot be dialled, or has no room: let its chunks share the link for records."""
        link = self.links.to(peer)
        return [] if link is None else self.fetcher.link_opened(peer, link.link, now)

    # -- messages

    def _received(self, event: Received, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        link = self.links.get(event.link)
        if link is not None and not event.messages:
            link.last_heard_ns = now.mono_ns
            self.fetcher.got_bytes(link.link)
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
