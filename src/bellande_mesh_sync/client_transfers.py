"""What a client sends and what it makes of the answers: bodies, frames, headers, files."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import msgspec

from bellande_mesh_sync.api.framing import FrameBuffer, FrameHead, encode_head
from bellande_mesh_sync.client_errors import error_in
from bellande_mesh_sync.errors import BellandeMeshError, IncompleteValueError
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.values import Entry, Receipt

PIECE_BYTES: Final = 1024 * 1024
IMPORT_COUNT_MAX: Final = 2_000
IMPORT_BYTES_MAX: Final = 256 * 1024 * 1024
"""Values and bytes of one request of `import_items`; the answers come after each request."""

SMALL_FILE_BYTES: Final = 1024 * 1024
"""A file up to this size is read before it is announced, so that one that shrinks does no harm."""


Progress = Callable[[int], object]
"""Called with the number of bytes that have passed since the last call."""

Source = bytes | bytearray | memoryview | str | BinaryIO | Iterable[bytes]


class ImportItem(msgspec.Struct, frozen=True):
    """A value to import. `source` is its bytes, or the file that has them."""

    key: str
    source: bytes | Path
    content_type: str = ""
    context: str | None = None
    if_match: str | None = None


class ImportResult(msgspec.Struct, frozen=True):
    """What became of one imported value: either of the two is set."""

    key: str
    receipt: Receipt | None
    error: BellandeMeshError | None


class ExportItem:
    """An exported value; `pieces` must be read before the next item is asked for, or is skipped."""

    def __init__(self, head: FrameHead, pieces: Iterator[bytes]) -> None:
        self.key = head.key
        self.size = head.size
        self.content_type = head.content_type
        self.version = head.version
        self.time_ms = head.time_ms
        self.digest = head.digest
        self.error = (
            error_in({"error": {"code": head.error.code, "message": head.error.message}})
            if (head.error)
            else None
        )
        """Why the value could not be read; its bytes are missing then."""
        self.pieces = pieces


# -- what is sent ----------------------------------------------------------------------------------


def path_of(key: str) -> str:
    # Checked here too: httpx would resolve `a/../b` before the node could refuse it.
    return f"/v1/data/{quote(check_key(key), safe='/')}"


def query_of(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def condition(if_match: str | None) -> dict[str, str]:
    if if_match is None:
        return {}
    return {"if-match": f'"{if_match}"'} if if_match else {"if-none-match": "*"}


def body_of(value: Source) -> tuple[bytes | Iterable[bytes], int | None]:
    """The body, and its size if that is known from the value itself."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        body = bytes(value)
        return body, len(body)
    read = getattr(value, "read", None)
    if read is not None:
        return iter(lambda: read(PIECE_BYTES), b""), None
    return value, None


def sized(key: str, pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The pieces, if they are `size` bytes together; else IncompleteValueError, and nothing is written."""
    left = size
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        what = f"{left} bytes fewer" if left > 0 else "more bytes"
        raise IncompleteValueError(f"{what} came for {key!r} than the {size} announced", key=key)


def pieces_of(body: bytes | Iterable[bytes], progress: Progress | None) -> Iterator[bytes]:
    if isinstance(body, bytes):
        body = (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))
    for piece in body:
        yield piece
        if progress is not None:
            progress(len(piece))


class Peekable:
    """An iterator that can be asked whether it is at its end."""

    def __init__(self, items: Iterator[ImportItem]) -> None:
        self._items = items
        self._next: ImportItem | None = None

    def is_done(self) -> bool:
        if self._next is None:
            self._next = next(self._items, None)
        return self._next is None

    def take(self) -> ImportItem:
        assert self._next is not None or not self.is_done()
        item, self._next = self._next, None
        assert item is not None
        return item


def import_body(items: Peekable) -> Iterator[bytes]:
    """Frames for one request, gathered so that small values do not cost a write each."""
    waiting: list[bytes] = []
    count = size = gathered = 0
    while count < IMPORT_COUNT_MAX and size < IMPORT_BYTES_MAX and not items.is_done():
        for piece in _frame_of(items.take()):
            waiting.append(piece)
            gathered += len(piece)
            if gathered >= PIECE_BYTES:
                yield b"".join(waiting)
                size += gathered
                waiting, gathered = [], 0
        count += 1
    yield b"".join([*waiting, encode_head(FrameHead(end=True, count=count))])


def _frame_of(item: ImportItem) -> Iterator[bytes]:
    if isinstance(item.source, bytes):
        yield encode_head(_head_of(item, len(item.source)))
        yield item.source
        return
    with item.source.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= SMALL_FILE_BYTES:
            data = file.read()
            yield encode_head(_head_of(item, len(data)))
            yield data
            return
        yield encode_head(_head_of(item, size))
        left = size
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                raise IncompleteValueError(f"{item.source} got shorter while it was sent", key=item.key)
            left -= len(piece)
            yield piece


def _head_of(item: ImportItem, size: int) -> FrameHead:
    return FrameHead(
        key=item.key,
        size=size,
        content_type=item.content_type,
        context=item.context,
        if_match=item.if_match,
    )


# -- what is answered ------------------------------------------------------------------------------


def entry_of(key: str, headers: Mapping[str, str]) -> Entry:
    content_range = headers.get("content-range", "")
    size = content_range.rpartition("/")[2] if content_range else headers["content-length"]
    return Entry(
        key=key,
        version=headers["etag"].strip('"'),
        size=int(size),
        content_type=headers["content-type"],
        author=headers["x-bms-author"],
        time_ms=int(headers["x-bms-time"]),
        digest=headers["x-bms-digest"],
        siblings=int(headers["x-bms-siblings"]),
        context=headers["x-bms-context"],
    )


def result_of(line: dict[str, Any]) -> ImportResult:
    if "error" in line:
        return ImportResult(line["key"], None, error_in(line))
    return ImportResult(line["key"], msgspec.convert(line, Receipt), None)


def checked(key: str, pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The pieces; IncompleteValueError if they are not `size` bytes together."""
    left = size
    for piece in pieces:
        left -= len(piece)
        yield piece
    if left:
        raise IncompleteValueError(f"{left} of {size} bytes of {key!r} are missing", key=key)


def verified(entry: Entry, pieces: Iterator[bytes]) -> Iterator[bytes]:
    from blake3 import blake3

    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
        yield piece
    if hasher.hexdigest() != entry.digest:
        raise IncompleteValueError(f"the bytes of {entry.key!r} do not fit its digest", key=entry.key)


def lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole


class ExportReader:
    """The frames of an export, value after value."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._buffer = FrameBuffer()
        self._left = 0
        self._count = 0

    def next_head(self) -> FrameHead | None:
        for _ in self.value():
            pass
        while (head := self._buffer.take_head()) is None:
            self._fill()
        if head.end:
            if head.count != self._count:
                raise IncompleteValueError(f"{self._count} of {head.count} values came", key="")
            return None
        self._count += 1 if head.error is None else 0
        self._left = head.size
        return head

    def value(self) -> Iterator[bytes]:
        while self._left:
            if not self._buffer.waiting:
                self._fill()
            taken = self._buffer.take(self._left)
            self._left -= len(taken)
            yield taken

    def _fill(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise IncompleteValueError(f"the export broke off after {self._count} values", key="")
        self._buffer.feed(piece)


@contextlib.contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """A file beside `target` that takes its place when all went well, and is gone otherwise."""
    target = target.resolve()  # through symbolic links: the link stays, its target is replaced
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
