"""Many values in one request: `POST /v1/import` and `GET /v1/export`. The framing is in `framing`.

An import takes up to 10,000 values a request and answers after the last one, with one line of JSON
for each in the order they came: a receipt, or `{"key":...,"error":{...}}`; the last line is
`{"end":true,"written":N,"failed":M}`. It answers only then because most HTTP clients do not read
before they have sent all: two sides that both wait to be read would wait for ever. A value that is
refused (a bad key, say) does not stop the others. A body that breaks off or is framed wrongly is
answered with one error; what came before it is written, and may be sent again.

A pile is committed at once, so that thousands of small files do not cost a disk sync each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from msgspec import Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.data import CONTENT_TYPE_CHARACTERS_MAX, Ack, Timeout
from bellande_mesh_sync.api.errors import encode_json, text_of
from bellande_mesh_sync.api.framing import FrameBuffer, FrameError, FrameHead, encode_head
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.api.operations import FRAMES, JSON_LINES, OCTETS, Operation
from bellande_mesh_sync.api.system import PrefixQuery
from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ConflictError,
    IncompleteValueError,
    InvalidValueError,
    NotFoundError,
    PeerError,
    UsageError,
)
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import Entry, Receipt

SMALL_BYTES_MAX: Final = 256 * 1024
"""A value up to this size is collected in a pile; a larger one is streamed by itself."""

PILE_BYTES_MAX: Final = 1024 * 1024
PILE_COUNT_MAX: Final = 256
IMPORT_COUNT_MAX: Final = 10_000

ImportedItem: TypeAlias = tuple[str, bytes, str, str | None, str | None]
"""Key, value, content type, context, if_match."""


class ImportQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    ack: Ack | None = None
    timeout: Timeout | None = None


class IncomingFrames:
    """The frames of a request's body, value after value."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = FrameBuffer()
        self._left = 0  # bytes of the current value not yet taken
        self.count = 0

    async def next_head(self) -> FrameHead | None:
        """The next value's head, None at the end. What was left of the value before is skipped."""
        while self._left:
            await self._next_bytes()
        while (head := self._take_head()) is None:
            await self._fill()
        if head.end:
            if head.count != self.count:
                raise IncompleteValueError(f"{self.count} values came, {head.count} were meant to", key="")
            return None
        if head.error is not None or not head.key:
            raise UsageError(
                reason=f"value {self.count + 1} of the import has no key, or an error in its place"
            )
        if self.count == IMPORT_COUNT_MAX:
            raise UsageError(reason=f"an import takes {IMPORT_COUNT_MAX} values at most; send another one")
        self.count += 1
        self._left = head.size
        return head

    async def value(self) -> AsyncIterator[bytes]:
        """The current value's bytes."""
        while self._left:
            yield await self._next_bytes()

    async def whole_value(self) -> bytes:
        return b"".join([piece async for piece in self.value()])

    def _take_head(self) -> FrameHead | None:
        try:
            return self._buffer.take_head()
        except PeerError as error:
            # On a link a bad frame is a peer's fault; here it is our caller's.
            raise UsageError(reason=f"after {self.count} values: {error}") from None

    async def _next_bytes(self) -> bytes:
        if not self._buffer.waiting:
            await self._fill()
        taken = self._buffer.take(self._left)
        self._left -= len(taken)
        return taken

    async def _fill(self) -> None:
        try:
            self._buffer.feed(await anext(self._pieces))
        except StopAsyncIteration:
            raise IncompleteValueError(
                f"the body ended after {self.count} values, without its last frame", key=""
            ) from None


