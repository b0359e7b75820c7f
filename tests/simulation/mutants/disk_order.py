"""Bugs in what waits for the disk, and in what is undone when the disk refuses."""

from __future__ import annotations

from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.spreading.exchange import Exchange
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "knowledge_is_durable_at_once",
        "What a batch makes known counts as durable when the batch is sent to the disk.",
        Replica.seal,
        "    self._next_commit += 1\n",
        "    self._next_commit += 1\n"
        "    for shard, author, low, high in draft.ranges:\n"
        "        self._kept(shard).committed.add(author, low, high)\n",
    ),
    Mutant(
        "one_sync_settles_all_commits",
        "When the disk answers, every open commit counts as durable, also the later ones.",
        Replica.committed,
        "while self._open and self._open[0].number <= number:",
        "while self._open:",
    ),
    Mutant(
        "pushed_before_it_is_durable",
        "A write is sent to the peers when it is numbered; after a crash its number is given again.",
        Exchange.write,
        "    return [SetTimer(AckOverdue(command.request), now.mono_ns + command.timeout_ns)]",
        "    links = self.links.records_links()\n"
        "    pushed = [(shard_of(record.key), record) for record in records]\n"
        "    return [\n"
        "        SetTimer(AckOverdue(command.request), now.mono_ns + command.timeout_ns),\n"
        "        *(Send(link.link, Records(s, 0, (r,))) for s, r in pushed for link in links),\n"
        "    ]",
    ),
    Mutant(
        "refused_commit_stays_known",
        "What a commit would have made known stays known when the disk refuses it.",
        Replica.failed,
        "state.seen = Knowledge(state.committed.delta())",
        "pass",
    ),
    Mutant(
        "refused_writes_stay_visible",
        "Later writes still see those that the disk refused.",
        Replica.failed,
        "    self._overlay.clear()\n",
        "",
    ),
    Mutant(
        "write_queue_never_empties",
        "The bytes of a durable commit still count as waiting for the disk.",
        Replica._settle,
        "    self.uncommitted_bytes -= draft.size_bytes\n",
        "",
    ),
)
