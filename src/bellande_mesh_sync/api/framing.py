"""The bytes of a bulk transfer: many values in one HTTP body, either way.

A body is a sequence of frames. A frame is one line of JSON, ended by a line feed and at most 16 KiB
long, and then exactly `size` raw bytes, the value, with nothing after them:

    {"key":"a/b","size":5,"content_type":"text/plain"}\\n
    hello
    {"key":"a/c","size":0}\\n
    {"end":true,"count":2}\\n

`content_type` may be left out, and so may `context` (what the writer had seen, and so replaces) and
`if_match` (the version it replaces, "" for none), which mean what they mean for a single write. Fields
a reader does not know are ignored, so that what
`GET /v1/export` gives (with `version`, `author`, `time_ms` and `digest` beside) can be sent to
`POST /v1/import` of another mesh as it stands. The last frame has `end` and how many values came
before it: without it the transfer broke off, whatever HTTP says.

An export may hold a frame with `error` instead of a value, for a key that could not be read; an
import may not.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from bellande_mesh_sync.errors import DecodeError, LimitExceededError

LINE_BYTES_MAX: Final = 16 * 1024
"""A key has at most 1 KiB, six times that when JSON escapes it; the rest is short."""


class FrameError(Struct, frozen=True):
    code: str
    message: str


class FrameHead(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The line before a value's bytes, or the last line."""

    key: str = ""
    size: Annotated[int, Meta(ge=0, le=2**62)] = 0
    content_type: str = ""
    context: str | None = None
    if_match: str | None = None
    version: str = ""
    author: str = ""
    time_ms: int = 0
    digest: str = ""
    error: FrameError | None = None
    end: bool = False
    count: int = 0


_decoder = msgspec.json.Decoder(FrameHead)


def encode_head(head: FrameHead) -> bytes:
    return msgspec.json.encode(head) + b"\n"


class FrameBuffer:
    """Bytes fed as they come, taken as lines and values. No I/O: both ends of a transfer use it."""

    def __init__(self) -> None:
        self._bytes = b""
        self._position = 0

    @property
    def waiting(self) -> int:
        """How many bytes were fed and not yet taken."""
        return len(self._bytes) - self._position

    def feed(self, piece: bytes) -> None:
        # Nearly all was taken by now, so this moves little: at most a line, or the start of a value.
        self._bytes = self._bytes[self._position :] + piece if self.waiting else piece
        self._position = 0

    def take_head(self) -> FrameHead | None:
        """The next head, or None if more bytes are needed.

        Raises DecodeError for a line that is no head, LimitExceededError for one that is too long.
        """
        end = self._bytes.find(b"\n", self._position)
        length = (end if end >= 0 else len(self._bytes)) - self._position
        if length > LINE_BYTES_MAX:
            raise LimitExceededError(what="a frame's head", size=length, limit=LINE_BYTES_MAX)
        if end < 0:
            return None
        line = self._bytes[self._position : end]
        self._position = end + 1
        try:
            return _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError(reason=f"a frame's head: {error}") from None

    def take(self, limit: int) -> bytes:
        """Up to `limit` of the bytes that wait."""
        if not self._position and limit >= len(self._bytes):
            taken, self._bytes = self._bytes, b""
            return taken
        taken = self._bytes[self._position : self._position + limit]
        self._position += len(taken)
        return taken
