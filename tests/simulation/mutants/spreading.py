"""Bugs in how records get around: streams, credit, repair, chunks."""

from __future__ import annotations

from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.spreading.exchange import Exchange
from bellande_mesh_sync.core.spreading.fetching import Fetcher
from bellande_mesh_sync.core.spreading.pulls import Pulls
from bellande_mesh_sync.core.spreading.serving import Serving
from tests.simulation.mutants.planting import Mutant

MUTANTS = (
    Mutant(
        "stream_is_concluded_without_the_rest",
        "What a stream did not bring counts as obsolete, although what replaced it may be missing too.",
        Pulls._conclude,
        "claimed.missing_from(lacking[pull.stream]) if obsolete[pull.stream] else ()",
        "()",
    ),
    Mutant(
        "record_that_came_and_was_not_kept_is_obsolete",
        "A record that a stream brought, and that waits for its chunks, counts as obsolete at the end.",
        Pulls._conclude,
        "absent = pull.came.missing_from(state.seen.missing_from(pull.knowledge))",
        "absent = state.seen.missing_from(pull.knowledge)",
    ),
    Mutant(
        "stalled_stream_is_waited_for",
        "Nobody looks whether a stream gets on, so its dots stay asked for and are never asked again.",
        Pulls._ask,
        ", self._watch(pull, now)]",
        "]",
    ),
    Mutant(
        "repair_happens_once",
        "The timer of repair is not set again.",
        NodeCore._repair,
        "[*self.exchange.compare(now), SetTimer(RepairDue(), now.mono_ns + pause_ns)]",
        "self.exchange.compare(now)",
    ),
    Mutant(
        "summary_tells_what_is_on_its_way",
        "A summary names dots that are not durable here yet, and counts as an ack for them.",
        Exchange._summaries_of,
        "durable = state.committed.delta()",
        "durable = state.seen.delta()",
    ),
    Mutant(
        "credit_is_not_given_back",
        "Credit for records that became durable is not returned to who sent them.",
        Exchange.handle_committed,
        "effects += self._give_credit(link, amount)",
        "pass",
    ),
    Mutant(
        "views_outlive_their_link",
        "When a link closes, the views of the streams that it was served stay open.",
        Serving.link_closed,
        "return [CloseChanges(reading) for reading in desk.active]",
        "return []",
    ),
    Mutant(
        "abandoned_fetch_is_still_awaited",
        "A value whose chunks could not be had stays on the list of what is arriving.",
        Fetcher._remove,
        "del self._by_dot[fetch.shard, fetch.record.dot]",
        "pass",
    ),
    Mutant(
        "streamed_value_is_not_fetched",
        "A large value that comes in a stream is taken in without its chunks.",
        Exchange.handle_records,
        "elif record.manifest is not None:",
        "elif record.manifest is not None and pull is None:",
    ),
    Mutant(
        "list_of_chunks_counts_as_the_value",
        "A value whose chunks are listed in chunks counts as whole when the lists are here.",
        Fetcher.handle_missing,
        "if not found.chunks:",
        "if not found.chunks or (fetch.record.manifest.depth == 2 and not found.is_index):",
    ),
)
