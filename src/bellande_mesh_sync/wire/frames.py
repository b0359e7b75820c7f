"""Frames: a 4-byte big-endian length, then the MessagePack of a list of messages.

Neither half does I/O. `FrameReader` owns the buffer that a transport fills, so bytes are not copied on
their way to the decoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

from bellande_mesh_sync.core.messages import Message
from bellande_mesh_sync.errors import DecodeError, LimitExceededError, PeerError
from bellande_mesh_sync.wire.codec import Incoming, decode_body, encode_message
from bellande_mesh_sync.wire.limits import FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FRAME_MESSAGES_MAX
from bellande_mesh_sync.wire.pieces import PIECE_HEADER_BYTES_MAX, decode_piece_header

LENGTH_BYTES: Final = 4
BUFFER_BYTES: Final = 256 * 1024
"""A reader's usual buffer. Pages that were never filled are never resident, so an idle link has few."""

_BUFFER_BYTES_MIN: Final = LENGTH_BYTES + PIECE_HEADER_BYTES_MAX
_ARRAY32: Final = b"\xdd"
_MESSAGE_BYTES_MAX: Final = FRAME_BYTES_MAX - (FRAME_HEADER_BYTES - LENGTH_BYTES)


class FrameWriter:
    """Collects encoded messages and gives them out as frames, as few as the limits allow."""

    __slots__ = ("_parts", "_ready", "_ready_bytes", "pending_bytes", "pending_count")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._ready: list[bytes] = []
        self._ready_bytes = 0
        self.pending_bytes = 0
        """Size of what is collected in the frame under way."""
        self.pending_count = 0

    @property
    def size_bytes(self) -> int:
        """About how much `take` would give."""
        return self._ready_bytes + self.pending_bytes

    def add(self, encoded: bytes) -> None:
        """Append one encoded message.

        Raises:
            LimitExceededError: it does not fit a frame even alone. Nothing was added.
        """
        size = len(encoded)
        if self.pending_bytes + size > _MESSAGE_BYTES_MAX or self.pending_count == FRAME_MESSAGES_MAX:
            if size > _MESSAGE_BYTES_MAX:
                raise LimitExceededError(what="a message", size=size, limit=_MESSAGE_BYTES_MAX)
            self._seal()
        self._parts.append(encoded)
        self.pending_bytes += size
        self.pending_count += 1

    def take(self) -> list[bytes]:
        """All frames, and an empty writer."""
        if self._parts:
            self._seal()
        frames, self._ready, self._ready_bytes = self._ready, [], 0
        return frames

    def _seal(self) -> None:
        frame = b"".join(
            (
                (self.pending_bytes + FRAME_HEADER_BYTES - LENGTH_BYTES).to_bytes(LENGTH_BYTES, "big"),
                _ARRAY32,
                self.pending_count.to_bytes(4, "big"),
                *self._parts,
            )
        )
        self._ready.append(frame)
        self._ready_bytes += len(frame)
        self._parts.clear()
        self.pending_bytes = 0
        self.pending_count = 0


def encode_frames(messages: Iterable[Message]) -> list[bytes]:
    """The messages as frames, in order, many to a frame.

    Raises:
        LimitExceededError: a message does not fit a frame even alone.
    """
    writer = FrameWriter()
    for message in messages:
        writer.add(encode_message(message))
    return writer.take()


class PieceSink(Protocol):
    """Where the payload of ChunkParts goes."""

    def begin_piece(self, chunk: bytes, offset: int, total: int, size: int) -> memoryview:
        """Room for exactly `size` bytes. Raises PeerError if this piece is not welcome."""
        ...

    def end_piece(self, chunk: bytes) -> None:
        """The room was filled."""
        ...


