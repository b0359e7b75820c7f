"""The calls of `Mesh` about the past: what a key held and when, what changed, and how to get it back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from bellande_mesh_sync.arguments import limit_of
from bellande_mesh_sync.config import Settings
from bellande_mesh_sync.core.data.history import KeyStory, end_of, is_after
from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import ChunkMissingError, NotFoundError
from bellande_mesh_sync.ids import stamp_ms
from bellande_mesh_sync.keys import check_key, check_prefix, space_of
from bellande_mesh_sync.observe import past
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.shell.value_io import ValueStream
from bellande_mesh_sync.times import Time
from bellande_mesh_sync.values import (
    Difference,
    DiffPage,
    Entry,
    History,
    Receipt,
    Restored,
    RestorePage,
    Value,
)

KEYS_PER_PAGE_MAX: Final = 20_000
"""Keys that a page looks at, so that a request ends in time also where nothing has changed."""
WRITES_AT_ONCE: Final = 500
GONE_KEYS_MAX: Final = 1_000

_Found: TypeAlias = tuple[Record, Entry]


class HistoryCalls(ABC):
    """What a program asks a node about the past, as far back as its history reaches.

    Times are those of the records' stamps: the hybrid clocks of their writers.
    """

    settings: Settings

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    def _entry(self, siblings: tuple[Record, ...], wall_ms: int) -> _Found | None:
        """What a reader of these siblings sees."""

    @abstractmethod
    async def _submit(
        self, node: Assembly, writes: tuple[Write, ...], ack: str | None, timeout: float | None
    ) -> list[Receipt]:
        """Commit these writes, all to one space."""

    # -- looking

    async def history(self, key: str) -> History:
        """All versions of a key that are here, the latest first. NotFoundError if there are none."""
        story = await self._story(key)
        if not story.live and not story.old:
            raise NotFoundError(what="key", name=key)
        return past.history_of(story)

    async def get_past(self, key: str, *, at: Time | None = None, version: str | None = None) -> Value:
        """As `get`, of a moment or of one version. Raises as `open_past`."""
        async with await self.open_past(key, at=at, version=version) as stream:
            data = b"".join([piece async for piece in stream])
        entry = stream.entry
        return Value(data, entry.version, entry.author, entry.content_type, entry)

    async def open_past(self, key: str, *, at: Time | None = None, version: str | None = None) -> ValueStream:
        """As `open_value`, of the value that was visible at a moment, or of one version.

        Raises:
            NotFoundError: there was none then, or it is a delete.
            HistoryGoneError: what was there is not known here.
        """
        with self._alive().io.hold():
            story = await self._story(key)
            record, entry = past.found_in(story, self._entry, at, version, now().wall_ms)
            return ValueStream(self._alive().io, record, entry, 0, record.size)

    async def diff_page(
        self, prefix: str, from_: Time, to: Time = "now", *, limit: int = 1000, cursor: str = ""
    ) -> DiffPage:
        """Up to `limit` keys with this prefix that differ between two moments, in code-point order."""
        check_prefix(prefix)
        limit_of(limit)
        from_ms, to_ms = _ms_of(from_), _ms_of(to)
        earliest = min(end_of(from_ms), end_of(to_ms))
        found: list[Difference] = []
        looked = 0
        walk = self._alive().history.walk(
            prefix, cursor, KEYS_PER_PAGE_MAX, lambda live: is_after(live, earliest)
        )
        async for story in walk:
            looked += 1
            difference = self._difference(story, from_ms, to_ms)
            if difference is not None:
                found.append(difference)
            if len(found) == limit or looked == KEYS_PER_PAGE_MAX:
                return DiffPage(tuple(found), story.key, from_ms, to_ms)
        return DiffPage(tuple(found), "", from_ms, to_ms)

    async def diff(self, prefix: str, from_: Time, to: Time = "now") -> AsyncIterator[Difference]:
        """All keys with this prefix that differ between two moments, a page at a time."""
        cursor = ""
        while True:
            page = await self.diff_page(prefix, from_, to, cursor=cursor)
            for difference in page.differences:
                yield difference
            cursor, from_, to = page.cursor, page.from_ms, page.to_ms
            if not cursor:
                return

    # -- bringing back

    async def restore_version(
        self, key: str, version: str, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        """Write an old version of a key again, over all that is there now.

        Raises:
            NotFoundError, HistoryGoneError: there is no such version, or it is not here any more.
            ChunkMissingError: a part of its bytes is not. Nothing was written in either case.
        """
        with self._alive().io.hold():
            story = await self._story(key)
            record = past.version_in(story, version)
            if not await self._alive().history.has_chunks(record):
                raise ChunkMissingError(chunk="some", key=key)
            alone = None if record.is_tombstone else self._entry((record,), stamp_ms(record.stamp))
            writes = (self._write_again(key, alone[0] if alone else None, story.live),)
            return (await self._submit(self._alive(), writes, ack, timeout))[0]

    async def restore_page(
        self, prefix: str, at: Time, *, dry_run: bool = False, limit: int = 1000, cursor: str = "",
        ack: str | None = None, timeout: float | None = None,
    ) -> RestorePage:  # fmt: skip
        """Bring up to `limit` keys with this prefix back to what was visible at a moment.

        Each gets a new version, a delete where there was nothing, in the context of what is there now: a
        write that comes meanwhile stays beside it. Raises as `put`; asked for again from the same cursor it
        goes on.
        """
        check_prefix(prefix)
        limit_of(limit)
        at_ms = _ms_of(at)
        plan = past.Plan(at_ms)
        stamp = end_of(at_ms)
        cursor_next = ""
        with self._alive().io.hold():
            async for story in self._alive().history.walk(
                prefix, cursor, KEYS_PER_PAGE_MAX, lambda live: is_after(live, stamp)
            ):
                await self._consider(story, plan)
                if len(plan.changes) == limit or plan.looked == KEYS_PER_PAGE_MAX:
                    cursor_next = story.key
                    break
            if not dry_run:
                await self._write_plan(plan, ack, timeout)
        return plan.page(cursor_next)

    async def restore(
        self, prefix: str, at: Time, *, ack: str | None = None, timeout: float | None = None
    ) -> Restored:
        """As `restore_page`, for all keys with this prefix. What happened, in numbers."""
        total = Restored(_ms_of(at), 0, 0, 0, 0, ())
        cursor = ""
        while True:
            page = await self.restore_page(
                prefix, total.at_ms, limit=WRITES_AT_ONCE, cursor=cursor, ack=ack, timeout=timeout
            )
            total = past.added(total, page, GONE_KEYS_MAX)
            cursor = page.cursor
            if not cursor:
                return total

    # -- finding

    async def _story(self, key: str) -> KeyStory:
        self._alive()
        check_key(key)
        return await self._alive().history.story(key)

    def _difference(self, story: KeyStory, from_ms: int, to_ms: int) -> Difference | None:
        moments = [past.moment_of(story, time_ms) for time_ms in (from_ms, to_ms)]
        before, after = (
            self._entry(moment.siblings, time_ms) if moment.is_known else None
            for moment, time_ms in zip(moments, (from_ms, to_ms), strict=True)
        )
        is_known = all(moment.is_known for moment in moments)
        return past.difference(story.key, _entry_in(before), _entry_in(after), is_known=is_known)

    # -- writing

    async def _consider(self, story: KeyStory, plan: past.Plan) -> None:
        plan.looked += 1
        if not is_after(story.live, end_of(plan.at_ms)):
            plan.unchanged += 1
            return
        moment = past.moment_of(story, plan.at_ms)
        then = self._entry(moment.siblings, plan.at_ms) if moment.is_known else None
        if not moment.is_known or (then is not None and not await self._alive().history.has_chunks(then[0])):
            plan.gone.append(story.key)
            return
        present = self._entry(story.live, now().wall_ms)
        change = past.difference(story.key, _entry_in(present), _entry_in(then), is_known=True)
        if change is None or past.is_same_value(present, then):
            plan.unchanged += 1
            return
        plan.changes.append(change)
        plan.writes.append(self._write_again(story.key, then[0] if then else None, story.live))

    def _write_again(self, key: str, record: Record | None, live: Sequence[Record]) -> Write:
        """The write that puts this value, or a delete, in the place of what is live."""
        replica = self._alive().core.replica
        context = replica.context_of(replica.shard_of(key), live)
        if record is None or record.is_tombstone:
            return Write(key, TOMBSTONE, context=context)
        return Write(
            key=key,
            kind=record.kind,
            size=record.size,
            digest=record.digest,
            content_type=record.content_type,
            inline=record.inline,
            manifest=record.manifest,
            context=context,
        )

    async def _write_plan(self, plan: past.Plan, ack: str | None, timeout: float | None) -> None:
        for _, group in groupby(plan.writes, lambda write: space_of(write.key)):
            writes = list(group)
            for start in range(0, len(writes), WRITES_AT_ONCE):
                part = tuple(writes[start : start + WRITES_AT_ONCE])
                await self._submit(self._alive(), part, ack, timeout)


def _entry_in(found: _Found | None) -> Entry | None:
    return None if found is None else found[1]


def _ms_of(given: Time) -> int:
    return past.time_of(given, now().wall_ms)
