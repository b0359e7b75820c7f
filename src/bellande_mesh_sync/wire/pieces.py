"""ChunkParts without copies: their header is written and read by hand, their payload is left where it is.

On the wire it is what the encoder would make of a list with one ChunkPart, so any decoder reads it too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from bellande_mesh_sync.core.messages import ChunkPart
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.wire.checks import HASH_BYTES, check_piece
from bellande_mesh_sync.wire.limits import FRAME_HEADER_BYTES

PIECE_HEADER_BYTES_MAX: Final = 56
"""Array headers (5 + 1), tag (1), hash (2 + 32), two numbers (5 each at most), payload header (5)."""

_LIST_OF_ONE: Final = b"\xdd\x00\x00\x00\x01"
_START: Final = _LIST_OF_ONE + b"\x95\x0e\xc4\x20"
"""A list of one array of five: tag 14, then 32 bytes of hash."""
_NUMBERS_AT: Final = len(_START) + HASH_BYTES
_NUMBER_BYTES: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4}
_PAYLOAD_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4}

_encode = msgspec.msgpack.Encoder().encode


class PieceHeader(NamedTuple):
    hash: bytes
    offset: int
    total: int
    size: int
    """Payload bytes; they are the rest of the frame."""
    header_bytes: int
    """Where in the frame's body the payload starts."""


def encode_piece_header(chunk: bytes, offset: int, total: int, size: int) -> bytes:
    """The frame of one ChunkPart up to its payload: the caller sends `size` payload bytes right after it."""
    empty = _encode(ChunkPart(chunk, offset, total, b""))  # Ends in the payload header c4 00.
    body = _LIST_OF_ONE + empty[:-2] + _payload_header(size)
    return (len(body) + size).to_bytes(FRAME_HEADER_BYTES - len(_LIST_OF_ONE), "big") + body


def decode_piece_header(body: memoryview, frame_bytes: int) -> PieceHeader | None:
    """The header of a frame that holds one ChunkPart and nothing else, or None for any other frame.

    Args:
        body: at least the first PIECE_HEADER_BYTES_MAX bytes of the frame's body, or all of it.
        frame_bytes: the length of the whole body.

    Raises:
        DecodeError: it is a ChunkPart, and breaks a rule.
    """
    if body[: len(_START)] != _START or len(body) < min(frame_bytes, PIECE_HEADER_BYTES_MAX):
        return None
    try:
        offset, position = _read_number(body, _NUMBERS_AT)
        total, position = _read_number(body, position)
        width = _PAYLOAD_LENGTH_BYTES[body[position]]
        position += 1 + width
        size = int.from_bytes(body[position - width : position], "big")
    except (IndexError, KeyError):
        return None  # Not how we write it; the general decoder will judge it.
    if position + size != frame_bytes:
        raise DecodeError(reason="a piece of a chunk does not fill its frame")
    chunk = bytes(body[len(_START) : _NUMBERS_AT])
    check_piece(chunk, offset, total, size)
    return PieceHeader(chunk, offset, total, size, position)


def _read_number(body: memoryview, position: int) -> tuple[int, int]:
    first = body[position]
    if first < 0x80:
        return first, position + 1
    end = position + 1 + _NUMBER_BYTES[first]
    return int.from_bytes(body[position + 1 : end], "big"), end


def _payload_header(size: int) -> bytes:
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big")
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big")
    return b"\xc6" + size.to_bytes(4, "big")
