"""Bugs that the simulator does not find yet, and what it would take.

`python -m tools.mutants --only NAME` hunts one of them. One that is found moves to its group.
"""

from __future__ import annotations

from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.session.switchboard import Switchboard
from bellande_mesh_sync.core.spreading import push
from bellande_mesh_sync.core.spreading.acks import Acks, Waiting
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.spreading.serving import Serving
from tests.simulation.mutants.planting import Mutant

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
        '(seen.version if seen else "") != write.if_match',
        "seen and seen.version != write.if_match",
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
)
