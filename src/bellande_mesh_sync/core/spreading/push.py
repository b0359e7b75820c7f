"""Push: what has just become durable goes to the peers at once, and everybody hears who has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, parts_of
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import OpenCommit
from bellande_mesh_sync.core.effects import Effect, Send
from bellande_mesh_sync.core.messages import Have, Records
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.session.links import Link
from bellande_mesh_sync.core.spreading.weight import portions
from bellande_mesh_sync.ids import NodeId, Shard, node_of

HAVE_RANGES_MAX = 8192
"""Ranges in one Have, so that it fits a frame."""


@dataclass(slots=True, eq=False)
class News:
    """What a run of commits brought, by shard."""

    written: dict[Shard, list[Record]] = field(default_factory=dict)
    """Records of this node's own, in order of their numbers."""
    received: dict[Shard, Knowledge] = field(default_factory=dict)
    """Dots of other nodes' writes."""


def news_of(commits: Iterable[OpenCommit], local: NodeId) -> News:
    """Sort what became durable into own writes and others'."""
    news = News()
    for commit in commits:
        for shard, author, low, high in commit.draft.ranges:
            if node_of(author) != local:
                news.received.setdefault(shard, Knowledge()).add(author, low, high)
        for shard, records in commit.draft.written.items():
            news.written.setdefault(shard, []).extend(records)
    return news


def spread(
    news: News, links: Sequence[Link], counters: Counters, placement: Placement | None = None
) -> list[Effect]:
    """Own writes as Records while a peer's credit lasts, as a Have beyond it; others' dots as a Have.

    The author pushes to all its peers; everyone else only tells what it has, and a peer that the
    push did not reach asks. So in a full mesh each record crosses each link to a peer once.
    """
    effects: list[Effect] = []
    for shard, records in news.written.items():
        messages = [(Records(shard, 0, part), weight) for part, weight in portions(records)]
        for link in _owners_among(links, shard, placement):
            effects += _push(link, shard, messages, counters)
    for shard, knowledge in news.received.items():
        to = _owners_among(links, shard, placement)
        if len(to) < len(links):
            # Whoever wrote it waits for the word of its owners, and need not be one.
            writers = {node_of(author) for author, _ in knowledge.delta()}
            to = [link for link in links if link in to or link.peer in writers]
        for dots in parts_of(knowledge.delta(), HAVE_RANGES_MAX):
            have = Have(shard, dots)
            effects += [Send(link.link, have) for link in to]
    return effects


def _owners_among(links: Sequence[Link], shard: Shard, placement: Placement | None) -> Sequence[Link]:
    if placement is None or not placement.is_placed(shard):
        return links
    return [link for link in links if placement.is_for(shard, link.peer)]


def _push(link: Link, shard: Shard, messages: list[tuple[Records, int]], counters: Counters) -> list[Effect]:
    effects: list[Effect] = []
    held_back: list[Record] = []
    for message, weight in messages:
        if link.credit > 0 and not held_back:
            link.credit -= weight
            counters["records_pushed"] += len(message.records)
            effects.append(Send(link.link, message))
        else:
            held_back += message.records
    if held_back:
        counters["records_held_back"] += len(held_back)
        dots = parts_of(_dots(held_back), HAVE_RANGES_MAX)
        effects += [Send(link.link, Have(shard, part)) for part in dots]
    return effects


def _dots(records: list[Record]) -> Delta:
    knowledge = Knowledge()
    for record in records:
        knowledge.add(record.author, record.sequence, record.sequence)
    return knowledge.delta()
