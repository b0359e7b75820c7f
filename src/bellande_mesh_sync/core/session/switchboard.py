"""The switchboard: takes in links, hangs them up, looks after them, and dials those that are missing."""

from __future__ import annotations

import random

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.delivery.notes import Notes
from bellande_mesh_sync.core.effects import Effect, Hangup, Log, Send
from bellande_mesh_sync.core.events import DialFailed, LinkClosed, LinkOpened
from bellande_mesh_sync.core.members.member import MemberRecord, MemberState
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.members.surveys import Surveys
from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE, Ping, Pong, Statements
from bellande_mesh_sync.core.session.dialing import REPLACED, UNWANTED, Dialer
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.statements.revocations import Revocations
from bellande_mesh_sync.core.statements.spreading import StatementSpreading
from bellande_mesh_sync.core.statements.statement import Statement
from bellande_mesh_sync.ids import NodeId, Now

CHUNK_LINK_IDLE_NS = 60_000_000_000
LINK_IDLE_NS = 10_000_000_000
"""A link that was used more recently does not make room for another one."""
DOUBT_NS = 2_000_000_000
"""After a change of address: a link over which nothing comes for so long is gone."""
RTT_INTERVALS = 3
"""A busy link is pinged too, so rarely, for its round trip may change."""
LOGGED_FAILURES = (1, 10, 100)
"""Which failures in a row to reach a node are worth a line in the log."""


