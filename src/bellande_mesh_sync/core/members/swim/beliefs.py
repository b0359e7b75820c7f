"""What a node believes of the others and says of itself: every rule about who wins over whom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import MemberChanged, PeerForgotten, PeerRecorded
from bellande_mesh_sync.core.members.member import INCARNATION_JUMP_MAX, MemberRecord
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.doubles import rank
from bellande_mesh_sync.core.members.swim.effects import SetTimer, SwimEffect
from bellande_mesh_sync.core.members.swim.evidence import Evidence, Found
from bellande_mesh_sync.core.members.swim.gossip import GossipQueue, Update
from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.messages import (
    NOTICE_BYTES,
    SLEEP_S_MAX,
    VERDICT_BYTES,
    Entry,
    SleepNotice,
    Verdict,
)
from bellande_mesh_sync.core.members.swim.ourselves import Ourselves
from bellande_mesh_sync.core.members.swim.sleepers import Sleepers
from bellande_mesh_sync.core.members.swim.suspicion import Suspicion, Suspicions
from bellande_mesh_sync.core.members.swim.timers import SuspicionOver
from bellande_mesh_sync.core.members.swim.view import (
    ALIVE,
    ASLEEP,
    DEAD,
    LEFT,
    REMOVED,
    SUSPECT,
    UNKNOWN,
    View,
)
from bellande_mesh_sync.ids import NodeId

_NAMES: Final = ("", "alive", "suspect", "dead", "asleep", "left", "left")
"""Of standings, as programs are told them."""
_SECOND_NS: Final = 1_000_000_000


class Beliefs:
    """The view, its suspicions, and the updates that carry news on.

    A record wins by its incarnation, which only the node itself can raise; of one incarnation the
    higher standing wins. So whatever order updates come in, all views end up the same.
    """

    def __init__(
        self, config: SwimConfig, me: LocalNode, view: View, incarnation: int, health: Health,
        counters: Counters, out: list[SwimEffect], evidence: Evidence,
    ) -> None:  # fmt: skip
        self._config = config
        self._health = health
        self._counters = counters
        self._out = out
        self._evidence = evidence
        self.view = view
        self.sleepers = Sleepers(view)
        self.gossip = GossipQueue(config)
        self.suspicions = Suspicions(config)
        self.accused: dict[int, int] = {}
        """Members said to be dead elsewhere and alive here -> the incarnation meant: to be told."""
        self._down_ns: dict[int, int] = {}
        """When each member that is down went down in our view; not here: before this run."""
        self.is_banned: Callable[[NodeId], bool] = lambda node: False
        """Whether nothing of a node is believed, whoever says it: it was revoked."""
        self.is_isolated = False
        """Nobody was heard for a while: what we find now speaks of us, and nobody is to be told of it."""
        self.catching_up_until_ns = 0
        """We were stopped: until then, what comes in may have waited for us, and be old."""
        self.ourselves = Ourselves(me, view, self.gossip, incarnation, health, counters, out)
        self.own_index = self.ourselves.index

    @property
    def own(self) -> MemberRecord:
        """Our own record."""
        return self.ourselves.record

    # -- what others say

    def apply_record(self, record: MemberRecord, now_ns: int) -> bool:
        """Take in what a node says of itself, and pass it on if it is news."""
        if record.node == self.own.node:
            self.ourselves.meet(record)
            return False
        if self.is_banned(record.node) or not self._is_newer(record):
            return False
        number = self._accept(record)
        if number < 0:
            return False
        index = self.view.roster.find(record.node)
        self._replace(index, number, LEFT if record.left else ALIVE, "its own word", now_ns)
        self.gossip.add_record(record, self.view.roster.sizes[number])
        return True

    def _is_newer(self, record: MemberRecord) -> bool:
        """Of one incarnation two runs may have signed records: all must come to hold the same one of them."""
        index = self.view.roster.find(record.node)
        if self.view.standing(index) == UNKNOWN:
            return True
        known = self.view.record(index)
        if known.incarnation != record.incarnation:
            return record.incarnation > known.incarnation
        return record.signature != known.signature and rank(record) > rank(known)

    def _accept(self, record: MemberRecord) -> int:
        """The number of a newer record that we may believe, else -1."""
        view = self.view
        index = view.roster.find(record.node)
        if view.standing(index) == UNKNOWN:
            if view.known_count >= self._config.members_max:
                self._counters["member_records_over_limit"] += 1
                return -1
        elif record.incarnation > view.incarnation(index) + INCARNATION_JUMP_MAX:
            self._counters["member_records_refused"] += 1
            return -1
        number = view.roster.number_of(record)
        if number < 0:
            self._counters["member_records_refused"] += 1
        return number

    def apply_notice(self, notice: SleepNotice, since_ns: int) -> bool:
        """A node says that it sleeps, since then: that is stronger than what others found."""
        if notice.node == self.own.node:
            self.ourselves.refute(notice.incarnation)
            return False
        view = self.view
        index = view.roster.find(notice.node)
        if view.standing(index) not in (ALIVE, SUSPECT, DEAD):
            return False
        if view.incarnation(index) != notice.incarnation:
            return False
        number = view.number(index)
        if not view.roster.take_notice(number, notice):
            self._counters["member_records_refused"] += 1
            return False
        reason = f"it said that it sleeps for {notice.for_s} s"
        self._replace(index, number, ASLEEP, reason, since_ns)
        self.gossip.add_notice(notice)
        return True

    def apply_verdict(self, verdict: Verdict, now_ns: int) -> bool:
        """Take in what a member found of another one, or of us; False if we know better."""
        if verdict.node == self.own.node:
            self.ourselves.refute(verdict.incarnation)
            return True
        view = self.view
        index = view.roster.find(verdict.node)
        standing = view.standing(index)
        if standing == UNKNOWN:
            return True
        incarnation = view.incarnation(index)
        if incarnation != verdict.incarnation:
            # If it is ahead of the record it speaks of, it is worth nothing without that.
            return incarnation < verdict.incarnation
        if standing != ALIVE and standing != SUSPECT:
            if verdict.standing == REMOVED and self._is_long_down(index, now_ns):
                self._remove(index, verdict.by)
            return True
        if verdict.standing == SUSPECT:
            self.suspect(index, verdict.by, now_ns)
        elif verdict.standing == DEAD and not self._doubt(index, verdict.by, now_ns):
            self._die(index, verdict.by, f"so {self._name_of(verdict.by)} found", now_ns)
        return True

    def apply_entry(self, entry: Entry, now_ns: int, *, spread: bool) -> bool:
        """Take in a line of another node's view. A death in it kills nobody who lives here.

        That one is suspected as patiently as can be, and told, so that it can say that it lives.
        """
        record = entry.record
        if record.node == self.own.node:
            self.ourselves.meet(record)
            if entry.standing >= SUSPECT:
                self.ourselves.refute(record.incarnation)
            return False
        if self.is_banned(record.node):
            return False
        view = self.view
        since_ns = now_ns - self._age_ns(entry)
        was_live = view.standing(view.roster.find(record.node)) in (ALIVE, SUSPECT)
        is_news = self._is_newer(record) and self._take_entry(entry, was_live, since_ns, spread)
        index = view.roster.find(record.node)
        if view.standing(index) == UNKNOWN or view.incarnation(index) != record.incarnation:
            return is_news
        if entry.notice is not None and entry.standing == ASLEEP:
            is_news |= self.apply_notice(entry.notice, since_ns)
        elif entry.standing in (DEAD, REMOVED) and view.standings[index] == ALIVE:
            self._accuse(index, now_ns)
            is_news = True
        elif entry.standing == REMOVED and self._is_long_down(index, now_ns):
            self._remove(index, None, spread=spread)
            is_news = True
        return is_news

    def _take_entry(self, entry: Entry, was_live: bool, since_ns: int, spread: bool) -> bool:
        record = entry.record
        is_dead = entry.standing in (DEAD, REMOVED) and not record.left and not was_live
        is_old = self._age_ns(entry) >= self._age_max_ns(entry)
        if is_old and entry.standing >= DEAD and not was_live:
            return False  # We forgot it, or never needed to know.
        number = self._accept(record)
        if number < 0:
            return False
        standing = LEFT if record.left else DEAD if is_dead else ALIVE
        index = self.view.roster.find(record.node)
        self._replace(index, number, standing, "known to another member", since_ns)
        self.gossip.withdraw_verdicts(record.node)
        if spread:
            self.gossip.add_record(record, self.view.roster.sizes[number])
        return True

    def _age_ns(self, entry: Entry) -> int:
        """An absurd age counts as the one at which the member is forgotten."""
        return min(max(entry.age_s, 0) * _SECOND_NS, self._age_max_ns(entry))

    def _age_max_ns(self, entry: Entry) -> int:
        for_s = 0 if entry.notice is None else min(max(entry.notice.for_s, 0), SLEEP_S_MAX)
        return self._config.forget_after_ns + for_s * _SECOND_NS

    def _accuse(self, index: int, now_ns: int) -> None:
        if len(self.accused) < self._config.accusations_max:
            self.accused[index] = self.view.incarnation(index)
        self._begin_suspicion(index, None, "another part of the mesh holds it for dead", now_ns)

    # -- suspicion and death

    def become_isolated(self) -> None:
        self.is_isolated = True
        self.gossip.withdraw_all_verdicts()

    def suspect(self, index: int, accuser: NodeId, now_ns: int) -> None:
        """`accuser` found a live member silent."""
        if self.view.standings[index] == ALIVE:
            self._evidence.note(index, Found.ACCUSED, accuser)
            reason = f"no answer to {self._name_of(accuser)}"
            self._begin_suspicion(index, accuser, reason, now_ns)
            self._spread_suspicion(index, accuser, 0)
            return
        suspicion = self.suspicions.get(index)
        assert suspicion is not None, "a suspect without a suspicion"
        mark = suspicion.mark
        if self.suspicions.confirm(suspicion, accuser, self.view.live_count, now_ns):
            self._evidence.note(index, Found.ACCUSED, accuser, "confirmed")
            self._spread_suspicion(index, accuser, len(suspicion.accusers) - 1)
        if suspicion.mark != mark:
            self._set_timer(index, suspicion, now_ns)

    def _begin_suspicion(self, index: int, accuser: NodeId | None, reason: str, now_ns: int) -> None:
        view = self.view
        self._replace(index, view.number(index), SUSPECT, reason, now_ns)
        suspicion = self.suspicions.start(index, view.incarnation(index), accuser, view.live_count, now_ns)
        self._set_timer(index, suspicion, now_ns)

    def _spread_suspicion(self, index: int, accuser: NodeId, place: int) -> None:
        if self.is_isolated:
            return
        record = self.view.record(index)
        self.gossip.add_suspicion(Verdict(record.node, record.incarnation, SUSPECT, accuser), place)

    def _set_timer(self, index: int, suspicion: Suspicion, now_ns: int) -> None:
        """For what comes next: a repetition, the last call, or the end."""
        due_ns = suspicion.due_ns
        if not suspicion.is_called:
            due_ns -= self._config.probe_timeout_max_ns
        if self.own.node in suspicion.accusers:
            members = self.view.live_count
            pause_ns = self._config.suspicion_ns(members, self._config.confirmations_needed(members))
            due_ns = min(due_ns, now_ns + pause_ns)
        self._out.append(SetTimer(SuspicionOver(due_ns, index, suspicion.mark)))

    def set_timers_again(self, now_ns: int) -> None:
        """The timers of open suspicions are gone: none came back while this node slept."""
        for index, suspicion in self.suspicions.all():
            self._set_timer(index, suspicion, now_ns)

    def suspicion_due(self, index: int, mark: int, now_ns: int) -> Verdict | None:
        """Go on with a suspicion. The verdict, if any, is for the last call: who knows better answers it."""
        suspicion = self.suspicions.of_timer(index, mark)
        if suspicion is None:
            return None
        if self.suspicions.prolong(suspicion):
            suspicion.is_called = False
        patience_ns = self._config.probe_timeout_max_ns
        is_last_call = not suspicion.is_called and suspicion.due_ns - now_ns <= patience_ns
        if is_last_call:
            # A late confirmation may have made it due at once: the answers still get their time.
            suspicion.is_called = True
            self._evidence.note(index, Found.LAST_CALL)
            suspicion.due_ns = max(suspicion.due_ns, now_ns + patience_ns)
        elif suspicion.due_ns <= now_ns:
            self._end_suspicion(index, suspicion, now_ns)
            return None
        # That it is still open may be because nobody who reaches the suspect has heard of it.
        if self.own.node in suspicion.accusers:
            self._spread_suspicion(index, self.own.node, suspicion.accusers.index(self.own.node))
        self._set_timer(index, suspicion, now_ns)
        return self.against(index) if is_last_call else None

    def _end_suspicion(self, index: int, suspicion: Suspicion, now_ns: int) -> None:
        self._counters["members_declared_dead"] += 1
        silent_s = (now_ns - suspicion.started_ns) / _SECOND_NS
        who = (
            ", ".join(self._name_of(accuser) for accuser in suspicion.accusers) or "another part of the mesh"
        )
        reason = f"no answer to {who}, and none since {silent_s:.1f} s; own health {self._health.score}"
        self._die(index, self.own.node, reason, now_ns)

    def _die(self, index: int, by: NodeId, reason: str, now_ns: int) -> None:
        self._replace(index, self.view.number(index), DEAD, reason, now_ns)
        if not self.is_isolated:
            record = self.view.record(index)
            self.gossip.add_death(Verdict(record.node, record.incarnation, DEAD, by))

    def _doubt(self, index: int, by: NodeId, now_ns: int) -> bool:
        """Whether a death that others tell of is only a suspicion here.

        It is while we catch up, for the answer to it may be among what waited for us. And it is of a member
        that answered us since: who is really dead was silent for the shortest suspicion at least. One of
        whom we heard no suspicion gets the benefit for as long as the longest; if it is dead, that costs us
        the shortest.
        """
        members = self.view.live_count
        is_alive = self.view.standings[index] == ALIVE
        shortest_ns = self._config.suspicion_ns(members, self._config.confirmations_needed(members))
        patience_ns = self._config.suspicion_ns(members, 0) if is_alive else shortest_ns
        acked_ns, _, _ = self._evidence.quality.of(index)
        has_answered = acked_ns >= 0 and now_ns - acked_ns < patience_ns
        if not has_answered and now_ns >= self.catching_up_until_ns:
            return False
        if is_alive:
            but = "it answered us" if has_answered else "we were stopped, so that may be old"
            reason = f"dead, so {self._name_of(by)} says, but {but}"
            self._begin_suspicion(index, by, reason, now_ns)
        suspicion = self.suspicions.get(index)
        assert suspicion is not None, "a suspect without a suspicion"
        if self.suspicions.hasten(suspicion, suspicion.started_ns + shortest_ns, now_ns):
            self._set_timer(index, suspicion, now_ns)
        if len(self.accused) < self._config.accusations_max:
            self.accused[index] = self.view.incarnation(index)
        return True

    def _is_long_down(self, index: int, now_ns: int) -> bool:
        """Whether others may remove it: it had the time to come back, whatever brought it down here.

        An exchange may say that it is dead for long; what counts is only how long we have known that.
        """
        if not DEAD <= self.view.standings[index] < REMOVED:
            return False
        down_ns = self._down_ns.get(index)
        return down_ns is None or now_ns - down_ns >= self._config.removal_patience_ns

    def remove(self, index: int) -> bool:
        """An operator says that a member is gone for good; False if it is not down."""
        if index == self.own_index or self.view.standing(index) < DEAD:
            return False
        if self.view.standings[index] != REMOVED:
            self._remove(index, self.own.node)
        return True

    def _remove(self, index: int, by: NodeId | None, *, spread: bool = True) -> None:
        who = "an operator" if by is None else self._name_of(by)
        self._replace(index, self.view.number(index), REMOVED, f"removed by {who}", self.view.since_ns(index))
        if spread:
            record = self.view.record(index)
            self.gossip.add_death(Verdict(record.node, record.incarnation, REMOVED, by or self.own.node))

    def _replace(self, index: int, number: int, standing: int, reason: str, since_ns: int) -> None:
        old = self.view.standing(index)
        if old == SUSPECT:
            self.suspicions.end(index)
        self.accused.pop(index, None)
        old_name = self.state_of(index)
        self.sleepers.put(index, standing)
        is_other_record = old == UNKNOWN or self.view.number(index) != number
        self.view.put(index, number, standing, since_ns)
        if standing < DEAD:
            self._down_ns.pop(index, None)
        elif old < DEAD:
            self._down_ns[index] = self._evidence.now_ns
        record = self.view.record(index)
        if is_other_record:
            self._out.append(PeerRecorded(record))
        if (old != UNKNOWN or standing >= DEAD) and old != standing:
            self._note_became(index, standing, reason)
        if old_name != _NAMES[standing]:
            self._out.append(MemberChanged(record.node, record.name, old_name, _NAMES[standing], reason))

    def _note_became(self, index: int, standing: int, reason: str) -> None:
        if standing == ALIVE:
            reason = f"it said so in incarnation {self.view.incarnation(index)}"
        self._evidence.note_became(index, _NAMES[standing], reason)

    def state_of(self, index: int) -> str:
        """As programs are told it; empty for a stranger."""
        return _NAMES[DEAD] if self.sleepers.is_late(index) else _NAMES[self.view.standing(index)]

    def miss_sleepers(self, now_ns: int) -> None:
        """Who sleeps for longer than it said is dead for the programs here."""
        for index in self.sleepers.new_late(self.own_index, now_ns):
            record = self.view.record(index)
            reason = f"it said that it sleeps for {self.sleepers.for_s(index)} s, and is not back"
            self._evidence.note_became(index, _NAMES[DEAD], reason)
            self._out.append(MemberChanged(record.node, record.name, _NAMES[ASLEEP], _NAMES[DEAD], reason))

    def is_outdated(self, index: int, now_ns: int) -> bool:
        """Whether a member is down for so long that it is to be forgotten."""
        asleep_ns = self.sleepers.for_s(index) * _SECOND_NS
        return now_ns - self.view.since_ns(index) >= asleep_ns + self._config.forget_after_ns

    def forget(self, index: int) -> None:
        """Of a member that is down for so long that nobody asks for it any more."""
        self._out.append(PeerForgotten(self.view.roster.nodes[index]))
        self.sleepers.put(index, UNKNOWN)
        self._down_ns.pop(index, None)
        self._evidence.forget(index)
        self.view.forget(index)

    def ban(self, node: NodeId) -> None:
        """It was revoked: as if it had never been. `is_banned` keeps it so."""
        self.gossip.withdraw(node)
        index = self.view.roster.find(node)
        if self.view.standing(index) == UNKNOWN:
            return
        self._out.append(PeerForgotten(node))
        if self.view.standing(index) == SUSPECT:
            self.suspicions.end(index)
        self.accused.pop(index, None)
        self.sleepers.put(index, UNKNOWN)
        self._down_ns.pop(index, None)
        self._evidence.forget(index)
        self.view.ban(index)

    # -- what to tell a member of itself

    def against(self, index: int) -> Verdict | None:
        """What we hold against this member, as far as it can refute it."""
        standing = self.view.standing(index)
        if standing not in (SUSPECT, DEAD, REMOVED):
            return None
        record = self.view.record(index)
        return Verdict(record.node, record.incarnation, standing, self.own.node)

    def news_for(self, index: int, incarnation: int) -> tuple[Sequence[Update], int]:
        """What a member that says to be in this incarnation should hear of itself, and its bytes."""
        standing = self.view.standing(index)
        if standing == UNKNOWN:
            return (), 0
        number = self.view.number(index)
        record = self.view.roster.record(number)
        if standing == ALIVE and record.incarnation <= incarnation:
            return (), 0
        told: list[Update] = []
        size = 0
        verdict = self.against(index)
        if verdict is not None:
            told.append(verdict)
            size += VERDICT_BYTES
        if record.incarnation > incarnation:
            told.append(record)
            size += self.view.roster.sizes[number]
        notice = self.view.roster.notice(number) if standing == ASLEEP else None
        if notice is not None and incarnation == record.incarnation:
            told.append(notice)
            size += NOTICE_BYTES
        return told, size

    def _name_of(self, node: NodeId) -> str:
        index = self.view.roster.find(node)
        return self.view.record(index).name if self.view.standing(index) else node.hex()[:12]
