"""Bugs in what callers are told: who has a write on disk, and how many that must be."""

from __future__ import annotations

from bellande_mesh_sync.core.members.directory import Directory
from bellande_mesh_sync.core.spreading import acks, push
from bellande_mesh_sync.core.spreading.acks import Waiting
from bellande_mesh_sync.core.spreading.exchange import Exchange
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "local_write_is_acknowledged_at_once",
        "A write with ack=local is acknowledged when it is numbered, before it is durable.",
        Exchange.write,
        "return []  # The disk always answers.",
        "return [\n"
        "            effect\n"
        "            for (shard, author), span in _ranges(records).items()\n"
        "            for effect in self.acks.note(self.me.node, shard, author, (span,))\n"
        "        ]",
    ),
    Mutant(
        "deadline_is_set_for_the_request_before",
        "The timer of a write's deadline carries a number that is off by one.",
        Exchange.write,
        "SetTimer(AckOverdue(command.request),",
        "SetTimer(AckOverdue(command.request - 1),",
    ),
    Mutant(
        "receiver_acknowledges_before_its_disk",
        "A record is acknowledged to its author when it arrives, before it is durable.",
        Exchange.handle_records,
        "            accepted[dot] = record\n",
        "            accepted[dot] = record\n"
        "            span = (record.sequence, record.sequence)\n"
        "            effects.append(Send(link.link, Have(shard, ((record.author, (span,)),))))\n",
    ),
    Mutant(
        "quorum_is_one_short",
        "Half of an even number of owners counts as a majority.",
        acks.need_of,
        "owner_count // 2 + 1",
        "(owner_count + 1) // 2",
    ),
    Mutant(
        "part_of_a_batch_counts",
        "A node counts for a batch when it has what the batch wrote to one of its shards.",
        Waiting.reached,
        "if count == len(self.ranges):",
        "if count == 1:",
    ),
    Mutant(
        "suspects_are_no_owners",
        "A member that nobody reaches at the moment does not count for quorum and all.",
        Directory._count_owners,
        "not in (MemberState.LEFT, MemberState.REVOKED)",
        "not in (MemberState.LEFT, MemberState.REVOKED, MemberState.SUSPECT)",
    ),
    Mutant(
        "acks_are_not_told",
        "A node does not say which records of others are on its disk.",
        push.news_of,
        "if node_of(author) != local:",
        "if node_of(author) == local:",
    ),
)
