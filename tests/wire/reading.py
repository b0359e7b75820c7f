"""A FrameReader fed as a test likes."""

from __future__ import annotations

from collections.abc import Iterable

from bellande_mesh_sync.core.messages import Message
from bellande_mesh_sync.wire.codec import to_message
from bellande_mesh_sync.wire.frames import FrameReader


def pour(reader: FrameReader, data: bytes) -> list[Message]:
    """Feed `data`, as much at a time as the reader has room for."""
    found: list[Message] = []
    rest = memoryview(data)
    while rest:
        space = reader.space()
        count = min(len(space), len(rest))
        space[:count] = rest[:count]
        rest = rest[count:]
        reader.add(count)
        while (frame := reader.next_frame()) is not None:
            found += map(to_message, frame[0])
    return found


def read_all(pieces: Iterable[bytes], reader: FrameReader | None = None) -> list[Message]:
    reader = reader or FrameReader()
    return [message for piece in pieces for message in pour(reader, piece)]


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


class Collected:
    """A PieceSink that keeps every piece."""

    def __init__(self) -> None:
        self.pieces: list[tuple[bytes, int, bytearray]] = []
        self.ended: list[bytes] = []

    def begin_piece(self, chunk: bytes, offset: int, total: int, size: int) -> memoryview:
        room = bytearray(size)
        self.pieces.append((chunk, offset, room))
        return memoryview(room)

    def end_piece(self, chunk: bytes) -> None:
        self.ended.append(chunk)