class Switchboard:
    """One link for records with each member, as far as `connections_max` allows; chunks take what is left.

    Beyond it the least recently used makes room for one that is needed now. Two full nodes that only
    would like to know each other leave it at that, or no link would last.
    """

    def __init__(
        self, config: CoreConfig, me: LocalNode, links: Links, exchange: Exchange, membership: Membership,
        notes: Notes, surveys: Surveys, statements: StatementSpreading, revocations: Revocations,
        counters: Counters, rng: random.Random,
    ) -> None:  # fmt: skip
        self.config = config
        self.connections_max = config.connections_max
        self.closed_because = ""
        """While this node wants no links: why."""
        self._links = links
        self._exchange = exchange
        self._fetcher = exchange.fetcher
        self._membership = membership
        self._notes = notes
        self._surveys = surveys
        self._statements = statements
        self._revocations = revocations
        self._counters = counters
        self._dialer = Dialer(config, me.bootstrap, rng)
        membership.has_room = self._has_room
        links.healthy_ns = 2 * config.ping_interval_ns
        self._no_chunk_links: dict[NodeId, int] = {}
        """Peers that turned a link for chunks away, and until when none is dialled to them again."""

    def _has_room(self) -> bool:
        return len(self._links.records_links()) < self.connections_max

    # -- coming

    def opened(self, event: LinkOpened, now: Now) -> list[Effect]:
        hello = event.hello
        is_wanted = (self._dialer.opened(event.dial, event.peer) if event.dial else False) or hello.is_wanted
        link = Link(
            event.link, event.peer, hello.lane, hello.boot, event.address, event.dial != 0, now.mono_ns,
            now.mono_ns, hello.credit_bytes, used_ns=now.mono_ns,
        )  # fmt: skip
        if self.closed_because:
            return [Hangup(link.link, "closing", self.closed_because)]
        proof = self._revocations.proof_against(link.peer)
        if proof is not None:
            return self._turn_out(link, proof, now)
        effects: list[Effect] = []
        is_second = link.lane == RECORDS_LANE and self._links.to(link.peer) is not None
        if is_second and not link.is_outbound:
            # It may say that it has moved: then the old link is in doubt, and makes way.
            effects += self._membership.turned_away(link.peer, hello.member, now)
        if len(self._links) >= self.connections_max and not is_second:
            room = self._make_room(link, now, is_wanted=is_wanted)
            if room is None:
                return self._refuse(link, hello.member, now)
            effects += room
        loser = self._links.add(link)
        if loser is link:
            return [*effects, Hangup(link.link, "duplicate", "the other link between us stays")]
        if loser is not None:
            code = "duplicate" if loser.boot == link.boot else REPLACED
            effects.append(Hangup(loser.link, code, "the newer link between us stays"))
            effects += self._after(loser, code, now)
        if link.lane == CHUNKS_LANE:
            return effects + self._fetcher.link_opened(link.peer, link.link, now)
        self._counters["links_opened"] += 1
        for lane in self._links.chunk_lanes(link.peer):
            if lane.boot != link.boot:
                effects += self.hang_up(lane, "closing", "it is from before the peer's restart", now)
        effects += self._membership.link_opened(link, hello.member, now)
        effects += self._notes.link_ready(link, now)
        effects += self._statements.compare([link])
        return effects + self._exchange.summaries([link], now)

    def _turn_out(self, link: Link, proof: Statement, now: Now) -> list[Effect]:
        """It is revoked: it gets the proof of that, and nothing else."""
        self._counters["links_of_revoked_refused"] += 1
        self._revocations.refused_link(link.peer, now)
        if link.lane == RECORDS_LANE and link.is_outbound:
            self._dialer.lost(link.peer, "revoked", 0, now)
        hangup = Hangup(link.link, "revoked", "this mesh has revoked that node")
        return [Send(link.link, Statements((proof,))), hangup]

    def revoke(self, peer: NodeId, now: Now) -> list[Effect]:
        """A member was revoked: it gets the proof over what links there are, and these end."""
        proof = self._revocations.proof_against(peer)
        effects: list[Effect] = []
        for link in [link for link in self._links.all_links() if link.peer == peer]:
            if proof is not None and link.lane == RECORDS_LANE:
                effects.append(Send(link.link, Statements((proof,))))
            self._counters["links_of_revoked_closed"] += 1
            effects += self.hang_up(link, "revoked", "this mesh has revoked that node", now)
        self._dialer.forget(peer)
        return effects

    def _make_room(self, link: Link, now: Now, *, is_wanted: bool) -> list[Effect] | None:
        """Hang up another one; None if none should go for this one."""
        spare = self._links.longest_silent_chunk_lane() if link.lane == RECORDS_LANE else None
        if spare is not None:
            return self.hang_up(spare, "closing", "its place is needed for a link for records", now)
        unused = self._links.longest_unused(LINK_IDLE_NS, now.mono_ns) if is_wanted else None
        if unused is not None:
            self._counters["links_replaced"] += 1
            return self.hang_up(unused, "busy", "its place is needed for another link", now)
        return None

    def _refuse(self, link: Link, record: MemberRecord, now: Now) -> list[Effect]:
        """Without a link, but known: or a newcomer whom all turn away would never be a member."""
        self._counters["links_refused"] += 1
        effects: list[Effect] = [Hangup(link.link, "busy", "this node has as many links as it may")]
        effects += self._membership.turned_away(link.peer, record, now)
        if link.lane == RECORDS_LANE and link.is_outbound:
            self._dialer.lost(link.peer, "busy", 0, now)
        if link.lane == CHUNKS_LANE and link.is_outbound:
            effects += self._chunks_over_records(link.peer, now)
        return effects

    # -- going

    def closed(self, event: LinkClosed, now: Now) -> list[Effect]:
        link = self._links.remove(event.link)
        if link is None:
            return []  # We hung it up ourselves.
        if link.lane == RECORDS_LANE:
            self._counters["links_lost"] += 1
        elif link.is_outbound and event.code in UNWANTED:
            self._no_chunk_links[link.peer] = now.mono_ns + self.config.redial_max_ns
        return self._after(link, event.code, now)

    def hang_up(self, link: Link, code: str, reason: str, now: Now) -> list[Effect]:
        if self._links.remove(link.link) is None:
            return []
        return [Hangup(link.link, code, reason), *self._after(link, code, now)]

    def hang_up_all(self, code: str, reason: str, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for link in self._links.all_links():
            effects += self.hang_up(link, code, reason, now)
        return effects

    def _after(self, link: Link, code: str, now: Now) -> list[Effect]:
        """Let everyone forget a link that is no longer among the open ones."""
        effects = self._exchange.link_gone(link, now)
        if link.lane != RECORDS_LANE:
            return effects
        effects += self._surveys.link_gone(link)
        self._statements.link_gone(link)
        if self._links.to(link.peer) is None:
            self._dialer.lost(link.peer, code, now.mono_ns - link.opened_ns, now)
            while (lane := self._links.for_chunks(link.peer)) is not None:
                effects += self.hang_up(lane, "closing", "the link for records is gone", now)
            if code not in UNWANTED and code != "closing":
                effects += self._membership.link_lost(link.peer, now)
        return effects

    def trim(self, now: Now) -> list[Effect]:
        """Fewer links are allowed than before."""
        effects: list[Effect] = []
        while len(self._links) > self.connections_max:
            spare = self._links.longest_silent_chunk_lane() or self._links.longest_unused(0, now.mono_ns)
            assert spare is not None, "more links than there are"
            effects += self.hang_up(spare, "busy", "this node may have fewer links now", now)
        return effects

    # -- dialling

    def dial(self, now: Now) -> list[Effect]:
        if self.closed_because:
            return []
        linked = {link.peer for link in self._links.records_links()}
        # Links for chunks make room for those for records.
        room = self.connections_max - len(linked) - self._dialer.under_way_count
        live, dead = self._membership.directory.live_and_dead()
        effects = self.dial_wanted(now)
        effects += self._dialer.due(live, dead, linked, room, now, self._asleep())
        if room <= 0:
            effects += self._dialer.due_unmet(now)
        return effects

    def dial_wanted(self, now: Now) -> list[Effect]:
        """Only with whom something waits for a link. Cost: O(those), not O(members)."""
        if self.closed_because:
            return []
        wanted = self._membership.wanted
        linked = {record.node for record in wanted if self._links.to(record.node) is not None}
        return list(self._dialer.due_wanted(wanted, linked, now))

    def _asleep(self) -> frozenset[NodeId]:
        """Of those who answered at a bootstrap address."""
        found = {node: self._membership.directory.get(node) for node in self._dialer.answered}
        return frozenset(
            node for node, member in found.items() if member and member.state == MemberState.ASLEEP
        )

    def dial_failed(self, event: DialFailed, now: Now) -> list[Effect]:
        self._counters["dials_failed"] += 1
        chunk_peer = self._dialer.chunk_dial_failed(event.dial)
        if chunk_peer is not None:
            return self._chunks_over_records(chunk_peer, now)
        target = self._dialer.failed(event.dial, event.code, now)
        if target is None:
            return []
        effects: list[Effect] = []
        if target.peer is not None:
            effects += self._membership.dial_failed(target.peer, now)
        if event.code != "self" and target.failures in LOGGED_FAILURES and not target.is_found:
            name_of = self._membership.directory.name_of
            whom = target.addresses[0] if target.peer is None else name_of(target.peer)
            effects.append(Log("warning", event.code, {"dialled": whom, "reason": event.reason}))
        return effects

    def add(self, addresses: tuple[str, ...], now: Now) -> list[Effect]:
        self._dialer.add(addresses)
        return self.dial(now)

    def found(self, node: NodeId | None, addresses: tuple[str, ...], now: Now) -> list[Effect]:
        """Heard of on the local network; a member that we have a link with is no news."""
        if node is not None and self._links.to(node) is not None:
            return []
        records = [self._membership.directory.record_of(link.peer) for link in self._links.records_links()]
        known = {address for record in records if record is not None for address in record.addresses}
        self._dialer.found((address for address in addresses if address not in known), self._links)
        return self.dial(now)

    def retry_all(self, now: Now) -> tuple[int, list[Effect]]:
        self._dialer.retry_all()
        effects = self.dial(now)
        return len(effects), effects

    def forget(self, peer: NodeId) -> None:
        self._dialer.forget(peer)

    def dial_for_chunks(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for peer in self._fetcher.needs_link():
            member = self._membership.directory.record_of(peer)
            has_no_room = now.mono_ns < self._no_chunk_links.get(peer, 0)
            if has_no_room or member is None or not member.addresses:
                effects += self._chunks_over_records(peer, now)
                continue
            dial = self._dialer.dial_for_chunks(member)
            if dial is not None:
                effects.append(dial)
        return effects

    def _chunks_over_records(self, peer: NodeId, now: Now) -> list[Effect]:
        """It cannot be dialled, or has no room: let its chunks share the link for records."""
        link = self._links.to(peer)
        return [] if link is None else self._fetcher.link_opened(peer, link.link, now)

    # -- looking after

    def look_after(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        ping_ns = self.config.ping_interval_ns
        for link in self._links.all_links():
            silent_ns = now.mono_ns - link.last_heard_ns
            if link.lane == CHUNKS_LANE:
                if link.is_outbound and silent_ns > CHUNK_LINK_IDLE_NS:
                    effects += self._close_idle(link, now)
            elif (
                silent_ns >= ping_ns
                or now.mono_ns - link.ping_sent_ns >= RTT_INTERVALS * ping_ns
                or link.is_doubted
            ):
                effects += self._look_after(link, silent_ns, now)
        return effects

    def _close_idle(self, link: Link, now: Now) -> list[Effect]:
        if self._fetcher.is_using(link.link):
            return []
        return self.hang_up(link, "closing", "no chunks to fetch for a while", now)

    def _look_after(self, link: Link, silent_ns: int, now: Now) -> list[Effect]:
        """A link for records that is silent, in doubt, or not measured for long."""
        patience_ns = DOUBT_NS if link.is_doubted else 3 * self.config.ping_interval_ns
        if now.mono_ns - max(link.last_heard_ns, link.doubted_ns) > patience_ns:
            self._counters["links_silent"] += 1
            return self.hang_up(link, "silent", f"nothing heard for {silent_ns / 1e9:.1f} s", now)
        is_unmeasured = now.mono_ns - link.ping_sent_ns >= RTT_INTERVALS * self.config.ping_interval_ns
        if silent_ns >= self.config.ping_interval_ns or is_unmeasured:
            return [self._ping(link, now)]
        return []

    def doubt(self, link: Link, now: Now) -> list[Effect]:
        """One end has another address now: the link may lead nowhere.

        So may those for chunks, which go along if it is hung up as silent.
        """
        link.doubted_ns = now.mono_ns
        return [self._ping(link, now)]

    def _ping(self, link: Link, now: Now) -> Effect:
        link.ping_number += 1
        link.ping_sent_ns = now.mono_ns
        return Send(link.link, Ping(link.ping_number))

    def pong(self, link: Link, pong: Pong, now: Now) -> list[Effect]:
        if pong.number == link.ping_number:
            link.rtt_ns = now.mono_ns - link.ping_sent_ns
        return self._notes.link_ready(link, now) if self._links.to(link.peer) is link else []
