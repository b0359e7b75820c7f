"""Bugs that the simulator does not find yet, and what it would take.

`python -m tools.mutants --only NAME` hunts one of them. One that is found moves to its group.
"""

from __future__ import annotations

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.delivery.notes import Notes
from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.members.peer_book import PeerBook
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.prober import Prober
from bellande_mesh_sync.core.members.swim.probing import Probing
from bellande_mesh_sync.core.members.swim.suspicion import Suspicions
from bellande_mesh_sync.core.members.swim.telling import Telling
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.session.switchboard import Switchboard
from bellande_mesh_sync.core.spreading import push
from bellande_mesh_sync.core.spreading.acks import Acks, Waiting
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.spreading.serving import Serving
from tests.simulation.mutants.planting import MEMBERS, Mutant

MUTANTS = (
    # Needs a client that makes its context up: with numbers that its node has not given yet.
    Mutant(
        "callers_context_covers_later_writes",
        "A context from outside is believed, also where it covers numbers that this node has yet to give.",
        Replica._record,
        "_without_future(write.context, self.author, sequence)",
        "write.context",
    ),
    # Needs a check that computes what was visible to the write, from its context.
    Mutant(
        "condition_is_checked_against_the_disk",
        "if_match is compared with what is durable, and not with the writes on their way there.",
        Replica.refusal,
        "held = self.siblings([write.key for write in conditional])",
        "keys = [write.key for write in conditional]\n"
        "    held = dict(zip(keys, self._reader.siblings(keys), strict=True))",
    ),
    # The same.
    Mutant(
        "condition_counts_only_if_there_is_a_value",
        "if_match holds when the value it names was deleted.",
        Replica.refusal,
        "version(held[write.key], now.wall_ms) != write.if_match",
        'version(held[write.key], now.wall_ms) not in ("", write.if_match)',
    ),
    # Needs a check of each stamp against the highest time that the node's own clock has shown.
    Mutant(
        "records_from_the_future_are_taken_in",
        "How far a stamp may be ahead of the wall clock is taken for seconds where it is milliseconds.",
        HybridClock.limit,
        "self._drift_max_ms,",
        "self._drift_max_ms * 1000,",
    ),
    # Repair brings them later, so no promise is broken; needs a bound on how long spreading takes at rest.
    Mutant(
        "push_drops_what_credit_does_not_cover",
        "Writes beyond a peer's credit are neither pushed nor told.",
        push._push,
        "    held_back += message.records\n",
        "    pass\n",
    ),
    # Needs a ledger of each link: what was sent, less the credit that came back, without a frame of slack.
    Mutant(
        "push_ignores_credit",
        "Writes are pushed to a peer that has given no more credit.",
        push._push,
        "if link.credit > 0 and not held_back:",
        "if not held_back:",
    ),
    # The same.
    Mutant(
        "serving_ignores_credit",
        "Credit below zero counts as credit when the next page of a stream is read.",
        Serving.handle_page,
        "if link.credit > 0:",
        "if link.credit != 0:",
    ),
    # The same.
    Mutant(
        "credit_is_given_twice",
        "What was given back to a peer is still counted as owed.",
        Exchange._give_credit,
        "    link.owed = 0\n",
        "",
    ),
    # Needs a check that a write that timed out had not reached the level by then.
    Mutant(
        "leaver_is_waited_for",
        "A write with ack=all goes on waiting for a node that said goodbye meanwhile.",
        Waiting.lose_owner,
        "self.need = need_of(self.ack, len(self.owners))",
        "pass",
    ),
    # Refused numbers are given again; needs more refusals beside waiting writes, or a look into the list.
    Mutant(
        "answered_writes_hide_those_that_wait",
        "Numbers that a refused commit had given keep their place in the list of those who wait.",
        Acks.lost,
        "    for log in self._waiting:\n        self._tidy(log)\n",
        "",
    ),
    # A full disk and a peer with little credit at once, and nothing that heals the link.
    Mutant(
        "credit_is_lost_with_a_refused_commit",
        "Credit for records that a full disk refused is not returned.",
        Exchange.handle_commit_failed,
        "effects += self._give_credit(link, amount)",
        "pass",
    ),
    # They are told again at the next link, so no promise is broken.
    Mutant(
        "refused_commit_loses_member_records",
        "Member records that were in a refused commit are not stored with the next one.",
        Replica.failed,
        "self._refused_members.update((member.node, member) for member in commit.draft.members)",
        "pass",
    ),
    # The links come again soon; needs a bound on how often they may.
    Mutant(
        "crossed_dials_close_both",
        "Of two links that were dialled at once each end keeps its own.",
        Links._replaces,
        "return new.is_outbound == (self._local < new.peer)",
        "return new.is_outbound",
    ),
    # The system gives a dead connection up by itself sooner or later; needs one that never does.
    Mutant(
        "silent_link_stays",
        "A link on which nothing is heard any more is pinged and never closed.",
        Switchboard._look_after,
        "> patience_ns",
        "> patience_ns and link.ping_number == 0",
    ),
    # Refutations get around by gossip as well; needs a suspect that only one who is asked has heard of.
    Mutant(
        "suspicion_ends_without_the_last_call",
        "Nobody is asked just before a death whether the suspect has refuted it.",
        Beliefs.suspicion_due,
        "return self.against(index) if is_last_call else None",
        "return None",
        MEMBERS,
    ),
    # Who is killed refutes it at once, and a split excuses it; needs a promise for those of one's own half.
    Mutant(
        "death_in_an_exchange_kills_the_living",
        "A death that is learned when views are compared is believed of a member that lives here.",
        Beliefs.apply_entry,
        "self._accuse(index, now_ns)",
        'self._die(index, self.own.node, "known to another member", now_ns)',
        MEMBERS,
    ),
    # Gossip and pings tell them too; the same.
    Mutant(
        "accused_are_not_told",
        "A member that another part of the mesh holds for dead is suspected and not told.",
        Telling._tell_accused,
        "for index in list(accused)[:TELLS_MAX]:",
        "for index in list(accused)[:0]:",
        MEMBERS,
    ),
    # The last call saves who is suspected; needs a pause within a suspicion, and one-way loss in the call.
    Mutant(
        "time_asleep_counts_for_suspicions",
        "A process that stood still does not take that time off the suspicions that were open.",
        Suspicions.prolong,
        "if missed_ns <= 0:",
        "if True:",
        MEMBERS,
    ),
    # One suspicion too many, refuted before it ends; needs a bound on suspicions of healthy members.
    Mutant(
        "paused_process_ends_its_round",
        "Who was pinged just before the process stood still counts as silent when it goes on.",
        Swim._was_deaf,
        "    self._probing.end_round()\n",
        "",
        MEMBERS,
    ),
    # The same.
    Mutant(
        "isolation_speaks_of_others",
        "What a node found while it heard nobody at all is held against the others.",
        Swim._reached,
        "self.beliefs.suspicions.deaf_ns += silent_ns",
        "pass",
        MEMBERS,
    ),
    # Gossip tells it as well; needs a bound on how long a healthy member stays suspect.
    Mutant(
        "suspect_is_not_told_with_a_ping",
        "A suspect is pinged without hearing that it is suspected.",
        Probing._ping,
        "if self._view.standings[target] == SUSPECT:",
        "if False:",
        MEMBERS,
    ),
    # One seed in a hundred has newcomers and so few links; `test_runs.py` has one that shows it.
    Mutant(
        "newcomer_that_is_turned_away_is_forgotten",
        "A node that has no room for a link does not take in who it was that asked for one.",
        Switchboard._refuse,
        "effects += self._membership.turned_away(link.peer, record, now)",
        "pass",
    ),
    # The same.
    Mutant(
        "seed_waits_for_room",
        "A node with as many links as it may have does not dial its seeds, though nobody has answered there.",
        Switchboard.dial,
        "if room <= 0:",
        "if False:",
    ),
    # The same, with large values.
    Mutant(
        "chunk_links_keep_their_place",
        "Links for chunks do not make room for links for records.",
        Switchboard._make_room,
        "if link.lane == RECORDS_LANE else None",
        "if link.lane != RECORDS_LANE else None",
    ),
    # Needs a bound on how long a write with ack=all may wait when a member has left.
    Mutant(
        "leaver_is_an_owner",
        "A member that said goodbye counts for quorum and all.",
        Directory._count_owners,
        "not in (MemberState.LEFT, MemberState.REVOKED)",
        "not in (MemberState.REVOKED,)",
    ),
    # The next run hears them again; needs a mesh in which all move and all are started anew.
    Mutant(
        "news_of_members_are_not_kept",
        "What a known member says anew waits for ever to be written to the peer book.",
        PeerBook.write,
        "self._remember(self._records[node])",
        "pass",
    ),
    # It counts as suspect until it is forgotten again; needs a check of what a peer book holds.
    Mutant(
        "forgotten_member_stays_in_the_book",
        "A member that is forgotten stays in the peer book, so the next run knows it again.",
        PeerBook.forget,
        "self._forget(node)",
        "pass",
    ),
    # Needs a liar that forges notes, and a ledger of notes that counts them.
    Mutant(
        "relayed_note_is_not_checked",
        "A note that a neighbour brings is delivered whatever its signature says.",
        Notes._receive,
        "or not self._me.verify(source.public_key, note.signature, text)",
        "",
    ),
    # Who is suspected for it says that it lives; needs a bound on how often the healthy are suspected.
    Mutant(
        "ack_of_a_helper_is_not_taken",
        "A ping that a helper brought through does not count.",
        Prober.acked,
        "if sender != target and sender not in probe.helpers:",
        "if sender != target:",
        MEMBERS,
    ),
    # Notes take a neighbour in few seeds; needs more meshes with fewer links than members.
    Mutant(
        "relayed_note_goes_to_all",
        "A note for a neighbour is delivered here as well.",
        Notes.handle_relayed,
        "return [Send(onward.link, msgspec.structs.replace(note, is_forwarded=True))]",
        "return [\n"
        "        Send(onward.link, msgspec.structs.replace(note, is_forwarded=True)),\n"
        "        *self._receive(note),\n"
        "    ]",
    ),
)
