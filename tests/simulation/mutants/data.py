"""Bugs in what replaces what: numbers, contexts, stamps, siblings and deletes."""

from __future__ import annotations

from bellande_mesh_sync.core.data import replica
from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.draft import Draft
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.spreading.exchange import Exchange
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "write_forgets_what_it_saw",
        "A write carries no context, so it stands beside what its node had and should replace.",
        Replica._record,
        "context = self._joined(shard, siblings, self.shard(shard).seen)",
        "context = ()",
    ),
    Mutant(
        "write_forgets_the_past_of_its_siblings",
        "The context of a write names its siblings, but not what these had replaced before.",
        replica._context_of,
        "[s.context for s in siblings]",
        "[]",
    ),
    Mutant(
        "context_covers_unread_writes",
        "A context counts up to the last write known of an author, over gaps that nobody has read.",
        replica._context_of,
        "knowledge.contiguous",
        "knowledge.last",
    ),
    Mutant(
        "numbers_go_on_from_what_is_durable",
        "A write takes the number after the last durable one, though commits are open.",
        Replica.write,
        "self.shard(shard).seen.last",
        "self.shard(shard).committed.last",
    ),
    Mutant(
        "delete_leaves_no_tombstone",
        "A delete drops the versions it saw and puts nothing in their place.",
        Replica._place,
        "    draft.put(shard, record)",
        "    if not record.is_tombstone:\n        draft.put(shard, record)",
    ),
    Mutant(
        "tombstone_of_an_unknown_key_is_skipped",
        "A delete that comes before the value it deletes is not kept.",
        Replica.accept,
        "if siblings and any(",
        "if (record.is_tombstone and not siblings) or any(",
    ),
    Mutant(
        "later_stamp_replaces_siblings",
        "A version replaces every sibling with an older stamp, not just those that its writer had seen.",
        Replica._place,
        "if covers(record.context, s.author, s.sequence)]",
        "if covers(record.context, s.author, s.sequence) or s.stamp < record.stamp]",
    ),
    Mutant(
        "replaced_record_comes_back",
        "A record that a sibling here has replaced is put beside it.",
        Replica.accept,
        "continue",
        "pass",
    ),
    Mutant(
        "record_on_its_way_to_the_disk_is_taken_twice",
        "Whether a record is here already is judged by what is durable, not by what will be.",
        Exchange.handle_records,
        "seen = self.replica.shard(shard).seen",
        "seen = self.replica.shard(shard).committed",
    ),
    Mutant(
        "open_commit_is_forgotten_when_an_earlier_one_lands",
        "When a commit is durable, what a later open one will change under its keys is forgotten too.",
        Replica._settle,
        "if over is not None and over.commit == commit.number:",
        "if over is not None:",
    ),
    Mutant(
        "fingerprint_keeps_what_its_own_batch_replaced",
        "A version replaced within its own batch stays in the fingerprint of its shard.",
        Draft.drop,
        "    self.fingerprints[shard] -= fingerprint_of(record)",
        "        self.fingerprints[shard] -= fingerprint_of(record)",
    ),
    Mutant(
        "clock_is_not_stored",
        "A batch does not say how far the clock had come, so stamps start over after a restart.",
        Replica.seal,
        "draft.batch(self.clock.last)",
        "draft.batch(0)",
    ),
    Mutant(
        "clock_follows_any_stamp",
        "A stamp of another node moves the clock also when it is older.",
        HybridClock.observe,
        "self._last = max(self._last, stamp)",
        "self._last = stamp",
    ),
)
