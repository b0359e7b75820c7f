"""One node: takes events, routes them to the machines below, returns what they want done.

The machines and their rooms: who is in the mesh (members/), which links are open and whom to dial
(session/), what is stored and what replaces what (data/replica.py), messages from program to program
(delivery/), and how records get around: push after a commit (spreading/push.py), knowledge compared
and the difference asked for (pulls.py) and answered (serving.py), chunks fetched (fetching.py), disks
counted (acks.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.functions import BoundedMerge
from bellande_mesh_sync.core.data.record import Manifest
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.delivery.notes import Notes
from bellande_mesh_sync.core.effects import Effect, Log, Resolve, Send, SendChunks, SetTimer, Stop
from bellande_mesh_sync.core.events import (
    AddMember,
    AddressesChanged,
    AddStatements,
    AnnounceSelf,
    ChunkRefused,
    ChunksAdded,
    ChunksStored,
    Cleanup,
    CommitFailed,
    Committed,
    DamageFound,
    DatagramReceived,
    DialFailed,
    Event,
    Examined,
    FetchValue,
    Found,
    Leave,
    LinkClosed,
    LinkOpened,
    LoopLate,
    MissingFound,
    PageRead,
    ReadKeys,
    Received,
    RemoveMember,
    RestoreMembers,
    ScanKeys,
    SealKeyChanged,
    SendNote,
    SetConnectionsMax,
    Sleep,
    StatementsJudged,
    Survey,
    SyncNow,
    TimerFired,
    UpdateSelf,
    Wake,
    WriteMany,
)
from bellande_mesh_sync.core.members.commands import MemberCommands
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.members.surveys import Surveys
from bellande_mesh_sync.core.messages import (
    PROTOCOL_NEWEST,
    PROTOCOL_OLDEST,
    ChunkMissing,
    ChunkOffer,
    ChunkWant,
    Credit,
    Have,
    Hello,
    HoldAnswer,
    HoldWant,
    LiveDots,
    LiveWant,
    MemberDatagram,
    MemberStream,
    Note,
    Ping,
    PlacedSummary,
    Pong,
    ReachAnswer,
    ReachWant,
    ReadAnswer,
    ReadWant,
    Records,
    RelayedNote,
    ScanAnswer,
    ScanWant,
    StatementDigest,
    StatementIds,
    Statements,
    StatementWant,
    StreamEnd,
    Summary,
    SurveyReport,
    SurveyWant,
    Want,
)
from bellande_mesh_sync.core.reader import RecordReader, StoredState
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.session.switchboard import Switchboard
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.revocations import Revocations, RevokedNode
from bellande_mesh_sync.core.statements.spreading import StatementSpreading
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.core.timers import (
    AckOverdue,
    FetchOverdue,
    HistoryDue,
    LookupDue,
    NoteOverdue,
    PageDue,
    PullDue,
    RepairDue,
    StreamOverdue,
    SurveyOver,
    SwimDue,
    Tick,
    Timer,
    WakeDue,
)
from bellande_mesh_sync.ids import NodeId, Now

SIGNS_OF_LIFE = frozenset({Ping, Pong, MemberStream, MemberDatagram, Summary, PlacedSummary, StatementDigest})
"""What a link carries even if nobody needs it."""


class NodeCore:
    """The decisions of one node. Give it events with `handle`, perform what it returns, in order.

    Args:
        reader: sees committed records only.
        state: what the store held when it was opened.
        rng: all chance in here; seeded, the node is deterministic.
        new_epoch: 8 fresh bytes each call.
        merges: functions of the user's that settle conflicts, by space.
    """

    def __init__(
        self, config: CoreConfig, me: LocalNode, reader: RecordReader, state: StoredState,
        rng: random.Random, new_epoch: Callable[[], bytes], merges: Mapping[str, BoundedMerge] | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.counters = Counters()
        self.links = Links(me.node)
        policies = SpacePolicies(dict(config.conflicts), merges)
        self.book = StatementBook(state.statements)
        self.revocations = Revocations(self.book)
        self.exchange = Exchange(
            config, me, self.links, self.counters, reader, state, rng, new_epoch, policies,
            self.revocations,
        )  # fmt: skip
        self.replica = self.exchange.replica
        self.acks = self.exchange.acks
        self.fetcher = self.exchange.fetcher
        self.pulls = self.exchange.pulls
        self.membership = Membership(
            config, me, self.links, self.counters,
            [record for record in state.members if record.node not in self.revocations], rng,
            remember=lambda record: self.replica.draft.remember(record),
            forget=lambda node: self.replica.draft.forget(node),
            on_left=self.acks.member_left,
        )  # fmt: skip
        self.membership.swim.beliefs.is_banned = self.revocations.__contains__
        self.directory = self.membership.directory
        self.notes = Notes(me, self.links, self.membership, self.counters)
        self.surveys = Surveys(me.node, self.links, self.membership, self.counters)
        self.statements = StatementSpreading(
            self.links, self.counters, self.replica, self.book, self._stated
        )  # fmt: skip
        self.switchboard = Switchboard(
            config, me, self.links, self.exchange, self.membership, self.notes, self.surveys,
            self.statements, self.revocations, self.counters, rng,
        )  # fmt: skip
        self.commands = MemberCommands(self.membership, self.switchboard, self.links)
        self.membership.on_doubt = self.commands.doubt
        self.membership.on_forgotten = self._forgotten
        self._rng = rng
        self._handlers = self._route_events()
        self._timers = self._route_timers()
        self._receivers = self._route_messages()

    @property
    def me(self) -> LocalNode:
        return self.membership.me

    # -- routes

    def _route_events(self) -> dict[type, Callable[[Any, Now], list[Effect]]]:
        exchange, commands, membership = self.exchange, self.commands, self.membership
        return {
            WriteMany: lambda event, now: exchange.write_knowing(event, self.directory.owners(now), now),
            ReadKeys: exchange.custody.lookups.read,
            ScanKeys: exchange.custody.lookups.scan,
            FetchValue: exchange.fetch_value,
            SyncNow: exchange.sync_now,
            SendNote: self.notes.send,
            Leave: self._leave,
            AddMember: commands.add,
            RemoveMember: commands.remove,
            RestoreMembers: commands.restore,
            Cleanup: commands.clean_up,
            UpdateSelf: commands.update,
            AnnounceSelf: commands.announce,
            Sleep: commands.sleep,
            Wake: commands.wake,
            SetConnectionsMax: commands.set_connections_max,
            Survey: self.surveys.start,
            AddStatements: self.statements.add,
            StatementsJudged: self.statements.handle_judged,
            LinkOpened: self.switchboard.opened,
            LinkClosed: self.switchboard.closed,
            DialFailed: self.switchboard.dial_failed,
            Received: self._received,
            DatagramReceived: lambda event, now: membership.packet_came(event.peer, event.datagram, now),
            Found: lambda event, now: self.switchboard.found(event.node, event.addresses, now),
            AddressesChanged: commands.move,
            SealKeyChanged: commands.change_key,
            LoopLate: lambda event, now: membership.note_lag(event.lag_ns, now),
            Committed: self._committed,
            CommitFailed: self._commit_failed,
            PageRead: exchange.handle_page,
            MissingFound: exchange.handle_missing_found,
            DamageFound: exchange.mending.found,
            Examined: exchange.mending.examined,
            ChunksAdded: exchange.handle_chunks_added,
            ChunksStored: exchange.handle_chunks_stored,
            ChunkRefused: exchange.handle_chunk_refused,
            TimerFired: lambda event, now: self._timers[type(event.timer)](event.timer, now),
        }

    def _route_timers(self) -> dict[type[Timer], Callable[[Any, Now], list[Effect]]]:
        return {
            Tick: lambda timer, now: self._tick(now),
            SwimDue: lambda timer, now: self.membership.handle_timer(timer.timer, now),
            RepairDue: lambda timer, now: self._repair(now),
            PullDue: lambda timer, now: self.pulls.handle_pull_due(timer.link, now),
            AckOverdue: lambda timer, now: self.acks.overdue(timer.request),
            StreamOverdue: self._stream_overdue,
            FetchOverdue: self._fetch_overdue,
            NoteOverdue: lambda timer, now: self.notes.overdue(timer.request, now),
            SurveyOver: lambda timer, now: self.surveys.over(timer.request),
            WakeDue: self.commands.wake_due,
            HistoryDue: lambda timer, now: self._forget_expired(now),
            LookupDue: lambda timer, now: self.exchange.custody.lookups.due(timer.request, now),
            PageDue: lambda timer, now: self.exchange.page_due(timer.reading),
        }

    def _route_messages(self) -> dict[type, Callable[[Link, Any, Now], list[Effect]]]:
        exchange, notes, surveys, membership = self.exchange, self.notes, self.surveys, self.membership
        return {
            Records: exchange.handle_records,
            Have: exchange.handle_have,
            Credit: exchange.handle_credit,
            Want: exchange.handle_want,
            StreamEnd: exchange.pulls.handle_end,
            Summary: exchange.handle_summary,
            PlacedSummary: exchange.handle_summary,
            LiveWant: exchange.returning.handle_want,
            LiveDots: exchange.returning.handle_told,
            MemberStream: lambda link, told, now: membership.handle_stream(link.peer, told.message, now),
            MemberDatagram: lambda link, told, now: membership.handle_datagram(link.peer, told.datagram, now),
            Ping: lambda link, ping, now: [Send(link.link, Pong(ping.number))],
            Pong: self.switchboard.pong,
            Note: lambda link, note, now: notes.handle_note(link, note),
            ReachWant: lambda link, want, now: notes.handle_want(link, want),
            ReachAnswer: notes.handle_answer,
            RelayedNote: notes.handle_relayed,
            SurveyWant: surveys.handle_want,
            SurveyReport: lambda link, report, now: surveys.handle_report(link, report),
            StatementDigest: self.statements.handle_digest,
            StatementIds: self.statements.handle_ids,
            StatementWant: self.statements.handle_want,
            Statements: self.statements.handle_statements,
            ChunkWant: lambda link, want, now: [SendChunks(link.link, want.hashes)],
            ChunkOffer: exchange.handle_chunk_offer,
            ChunkMissing: exchange.handle_chunk_missing,
            HoldWant: exchange.custody.handle_hold_want,
            HoldAnswer: exchange.custody.handle_hold_answer,
            ReadWant: exchange.custody.lookups.handle_read,
            ReadAnswer: exchange.custody.lookups.handle_read_answer,
            ScanWant: exchange.custody.lookups.handle_scan,
            ScanAnswer: exchange.custody.lookups.handle_scan_answer,
        }

    # -- life

    def start(self, now: Now) -> list[Effect]:
        first_repair_ns = now.mono_ns + round(self._rng.random() * self.config.sync_interval_ns)
        effects: list[Effect] = [SetTimer(RepairDue(), first_repair_ns)]
        effects += self.membership.start(now)
        effects += self._begin_with_revoked(now)
        if self.config.history.has_ages:
            effects += self._forget_expired(now)
        return self._sealed(effects + self._tick(now), now)

    def handle(self, event: Event, now: Now) -> list[Effect]:
        """Take one event; the effects, a Commit of all it wants on disk last among them."""
        return self._sealed(self._handlers[type(event)](event, now), now)

    def _sealed(self, effects: list[Effect], now: Now) -> list[Effect]:
        if self.exchange.mending.must_start_over:
            self.exchange.mending.must_start_over = False
            reason = "records were set aside here; what was said of them before does not count"
            effects += self.switchboard.hang_up_all("stalled", reason, now)
        if self.fetcher.has_work:
            effects += self.switchboard.dial_for_chunks(now)
        if self.membership.needs_dials:
            self.membership.needs_dials = self.membership.wants_links = False
            effects += self.switchboard.dial(now)
        elif self.membership.wants_links:
            self.membership.wants_links = False
            effects += self.switchboard.dial_wanted(now)
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
            "comparisons": len(self.exchange.returning),
            "notes": len(self.notes),
            "surveys": len(self.surveys),
            "lookups": len(self.exchange.custody.lookups),
            "handing_over": len(self.exchange.custody.release),
            "statements": len(self.statements),
            "trimming": len(self.exchange.trimming),
            "uncommitted_bytes": self.replica.uncommitted_bytes,
        }

    def manifests_under_way(self) -> list[Manifest]:
        """What records refer to that are not on the disk yet: their chunks must not be swept."""
        return self.fetcher.manifests() + self.replica.open_manifests()

    def hello(self, lane: int) -> Hello:
        me = self.me
        return Hello(
            PROTOCOL_OLDEST, PROTOCOL_NEWEST, me.mesh, me.node, me.boot, lane, self.directory.own,
            self.config.credit_bytes,
        )  # fmt: skip

    def _leave(self, command: Leave, now: Now) -> list[Effect]:
        effects = self.membership.leave(now)
        self.switchboard.closed_because = "the node is stopping"
        effects += self.switchboard.hang_up_all("closing", self.switchboard.closed_because, now)
        return [*effects, Resolve(command.request, None)]

    def _forgotten(self, node: NodeId) -> None:
        self.switchboard.forget(node)
        self.exchange.collector.forget(node)

    # -- timers

    def _tick(self, now: Now) -> list[Effect]:
        effects: list[Effect] = [SetTimer(Tick(), now.mono_ns + self.config.tick_ns)]
        effects += self.membership.tick(now)
        effects += self._look_at_owners(now)
        self.exchange.collect(now)
        return effects + self.switchboard.look_after(now) + self.switchboard.dial(now)

    def _look_at_owners(self, now: Now) -> list[Effect]:
        """Where not everybody holds everything: who holds what, and what is to go from here to others."""
        if not self.exchange.placement.is_used:
            return []
        counted, gone_count = self.directory.candidates(now), self.directory.gone_count(now)
        effects = self.exchange.members_seen(counted, gone_count, now)
        effects += self.exchange.custody.tick(now)
        for owner in self.exchange.custody.release.unreached:
            self.membership.want_link(owner)
        return effects

    def _stream_overdue(self, timer: StreamOverdue, now: Now) -> list[Effect]:
        effects, is_stalled = self.pulls.handle_overdue(timer.stream, timer.mark, now)
        return effects + (self.exchange.compare(now) if is_stalled else [])

    def _fetch_overdue(self, timer: FetchOverdue, now: Now) -> list[Effect]:
        effects, is_stalled = self.fetcher.handle_overdue(timer.link, timer.mark, now)
        stalled = self.links.get(timer.link) if is_stalled else None
        if stalled is not None:
            effects += self.switchboard.hang_up(stalled, "stalled", "no chunk came for too long", now)
        return effects

    def _repair(self, now: Now) -> list[Effect]:
        self.replica.try_again()
        self._meet_a_stranger()
        pause_ns = round(self.config.sync_interval_ns * (0.9 + 0.2 * self._rng.random()))
        effects = self.exchange.mending.retry(now) + self.exchange.returning.retry(now)
        effects += self.exchange.trimming.read() + self.statements.compare(self.links.records_links())
        self.exchange.collector.work_out(self.directory.keepers(self.links.linked_peers()))
        effects += [*self.exchange.compare(now), SetTimer(RepairDue(), now.mono_ns + pause_ns)]
        return effects

    def _committed(self, event: Committed, now: Now) -> list[Effect]:
        effects = self.exchange.handle_committed(event, now)
        return effects + self.statements.committed(event.commit)

    def _commit_failed(self, event: CommitFailed, now: Now) -> list[Effect]:
        effects = self.exchange.handle_commit_failed(event, now)
        return effects + self.statements.commits_failed(event.code, event.reason)

    def _forget_expired(self, now: Now) -> list[Effect]:
        self.replica.forget_expired(now)
        return [SetTimer(HistoryDue(), now.mono_ns + self.config.history_interval_ns)]

    def _meet_a_stranger(self) -> None:
        """Where nodes have room for only some links, groups may have formed that turn all others away.

        So now and then a link with somebody else is wanted, for which a full node makes room.
        """
        linked = {link.peer for link in self.links.records_links()}
        live, dead = self.directory.live_and_dead()
        others = [member.node for member in live + dead if member.node not in linked]
        if others:
            self.membership.want_link(self._rng.choice(others))

    # -- statements

    def revocation_body(self, node: NodeId, reason: str) -> bytes:
        """The body of a revocation of this node: what is known of its writes now goes on counting."""
        name = self.directory.name_of(node)
        shards = ((shard, state.seen.delta()) for shard, state in self.replica.shards())
        return self.revocations.body_for(node, name, reason, shards)

    def _begin_with_revoked(self, now: Now) -> list[Effect]:
        """What earlier runs heard counts from the start, whatever the peer book says."""
        return self._revoke(self.revocations.all(), now)

    def _stated(self, taken: Sequence[Judged], now: Now) -> list[Effect]:
        before = set(self.revocations.nodes)
        effects = self._revoke(self.revocations.read_again(now.wall_ms), now)
        for node in sorted(before - self.revocations.nodes.keys()):
            self.membership.readmit(node)
        return effects

    def _revoke(self, revoked: Sequence[RevokedNode], now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for each in revoked:
            if each.node == self.me.node:
                reason = f"this node was revoked: {each.reason or 'no reason was given'}"
                return [*effects, Stop("revoked", reason)]
            facts = {"node": each.node.hex(), "name": each.name, "reason": each.reason}
            effects.append(Log("warning", "node_revoked", facts))
            effects += self.membership.revoke(each.node, each.name, each.reason or "revoked", now)
            effects += self.switchboard.revoke(each.node, now)
        return effects + (self.exchange.trimming.look() if revoked else [])

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
            kind = type(message)
            if kind not in SIGNS_OF_LIFE:
                link.used_ns = now.mono_ns
            receiver = self._receivers.get(kind)
            if receiver is None:
                reason = f"unexpected {kind.__name__}"
                effects += self.switchboard.hang_up(link, "bad_frame", reason, now)
                break
            effects += receiver(link, message, now)
        return effects
