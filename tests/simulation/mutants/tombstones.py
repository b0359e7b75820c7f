"""Bugs in how deletes are forgotten, and in what becomes of those who missed them."""

from __future__ import annotations

from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.spreading.collecting import Collector
from bellande_mesh_sync.core.spreading.returning import Returning
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "delete_is_collected_before_all_have_it",
        "What this node has counts as known to every owner, so deletes are dropped that some never got.",
        Collector.work_out,
        ", *(each.has for each in heard)]",
        "]",
    ),
    Mutant(
        "delete_in_conflict_is_collected",
        "What all are known to have gives way to any value that comes, though a value stands beside it.",
        Replica.accept,
        "and not record.is_tombstone and is_deleted(siblings)",
        "and not record.is_tombstone",
    ),
    Mutant(
        "stale_records_stay",
        "A node that was left behind claims what its peer told and keeps what had been deleted meanwhile.",
        Returning._read,
        "if not stale:",
        "if True:",
    ),
    Mutant(
        "absence_is_evidence",
        "What a peer has never heard of counts as deleted, as if it had been there and gone.",
        Returning._read,
        "stale = Knowledge(found.absent.missing_from(live)).missing_from(live)",
        "stale = found.known.missing_from(live)",
    ),
)
