"""`GET /v1/watch`: changes as they happen, one JSON document a line.

The first line is `{"event":"watching"}`: every change made after it was read is going to be told, and with
`cursor` those that were missed since. Then `{"event":"change","change":{...}}`, now and then
`{"event":"cursor","cursor":"..."}`, from which another watch can go on, here or at another node of the mesh,
and `{"event":"alive"}` whenever nothing else was said for 15 s, so that a reader can tell a quiet mesh from a
dead node. A reader that is too slow gets one last line, `{"event":"error","error":{...}}`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from msgspec import Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.errors import ErrorText, encode_json, text_of
from bellande_mesh_sync.api.needs import Watch
from bellande_mesh_sync.api.operations import JSON_LINES, Operation
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.keys import check_prefix

ALIVE_EVERY_S: Final = 15.0

CURSOR_EVERY_S: Final = 1.0
"""How long after a change a cursor is told at the latest, and how often at most."""

WAITING_BYTES_MAX: Final = 1024 * 1024
"""Lines that wait to be sent. Beyond it the watch's own bounded queue fills, and then it gives up."""


class WatchQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    prefix: str = ""
    cursor: str | None = None


async def watch_changes(call: Call) -> None:
    """Changes of keys that start with `prefix`, until the reader leaves: from now on, or from a cursor on.

    An empty cursor is the beginning: all there is, then what happens.
    """
    query = call.query(WatchQuery)
    watch = call.mesh.watch(check_prefix(query.prefix), cursor=query.cursor)
    lines = LineQueue(watch)
    tasks: list[asyncio.Task[None]] = []
    try:
        await call.begin(200, [("content-type", JSON_LINES), ("cache-control", "no-store")])
        await call.write(b'{"event":"watching"}\n')
        tasks = [
            asyncio.create_task(_read_changes(watch, lines)),
            asyncio.create_task(_wait_for_end(call, lines)),
        ]
        while text := await lines.take():
            await call.write(text)
        await call.finish()
    finally:
        watch.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LineQueue:
    """Lines on their way to one reader, taken all at once, and between them cursors."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._cursor = ""
        self._cursor_s = 0.0
        self._owes_cursor = True
        self.is_exact = True
        """Whether all that was read from the watch is among the lines."""
        self._waiting: list[bytes] = []
        self._size = 0
        self._has_lines = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._closed = False

    async def add(self, line: bytes) -> None:
        """Add a line; waits while there is no room."""
        await self._has_room.wait()
        self._waiting.append(line)
        self._size += len(line)
        self._has_lines.set()
        if self._size >= WAITING_BYTES_MAX:
            self._has_room.clear()

    def close(self) -> None:
        """Let the taker have what is left, then the end."""
        self._closed = True
        self._has_lines.set()

    async def take(self) -> bytes:
        """All lines that wait, or one that says the stream is alive; empty at the end."""
        try:
            async with asyncio.timeout(CURSOR_EVERY_S if self._owes_cursor else ALIVE_EVERY_S):
                await self._has_lines.wait()
        except TimeoutError:
            return self._cursor_line() or b'{"event":"alive"}\n'
        text = b"".join(self._waiting)
        self._owes_cursor |= bool(text)
        self._waiting, self._size = [], 0
        self._has_room.set()
        if not self._closed:
            self._has_lines.clear()
            if time.monotonic() - self._cursor_s >= CURSOR_EVERY_S:
                text += self._cursor_line()
        return text

    def _cursor_line(self) -> bytes:
        """The cursor behind all that was taken, if it is another one than before."""
        if not self.is_exact:
            return b""
        self._owes_cursor, self._cursor_s = False, time.monotonic()
        before, self._cursor = self._cursor, self._watch.cursor
        return b"" if self._cursor == before else _line({"event": "cursor", "cursor": self._cursor})


async def _read_changes(watch: Watch, lines: LineQueue) -> None:
    try:
        async for change in watch:
            lines.is_exact = False
            await lines.add(_line({"event": "change", "change": change}))
            lines.is_exact = True
    except BellandeMeshError as error:
        await lines.add(_line({"event": "error", "error": text_of(error)}))
    finally:
        lines.close()


async def _wait_for_end(call: Call, lines: LineQueue) -> None:
    """Close the lines when the reader has left, or when this server is stopping."""
    stopping: asyncio.Event | None = call.scope.get("bms.stopping")
    gone = asyncio.create_task(_wait_until_gone(call))
    waiters = {gone}
    if stopping is not None:
        waiters.add(asyncio.create_task(_wait_for(stopping)))
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        lines.close()


async def _wait_until_gone(call: Call) -> None:
    while (await call.receive())["type"] != "http.disconnect":
        pass


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


def _line(value: dict[str, Any] | ErrorText) -> bytes:
    return encode_json(value) + b"\n"


OPERATIONS: Final = (
    Operation(
        "GET",
        "/v1/watch",
        watch_changes,
        "Watch changes",
        "reader",
        query=WatchQuery,
        answer_media=JSON_LINES,
    ),
)
