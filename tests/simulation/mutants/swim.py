"""Bugs in who is believed to be alive: suspicions, refutations, verdicts, exchanges, healing."""

from __future__ import annotations

from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.gossip import GossipQueue
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.merging import Merging
from bellande_mesh_sync.core.members.swim.prober import Prober
from bellande_mesh_sync.core.members.swim.probing import Probing
from bellande_mesh_sync.core.members.swim.sleepers import Sleepers
from bellande_mesh_sync.core.members.swim.suspicion import Suspicions
from bellande_mesh_sync.core.members.swim.telling import Telling
from tests.simulation.mutants.planting import MEMBERS, Mutant

MUTANTS = (
    Mutant(
        "refutation_has_the_same_incarnation",
        "A node that hears that it is suspected says so in the incarnation that is suspected.",
        Beliefs._refute,
        "self.reincarnate(incarnation)",
        "self.reincarnate(incarnation - 1)",
    ),
    Mutant(
        "suspicion_outlives_its_refutation",
        "A suspicion goes on although its member has said that it lives.",
        Beliefs._replace,
        "if old == SUSPECT:",
        "if old == SUSPECT == standing:",
        MEMBERS,
    ),
    Mutant(
        "confirmed_suspicion_never_ends",
        "A suspicion that others confirm gets no timer for its nearer end.",
        Beliefs.suspect,
        "self._set_timer(index, suspicion, now_ns)",
        "pass",
        MEMBERS,
    ),
    Mutant(
        "suspicion_ends_without_the_last_call",
        "Nobody is asked just before a death whether the suspect has refuted it.",
        Beliefs.suspicion_due,
        "return self.against(index) if is_last_call else None",
        "return None",
        MEMBERS,
    ),
    Mutant(
        "word_of_the_same_incarnation_raises_the_dead",
        "A record counts as news when it is as new as the one that is held for dead.",
        Beliefs._is_newer,
        "record.incarnation > self.view.incarnation(index)",
        "record.incarnation >= self.view.incarnation(index)",
        MEMBERS,
    ),
    Mutant(
        "verdict_on_an_older_incarnation_counts",
        "A verdict is believed although its member has said something newer since.",
        Beliefs.apply_verdict,
        "if incarnation != verdict.incarnation:",
        "if incarnation < verdict.incarnation:",
        MEMBERS,
    ),
    Mutant(
        "death_in_an_exchange_kills_the_living",
        "A death that is learned when views are compared is believed of a member that lives here.",
        Beliefs.apply_entry,
        "self._accuse(index, now_ns)",
        'self._die(index, self.own.node, "known to another member", now_ns)',
        MEMBERS,
    ),
    Mutant(
        "accused_are_not_told",
        "A member that another part of the mesh holds for dead is suspected and not told.",
        Telling._tell_accused,
        "for index in list(accused)[:TELLS_MAX]:",
        "for index in list(accused)[:0]:",
        MEMBERS,
    ),
    Mutant(
        "dead_are_not_tried_again",
        "Nobody looks whether a dead member is back, so halves of a mesh stay apart.",
        Merging.heal_due,
        "for index in self._some_gone():",
        "for index in ():",
        MEMBERS,
    ),
    Mutant(
        "time_asleep_counts_for_suspicions",
        "A process that stood still does not take that time off the suspicions that were open.",
        Suspicions.prolong,
        "if missed_ns <= 0:",
        "if True:",
        MEMBERS,
    ),
    Mutant(
        "paused_process_ends_its_round",
        "Who was pinged just before the process stood still counts as silent when it goes on.",
        Swim._was_deaf,
        "    self._probing.end_round()\n",
        "",
        MEMBERS,
    ),
    Mutant(
        "isolation_speaks_of_others",
        "What a node found while it heard nobody at all is held against the others.",
        Swim._reached,
        "self.beliefs.suspicions.deaf_ns += silent_ns",
        "pass",
        MEMBERS,
    ),
    Mutant(
        "nobody_is_asked_to_ping",
        "A member that does not answer a direct ping is suspected without others being asked.",
        Probing.ask_helpers,
        "if probe is None or probe.sequence != sequence:",
        "if True:",
        MEMBERS,
    ),
    Mutant(
        "ack_of_a_helper_is_not_taken",
        "A ping that a helper brought through does not count.",
        Prober.acked,
        "if sender != target and sender not in probe.helpers:",
        "if sender != target:",
        MEMBERS,
    ),
    Mutant(
        "suspect_is_not_told_with_a_ping",
        "A suspect is pinged without hearing that it is suspected.",
        Probing._ping,
        "if self._view.standings[target] == SUSPECT:",
        "if False:",
        MEMBERS,
    ),
    Mutant(
        "news_are_told_once",
        "An update is gossiped in one packet by each node, and not by several.",
        GossipQueue.pack,
        "if sent + 1 < self._config.transmissions_max(members):",
        "if False:",
        MEMBERS,
    ),
    Mutant(
        "sleeper_is_never_missed",
        "A member that sleeps for longer than it said is asleep for ever in the eyes of programs.",
        Sleepers.new_late,
        "if not is_late and index != own and now_ns >= self._late_ns(index)",
        "if not is_late and index != own and now_ns < self.for_s(index)",
        MEMBERS,
    ),
    Mutant(
        "sleeper_is_missed_at_once",
        "How long a member meant to sleep is taken for milliseconds.",
        Sleepers._late_ns,
        "(self.for_s(index) + GRACE_S) * _SECOND_NS",
        "(self.for_s(index) // 1000 + GRACE_S) * _SECOND_NS",
        MEMBERS,
    ),
    Mutant(
        "goodbye_is_taken_for_life",
        "The last word of a node that leaves counts as a sign of life.",
        Beliefs.apply_record,
        "LEFT if record.left else ALIVE",
        "ALIVE",
        MEMBERS,
    ),
    Mutant(
        "newcomers_are_not_gossiped",
        "What a node says of itself is taken in and not passed on.",
        Beliefs.apply_record,
        "    self.gossip.add_record(record, self.view.roster.sizes[number])\n",
        "",
        MEMBERS,
    ),
    Mutant(
        "older_double_goes_on",
        "Of two nodes with one identity both take themselves for the newer one.",
        Beliefs._meet_ourselves,
        "if meeting is Meeting.NEWER_RIVAL:",
        "if False:",
        MEMBERS,
    ),
    Mutant(
        "change_of_standing_is_not_told",
        "Programs do not hear that a member is suspected, nor that it is alive again after that.",
        Directory._show,
        "if old == state:",
        "if old == state or MemberState.SUSPECT in (old, state):",
    ),
)
