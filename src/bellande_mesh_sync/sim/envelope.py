"""Messages through the real codec: what one simulated node sends, another one decodes and checks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, cast

from bellande_mesh_sync.core.messages import Message
from bellande_mesh_sync.wire.frames import FrameReader, encode_frames

_PIECE_BYTES: Final = 61_000
"""Frames are fed in pieces of this size, so that some come split."""
_RECENT_MAX: Final = 256


def pack(messages: Iterable[Message]) -> bytes:
    """All messages of one write, as they would go to the socket."""
    return b"".join(encode_frames(messages))


class Unpacker:
    """One reader for all streams: each write is whole frames, so nothing is left in it between two.

    The same bytes are decoded once: messages are immutable, and a broadcast comes to many.
    """

    def __init__(self) -> None:
        self._reader = FrameReader()
        self._recent: dict[bytes, tuple[Message, ...]] = {}

    def unpack(self, frames: bytes) -> tuple[Message, ...]:
        """The messages in `frames`. Raises PeerError where production would close the link."""
        found = self._recent.get(frames)
        if found is None:
            if len(self._recent) >= _RECENT_MAX:
                self._recent.clear()
            found = self._recent[frames] = decode(self._reader, frames)
        return found


def decode(reader: FrameReader, frames: bytes) -> tuple[Message, ...]:
    """The messages of the whole frames among what has come so far. Raises PeerError."""
    messages: list[Any] = []
    position = 0
    while position < len(frames):
        space = reader.space()
        piece = frames[position : position + min(len(space), _PIECE_BYTES)]
        space[: len(piece)] = piece
        position += len(piece)
        reader.add(len(piece))
        while (frame := reader.next_frame()) is not None:
            messages += frame[0]
    # Chunks travel beside the codec here, so no ChunkPiece is among them.
    return cast("tuple[Message, ...]", tuple(messages))