class Importer:
    """Writes values as they come, small ones in piles, and keeps one line about each."""

    def __init__(self, mesh: MeshCalls, query: ImportQuery) -> None:
        self._mesh = mesh
        self._options: dict[str, Any] = {"ack": query.ack, "timeout": query.timeout}
        self._pile: dict[str, tuple[FrameHead, bytes]] = {}
        self._pile_bytes = 0
        self.lines: list[bytes] = []
        self.failed = 0

    async def run(self, frames: IncomingFrames) -> None:
        try:
            while (head := await frames.next_head()) is not None:
                await self._take(head, frames)
        except BellandeMeshError:
            await self._write_pile()  # what came whole before the body broke off is written
            raise
        await self._write_pile()

    async def _take(self, head: FrameHead, frames: IncomingFrames) -> None:
        try:
            _check_head(head)
        except UsageError as error:
            await self._write_pile()  # keeps the lines in order
            self._note(head.key, error)
            return
        if head.size > SMALL_BYTES_MAX:
            await self._write_pile()
            await self._write_large(head, frames)
            return
        if head.key in self._pile:
            await self._write_pile()  # the second write of a key must come after the first
        self._pile[head.key] = (head, await frames.whole_value())
        self._pile_bytes += head.size
        if self._pile_bytes >= PILE_BYTES_MAX or len(self._pile) >= PILE_COUNT_MAX:
            await self._write_pile()

    async def _write_large(self, head: FrameHead, frames: IncomingFrames) -> None:
        broken: list[BellandeMeshError] = []

        async def value() -> AsyncIterator[bytes]:
            try:
                async for piece in frames.value():
                    yield piece
            except BellandeMeshError as error:
                broken.append(error)
                raise

        try:
            receipt = await self._mesh.put_stream(
                head.key,
                value(),
                size=head.size,
                content_type=head.content_type or OCTETS,
                context=head.context,
                if_match=head.if_match,
                **self._options,
            )
        except BellandeMeshError as error:
            if broken:
                raise  # it is the body that failed, not this value: nothing can follow
            self._note(head.key, error)
        else:
            self._note(head.key, receipt)

    async def _write_pile(self) -> None:
        pile, self._pile, self._pile_bytes = self._pile, {}, 0
        if not pile:
            return
        items = [_item_of(head, value) for head, value in pile.values()]
        outcomes: Sequence[Receipt | BellandeMeshError]
        try:
            outcomes = await self._mesh.put_many(items, **self._options)
        except (ConflictError, InvalidValueError):
            # One does not fit its space, or its condition does not hold, and so none was written: the others
            # must not suffer.
            outcomes = [await self._write_one(item) for item in items]
        except BellandeMeshError as error:
            outcomes = [error] * len(items)
        for key, outcome in zip(pile, outcomes, strict=True):
            self._note(key, outcome)

    async def _write_one(self, item: ImportedItem) -> Receipt | BellandeMeshError:
        try:
            return (await self._mesh.put_many([item], **self._options))[0]
        except BellandeMeshError as error:
            return error

    def _note(self, key: str, outcome: Receipt | BellandeMeshError) -> None:
        if isinstance(outcome, BellandeMeshError):
            self.failed += 1
            self.lines.append(encode_json({"key": key, "error": text_of(outcome)}))
        else:
            self.lines.append(encode_json(outcome))


def _item_of(head: FrameHead, value: bytes) -> ImportedItem:
    return head.key, value, head.content_type or OCTETS, head.context, head.if_match


def _check_head(head: FrameHead) -> None:
    check_key(head.key)
    content_type = head.content_type
    plain = content_type.isascii() and content_type.isprintable()
    if not plain or len(content_type) > CONTENT_TYPE_CHARACTERS_MAX:
        raise UsageError(reason=f"the content type of {head.key!r} is too long, or not printable ASCII")


async def import_values(call: Call) -> None:
    """Write many values. The body is frames; the answer has one line of JSON for each of them.

    `{"key","size","content_type","context","if_match"}` as a line (the last three may be left out), then
    `size` bytes, and so on; last `{"end":true,"count":N}`.
    At most 10,000 values a request, of any size.
    """
    frames = IncomingFrames(call.pieces())
    importer = Importer(call.mesh, call.query(ImportQuery))
    await importer.run(frames)
    written = frames.count - importer.failed
    last = encode_json({"end": True, "written": written, "failed": importer.failed})
    await call.begin(200, [("content-type", JSON_LINES)])
    await call.finish(b"\n".join([*importer.lines, last, b""]))


async def export_values(call: Call) -> None:
    """All values whose keys start with `prefix`, as frames, in the order of their keys."""
    prefix = check_prefix(call.query(PrefixQuery).prefix)
    await call.begin(200, [("content-type", FRAMES), ("cache-control", "no-store")])
    async with aclosing(_export(call.mesh, prefix)) as frames:
        await call.write_all(frames)


async def _export(mesh: MeshCalls, prefix: str) -> AsyncGenerator[bytes, None]:
    count = 0
    async for key in _keys(mesh, prefix):
        opened = False
        try:
            async with mesh.open_value(key) as stream:
                opened = True
                count += 1
                yield encode_head(_head_of(stream.entry))
                async for piece in stream:
                    yield piece
        except BellandeMeshError as error:
            if opened:
                raise  # in the midst of a value: only cutting the connection can say so
            if isinstance(error, NotFoundError):
                continue  # deleted since it was listed
            yield encode_head(FrameHead(key=key, error=FrameError(error.code, str(error))))
    yield encode_head(FrameHead(end=True, count=count))


async def _keys(mesh: MeshCalls, prefix: str) -> AsyncGenerator[str, None]:
    """All keys in order, those too that are damaged here: their place in the export says so."""
    cursor = ""
    while True:
        listing = await mesh.list(prefix, cursor=cursor)
        for key in sorted([*(entry.key for entry in listing.entries), *listing.damaged]):
            yield key
        cursor = listing.cursor
        if not cursor:
            return
        await asyncio.sleep(0)  # A long listing must not hold up everyone else.


def _head_of(entry: Entry) -> FrameHead:
    return FrameHead(
        key=entry.key,
        size=entry.size,
        content_type=entry.content_type,
        version=entry.version,
        author=entry.author,
        time_ms=entry.time_ms,
        digest=entry.digest,
    )


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/import",
        import_values,
        "Write many values",
        "writer",
        query=ImportQuery,
        body_media=FRAMES,
        answer_media=JSON_LINES,
    ),
    Operation(
        "GET",
        "/v1/export",
        export_values,
        "Read many values",
        "reader",
        query=PrefixQuery,
        answer_media=FRAMES,
    ),
)