class FrameReader:
    """Frames from bytes that arrive split anywhere.

    Use: fill the start of `space()`, report it with `add(count)`, then call `next_frame()` until it returns
    None. A ChunkPiece among the messages points into the buffer: use it before the next `space()`. With a
    PieceSink, frames of one ChunkPart go there instead, without passing through the buffer.
    """

    __slots__ = (
        "_buffer",
        "_end",
        "_error",
        "_limit",
        "_need",
        "_piece",
        "_room",
        "_sink",
        "_start",
        "_usual",
        "_view",
    )

    def __init__(
        self,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        buffer_bytes: int = BUFFER_BYTES,
        sink: PieceSink | None = None,
    ) -> None:
        self.allow(frame_bytes_max, buffer_bytes)
        self._use(bytearray(self._usual))
        self._sink = sink
        self._start = 0
        self._end = 0
        self._need = LENGTH_BYTES  # Bytes from _start on without which there is nothing to decode.
        self._piece = b""  # The chunk whose payload is being received, and where the rest of it goes.
        self._room: memoryview | None = None
        self._error: PeerError | None = None

    def allow(self, frame_bytes_max: int, buffer_bytes: int = BUFFER_BYTES) -> None:
        """Set the limit for frames whose length was not read yet, and the usual size of the buffer."""
        self._limit = frame_bytes_max
        self._usual = max(buffer_bytes, _BUFFER_BYTES_MIN)

    def accept_pieces(self, sink: PieceSink) -> None:
        """From the next frame on, frames of one ChunkPart go to `sink`."""
        self._sink = sink

    def space(self) -> memoryview:
        """Where the next bytes go. Never empty; with room for the rest of a frame that has begun."""
        if self._room is not None:
            return self._room
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) != self._usual >= self._need:
                self._use(bytearray(self._usual))  # Gives back what one large frame needed.
        if len(self._buffer) - self._start < self._need:
            self._make_room()
        return self._view[self._end :]

    def add(self, count: int) -> None:
        """`count` bytes were put at the start of what `space()` returned."""
        if self._room is None:
            self._end += count
        else:
            self._room = self._room[count:]

    def next_frame(self) -> tuple[list[Incoming], int] | None:
        """The messages of the next whole frame and its size on the wire, or None: more bytes are needed.

        Raises:
            DecodeError, LimitExceededError: the stream is broken; every later call raises the same.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._next_frame()
        except PeerError as error:
            self._error = error
            raise

    def _next_frame(self) -> tuple[list[Incoming], int] | None:
        if self._room is not None:
            if len(self._room):
                return None
            return self._end_piece()
        start = self._start
        available = self._end - start
        if available < LENGTH_BYTES:
            self._need = LENGTH_BYTES
            return None
        size = int.from_bytes(self._view[start : start + LENGTH_BYTES], "big")
        if size > self._limit:
            raise LimitExceededError(what="a frame", size=size, limit=self._limit)
        if not size:
            raise DecodeError(reason="an empty frame")
        end = start + LENGTH_BYTES + size
        head_end = min(end, self._end)
        if self._sink is not None and self._begin_piece(self._sink, start + LENGTH_BYTES, head_end, size):
            return self._next_frame()
        if self._end < end:
            self._need = LENGTH_BYTES + size
            if self._sink is not None and available < LENGTH_BYTES + PIECE_HEADER_BYTES_MAX:
                # It may be a ChunkPart, whose payload needs no room here.
                self._need = min(self._need, LENGTH_BYTES + PIECE_HEADER_BYTES_MAX)
            return None
        messages = decode_body(self._view[start + LENGTH_BYTES : end])
        self._start = end
        self._need = LENGTH_BYTES
        return messages, LENGTH_BYTES + size

    def _begin_piece(self, sink: PieceSink, start: int, end: int, size: int) -> bool:
        """If the frame at `start` is one ChunkPart, send its payload to the sink from now on."""
        header = decode_piece_header(self._view[start:end], size)
        if header is None:
            return False
        self._room = sink.begin_piece(header.hash, header.offset, header.total, header.size)
        self._piece = header.hash
        payload = self._view[start + header.header_bytes : end]
        self._room[: len(payload)] = payload
        self._room = self._room[len(payload) :]
        self._start = end
        self._need = LENGTH_BYTES
        return True

    def _end_piece(self) -> tuple[list[Incoming], int]:
        assert self._sink is not None
        chunk, self._piece, self._room = self._piece, b"", None
        self._sink.end_piece(chunk)
        return [], 0

    def _make_room(self) -> None:
        """Move what is left to the front, of a larger buffer if the frame asks for one."""
        rest = self._end - self._start
        buffer = self._buffer
        if self._need > len(buffer):
            # Not resized in place: views into the old one may be in use, and a bytearray forbids that.
            buffer = bytearray(self._need)
        buffer[:rest] = self._view[self._start : self._end]
        self._use(buffer)
        self._start = 0
        self._end = rest

    def _use(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
