"""History: which replaced versions a node keeps, and what a key held at some moment, as far as they tell.

Versions are ordered by what replaced them and when (`until`), never by their own stamp: whatever was
forgotten was replaced before all that is left, and versions that were replaced together go together.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from bellande_mesh_sync.core.data.context import Context, covers
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Dot, Shard, Stamp, stamp_ms, stamp_of

LAST_COUNTER = 0xFFFF


@dataclass(frozen=True, slots=True)
class HistoryPolicy:
    """How many replaced versions of a key are kept, and for how long."""

    versions: int = 0
    """0: none."""
    for_ms: int = 0
    """0: whatever their age. Counted from when a version was replaced."""


@dataclass(frozen=True, slots=True)
class HistoryPolicies:
    """The policy of each space."""

    default: HistoryPolicy = HistoryPolicy()
    spaces: tuple[tuple[str, HistoryPolicy], ...] = ()

    @property
    def has_ages(self) -> bool:
        """Whether anything is ever forgotten for its age."""
        return any(policy.for_ms for policy in (self.default, *(policy for _, policy in self.spaces)))


NO_HISTORY = HistoryPolicies()


class OldVersion(Struct, frozen=True, gc=False):
    """A version that was replaced, on its way into the store's history."""

    shard: Shard
    record: Record
    until: Stamp
    """The stamp of what replaced it."""
    versions: int
    """How many of its key are kept from now on."""
    expires_ms: int
    """By the wall clock; 0: its age does not matter."""


def old_version(shard: Shard, record: Record, until: Stamp, policy: HistoryPolicy) -> OldVersion:
    expires_ms = stamp_ms(until) + policy.for_ms if policy.for_ms else 0
    return OldVersion(shard, record, until, policy.versions, expires_ms)


def replaced_by(record: Record, siblings: Iterable[Record]) -> Stamp:
    """When one of these siblings, which have replaced the record, did so first."""
    return min(s.stamp for s in siblings if covers(s.context, record.author, record.sequence))


def remaining(kept: Iterable[OldVersion], versions: int) -> list[OldVersion]:
    """Of one key's old versions those that stay: the `versions` replaced last, oldest first.

    More, where several were replaced together with the oldest of them.
    """
    ordered = sorted(kept, key=lambda old: old.until)
    if len(ordered) <= versions:
        return ordered
    if versions == 0:
        return []
    floor = ordered[-versions].until
    return [old for old in ordered if old.until >= floor]


class KeyStory(Struct, frozen=True, gc=False):
    """All that a node has of one key."""

    key: str
    live: tuple[Record, ...]
    old: tuple[tuple[Stamp, Record], ...]
    """Replaced versions, each with the stamp of what replaced it."""

    def ended(self, stamp_max: Stamp) -> set[Dot]:
        """What had been replaced by then, whether or not what replaced it is still known here."""
        live = {record.dot for record in self.live}
        return {record.dot for until, record in self.old if until <= stamp_max} - live

    def versions(self) -> list[Record]:
        """Each version once; a version may be live and old while its replacement is being committed."""
        found = {record.dot: record for _, record in self.old}
        found.update((record.dot, record) for record in self.live)
        return list(found.values())


class Moment(Struct, frozen=True, gc=False):
    """What a key held at some time."""

    siblings: tuple[Record, ...]
    is_known: bool
    """Whether that is certain: False if a version that is not kept here may have been there then."""


def is_after(live: Sequence[Record], stamp_max: Stamp) -> bool:
    """Whether the key has changed since, so that only its history can tell what was there."""
    return not live or any(record.stamp > stamp_max for record in live)


def end_of(time_ms: int) -> Stamp:
    """The last stamp of this millisecond."""
    return stamp_of(time_ms, LAST_COUNTER)


def as_of(versions: Sequence[Record], stamp_max: Stamp, ended: Collection[Dot] = ()) -> Moment:
    """What the versions stamped up to `stamp_max` say that the key held then.

    Args:
        ended: those that were gone by then, though nothing here need say so: a delete that was collected
            is neither live nor, everywhere, in the history.

    Whatever is missing was replaced, and its replacement, or that one's, is here and names it in its
    context. So a later version whose context names a dot that neither is here nor was replaced by then
    tells of a version that may have been there. Cost: O(versions squared times authors), with few of
    either.
    """
    by_then = [version for version in versions if version.stamp <= stamp_max]
    replaced = [version.context for version in by_then]
    siblings = tuple(v for v in by_then if v.dot not in ended and not _is_covered(replaced, v.dot))
    here = {version.dot for version in versions}
    for version in versions:
        if version.stamp > stamp_max:
            for dot in _named(version.context):
                if dot not in here and not _is_covered(replaced, dot):
                    return Moment(siblings, False)
    return Moment(siblings, True)


def is_whole(versions: Sequence[Record]) -> bool:
    """Whether these are all versions that the key ever had, as far as their contexts tell."""
    here = {version.dot for version in versions}
    return all(dot in here for version in versions for dot in _named(version.context))


def _named(context: Context) -> Iterable[Dot]:
    for author, base, extras in context:
        if base:
            yield Dot(author, base)
        for extra in extras:
            yield Dot(author, extra)


def _is_covered(contexts: Iterable[Context], dot: Dot) -> bool:
    return any(covers(context, *dot) for context in contexts)
