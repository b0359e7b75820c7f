"""Settling a conflict: what may be chosen of a key's siblings, and what the choice replaces.

A choice is a write like any other, with the context of what its maker had seen. So it replaces exactly that,
on every node: a sibling that came meanwhile stays beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from bellande_mesh_sync.core.data.context import Context, covers, join
from bellande_mesh_sync.core.data.policies import last_writer
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import ConflictError, NotFoundError, UsageError
from bellande_mesh_sync.ids import Author, Dot, parse_version


class Settlement(NamedTuple):
    kept: Record | None
    """The sibling to write again; None if a new value is to be written."""
    context: Context
    """What the write replaces."""


def is_conflict(siblings: Sequence[Record]) -> bool:
    """Whether there is something to choose: deletes among themselves are of one mind."""
    return len(siblings) > 1 and not all(record.is_tombstone for record in siblings)


def settle(
    key: str,
    siblings: Sequence[Record],
    *,
    version: str | None,
    read: Context | None,
    contiguous: Callable[[Author], int],
) -> Settlement:
    """What a caller's choice comes to.

    Args:
        siblings: the key's committed ones.
        version: the one to keep; None for a new value.
        read: the context of what the caller had seen; None: of `siblings`.
        contiguous: as for `context.join`.

    Raises:
        UsageError: `version` is none.
        NotFoundError: there is no such key or version, or no conflict.
        ConflictError: of what the caller had seen, or wants to keep, nothing is left: it is settled already.
    """
    kept = _choose(key, siblings, version) if version is not None else None
    if not siblings:
        raise NotFoundError(what="key", name=key)
    if read is not None and not any(covers(read, record.author, record.sequence) for record in siblings):
        raise _settled(key, siblings)
    if not is_conflict(siblings):
        raise NotFoundError(what="conflict under", name=key)
    # Who names a version has seen it, whatever else.
    seen = siblings if read is None else [kept] if kept is not None else []
    contexts = [record.context for record in seen]
    if read is not None:
        contexts.append(read)
    return Settlement(kept, join(contexts, [record.dot for record in seen], contiguous))


def write_again(record: Record, context: Context) -> Write:
    """A write of what this record holds."""
    return Write(
        key=record.key,
        kind=record.kind,
        size=record.size,
        digest=record.digest,
        content_type=record.content_type,
        inline=record.inline,
        manifest=record.manifest,
        expires_ms=record.expires_ms,
        context=context,
    )


def find_version(siblings: Sequence[Record], version: str) -> Record | None:
    """The sibling of this version, if it stands there. UsageError if it is no version."""
    dot = _dot_of(version)
    return next((record for record in siblings if record.dot == dot), None)


def _dot_of(version: str) -> Dot:
    try:
        return parse_version(version)
    except (ValueError, AttributeError):  # Not every caller has a type checker.
        raise UsageError(reason=f"{version!r} is no version (NODE.EPOCH.NUMBER)") from None


def _choose(key: str, siblings: Sequence[Record], version: str) -> Record:
    record = find_version(siblings, version)
    if record is not None:
        return record
    if any(covers(each.context, *_dot_of(version)) for each in siblings):
        raise _settled(key, siblings)
    raise NotFoundError(what=f"version of {key!r}", name=version)


def _settled(key: str, siblings: Sequence[Record]) -> ConflictError:
    winner = last_writer(siblings)
    return ConflictError(
        f"what was read of {key!r} has been replaced since; look again and decide",
        key=key,
        version=winner.version if winner is not None else "",
    )
