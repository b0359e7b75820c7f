"""The past as people and programs read it: versions, differences, what a restore will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec.structs import replace

from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.history import KeyStory, Moment, as_of, end_of, is_whole
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import HistoryGoneError, NotFoundError, UsageError
from bellande_mesh_sync.ids import Stamp, node_of, parse_version, stamp_ms
from bellande_mesh_sync.times import Time, time_ms_of, time_text
from bellande_mesh_sync.values import Difference, Entry, History, Restored, RestorePage, Version

See: TypeAlias = Callable[[tuple[Record, ...], int], tuple[Record, Entry] | None]
"""What a reader of these siblings sees at this wall-clock time, in milliseconds."""


def time_of(given: Time, now_ms: int) -> int:
    """Milliseconds since 1970. UsageError if it is no time."""
    try:
        return time_ms_of(given, now_ms)
    except ValueError as error:
        raise UsageError(reason=str(error)) from None


def history_of(story: KeyStory) -> History:
    live = {record.dot for record in story.live}
    current = max(story.live, key=order_of, default=None)
    found = [(record, "current" if record is current else "sibling", None) for record in story.live]
    replaced = [(record, "replaced", until) for until, record in story.old if record.dot not in live]
    latest_first = sorted([*found, *replaced], key=lambda each: order_of(each[0]), reverse=True)
    versions = tuple(_version(*each) for each in latest_first)
    return History(story.key, versions, is_whole(story.versions()))


def _version(record: Record, state: str, until: Stamp | None) -> Version:
    return Version(
        key=record.key,
        version=record.version,
        kind="delete" if record.is_tombstone else "put",
        state=state,
        size=record.size,
        content_type=record.content_type,
        author=node_of(record.author).hex(),
        time_ms=stamp_ms(record.stamp),
        replaced_ms=None if until is None else stamp_ms(until),
        digest=record.digest.hex(),
    )


def moment_of(story: KeyStory, time_ms: int) -> Moment:
    stamp = end_of(time_ms)
    return as_of(story.versions(), stamp, story.ended(stamp))


def found_in(
    story: KeyStory, see: See, at: Time | None, version: str | None, now_ms: int
) -> tuple[Record, Entry]:
    """What was visible at a time, or one version. UsageError unless exactly one of both is given.

    Raises:
        NotFoundError: nothing was visible then, the version is a delete, or it never was.
        HistoryGoneError: it is not known.
    """
    if version is not None and at is None:
        alone = see((version_in(story, version),), now_ms)
        if alone is None:
            raise NotFoundError(what="value in version", name=version)
        return alone
    if at is None or version is not None:
        raise UsageError(reason="give either a time or a version")
    time_ms = time_of(at, now_ms)
    moment = moment_of(story, time_ms)
    if not moment.is_known:
        raise HistoryGoneError(key=story.key, what=time_text(time_ms))
    found = see(moment.siblings, time_ms)
    if found is None:
        raise NotFoundError(what="key", name=story.key)
    return found


def version_in(story: KeyStory, text: str) -> Record:
    """The record of a version, which may be a delete. Raises UsageError, NotFoundError, HistoryGoneError."""
    try:
        dot = parse_version(text)
    except ValueError:
        reason = f"{text!r} is not a version; 'bms history KEY' lists them"
        raise UsageError(reason=reason) from None
    versions = story.versions()
    for record in versions:
        if record.dot == dot:
            return record
    if any(covers(record.context, *dot) for record in versions):
        raise HistoryGoneError(key=story.key, what=f"version {text}")
    raise NotFoundError(what="version", name=text)


def difference(key: str, before: Entry | None, after: Entry | None, *, is_known: bool) -> Difference | None:
    """None if nothing differs, or nothing was there at either moment."""
    if not is_known:
        return Difference(key, "unknown", before, after)
    if before is None and after is None:
        return None
    if before is None:
        return Difference(key, "added", None, after)
    if after is None:
        return Difference(key, "deleted", before, None)
    return None if before.version == after.version else Difference(key, "changed", before, after)


def is_same_value(now: tuple[Record, Entry] | None, then: tuple[Record, Entry] | None) -> bool:
    """Whether a reader would get the same bytes of the same type."""
    if now is None or then is None:
        return now is then
    return now[0].digest == then[0].digest and now[0].content_type == then[0].content_type


@dataclass(slots=True)
class Plan:
    """What a restore is going to do about some keys."""

    at_ms: int
    looked: int = 0
    unchanged: int = 0
    changes: list[Difference] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    """One for each of the changes."""
    gone: list[str] = field(default_factory=list)

    def page(self, cursor: str) -> RestorePage:
        return RestorePage(tuple(self.changes), tuple(self.gone), self.unchanged, cursor, self.at_ms)


def added(total: Restored, page: RestorePage, gone_keys_max: int) -> Restored:
    deleted = sum(change.kind == "deleted" for change in page.changes)
    return replace(
        total,
        written=total.written + len(page.changes) - deleted,
        deleted=total.deleted + deleted,
        unchanged=total.unchanged + page.unchanged,
        gone=total.gone + len(page.gone),
        gone_keys=(*total.gone_keys, *page.gone[: gone_keys_max - len(total.gone_keys)]),
    )
