"""Bugs in who is believed to be alive: suspicions, refutations, verdicts, exchanges, healing."""

from __future__ import annotations

from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.doubles import Doubles
from bellande_mesh_sync.core.members.swim.gossip import GossipQueue
from bellande_mesh_sync.core.members.swim.merging import Merging
from bellande_mesh_sync.core.members.swim.ourselves import Ourselves
from bellande_mesh_sync.core.members.swim.probing import Probing
from bellande_mesh_sync.core.members.swim.sleepers import Sleepers
from tests.simulation.mutants.planting import MEMBERS, Mutant

MUTANTS = (
    Mutant(
        "refutation_has_the_same_incarnation",
        "A node that hears that it is suspected says so in the incarnation that is suspected.",
        Ourselves.refute,
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
        "word_of_the_same_incarnation_raises_the_dead",
        "A record counts as news when it is as new as the one that is held for dead.",
        Beliefs._is_newer,
        "record.signature != known.signature and rank(record) > rank(known)",
        "rank(record) >= rank(known)",
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
        "dead_are_not_tried_again",
        "Nobody looks whether a dead member is back, so halves of a mesh stay apart.",
        Merging.heal_due,
        "for index in self._some_gone():",
        "for index in ():",
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
        Doubles.meet,
        "return Meeting.NEWER_RIVAL if is_second and",
        "return Meeting.NEWER_RIVAL if False and",
        MEMBERS,
    ),
    Mutant(
        "newer_double_ends",
        "Of two nodes with one identity the one that began later stops.",
        Doubles.meet,
        ">= _run_of(own)",
        "<= _run_of(own)",
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
