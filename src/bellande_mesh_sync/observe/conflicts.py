"""Conflicts, in the form that people and programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import nlargest
from typing import Final

import msgspec

from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.core.data.policies import last_writer
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.core.data.settling import find_version
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import NotFoundError
from bellande_mesh_sync.ids import NodeId, node_of, stamp_ms
from bellande_mesh_sync.observe.views import describe
from bellande_mesh_sync.values import Conflict, Entry, Siblings, SiblingView

SPACES_MAX: Final = 1_000
"""Anybody who may write can make spaces; an account of them is not longer than this."""


def conflict_of(core: NodeCore, key: str, siblings: Sequence[Record]) -> Conflict:
    """A key in conflict, as a list shows it."""
    winner = last_writer(siblings)
    assert winner is not None, "a conflict has siblings"
    authors = sorted({node_of(record.author) for record in siblings})
    return Conflict(
        key=key,
        siblings=len(siblings),
        authors=tuple(node.hex() for node in authors),
        author_names=tuple(_name_of(core, node) for node in authors),
        version=winner.version,
        newest_ms=stamp_ms(winner.stamp),
    )


def siblings_of(core: NodeCore, key: str, siblings: Sequence[Record]) -> Siblings:
    """All that stands under a key, and what is known of each. NotFoundError if no value does."""
    if all(record.is_tombstone for record in siblings):
        raise NotFoundError(what="key", name=key)
    winner = last_writer(siblings)
    ordered = sorted(siblings, key=lambda record: (record is winner, order_of(record)), reverse=True)
    context = core.replica.context_of(core.replica.shard_of(key), siblings)
    views = tuple(_sibling_view(core, record, is_winner=record is winner) for record in ordered)
    return Siblings(key, context_text(context), views)


def _sibling_view(core: NodeCore, record: Record, *, is_winner: bool) -> SiblingView:
    replica, shard = core.replica, core.replica.shard_of(record.key)
    arrived = replica.arrivals.of(shard, record.author, record.sequence)
    ahead = replica.arrivals.clock_ahead(shard, record, replica.author)
    return SiblingView(
        version=record.version,
        is_winner=is_winner,
        kind="delete" if record.is_tombstone else "put",
        size=record.size,
        content_type=record.content_type,
        digest=record.digest.hex(),
        author=node_of(record.author).hex(),
        author_name=_name_of(core, node_of(record.author)),
        time_ms=stamp_ms(record.stamp),
        arrived_ms=None if arrived is None else arrived.last_ms,
        ahead_ms_min=ahead.least_ms,
        ahead_ms_max=ahead.most_ms,
    )


def _name_of(core: NodeCore, node: NodeId) -> str:
    member = core.directory.record_of(node)
    return member.name if member is not None else ""


def entry_of_version(
    core: NodeCore, key: str, siblings: Sequence[Record], version: str
) -> tuple[Record, Entry]:
    """The value of this version, and what is told of it. A reader of it has seen it alone, so the entry's
    context stands for no other sibling.

    Raises:
        UsageError: it is no version.
        NotFoundError: it does not stand under the key (any more), or is a delete.
    """
    record = find_version(siblings, version)
    if record is None:
        raise NotFoundError(what=f"version of {key!r}", name=version)
    if record.is_tombstone:
        raise NotFoundError(what=f"value of {key!r} in the delete", name=version)
    context = core.replica.context_of(core.replica.shard_of(key), [record])
    shown = core.replica.policies.of(key).shown([record], 0)
    told = record if shown is None else shown.record  # Where records hold more than what was written.
    entry = describe(core, told, siblings, record.version)
    return told, msgspec.structs.replace(entry, context=context_text(context))


def to_settle(core: NodeCore, counts: Mapping[str, int]) -> dict[str, int]:
    """Of the counts by space, those of spaces in which somebody has to settle a conflict."""
    policies = core.replica.policies
    return {space: count for space, count in counts.items() if not policies.of(space).merges}


def counts_shown(counts: Mapping[str, int]) -> dict[str, int]:
    """The count of each space, by name; of more than a thousand those with the most."""
    most = counts.items() if len(counts) <= SPACES_MAX else _largest(counts)
    return dict(sorted(most))


def _largest(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return nlargest(SPACES_MAX, counts.items(), key=lambda item: (item[1], item[0]))
