"""Messages to MessagePack and back. One encoder, one decoder, made once: building them is the slow part."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, Final, TypeAlias, get_args

import msgspec
from msgspec import Struct

from bellande_mesh_sync.core.messages import ChunkPart, Message
from bellande_mesh_sync.errors import DecodeError, LimitExceededError
from bellande_mesh_sync.wire.checks import check_message, check_piece
from bellande_mesh_sync.wire.limits import FRAME_MESSAGES_MAX


class ChunkPiece(Struct, frozen=True, array_like=True, gc=False, tag=14):
    """A ChunkPart as it lies in a receive buffer: `body` is valid only until the buffer is used again."""

    hash: bytes
    offset: int
    total: int
    body: memoryview


Incoming: TypeAlias = Message | ChunkPiece
"""What comes out of a frame; never a ChunkPart, whose place ChunkPiece takes."""

_encoder = msgspec.msgpack.Encoder()
# Built at run time, so a new message is known here as soon as it is one; hence Any for mypy.
_ARRIVING: Any = reduce(or_, (ChunkPiece if kind is ChunkPart else kind for kind in get_args(Message)))
_decoder: msgspec.msgpack.Decoder[list[Incoming]] = msgspec.msgpack.Decoder(list[_ARRIVING])

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)
"""What the decoder may raise. ValueError is invalid UTF-8; RecursionError is nesting, in a field that this
version skips."""

encode_message = _encoder.encode
"""One message as MessagePack, to be joined with others into a frame."""


def decode_body(body: memoryview | bytes) -> list[Incoming]:
    """The messages of one frame, checked.

    Raises:
        DecodeError: these bytes are no list of messages, or a message breaks a rule.
        LimitExceededError: more messages than one frame may carry.
    """
    count = _count_messages(body)
    if count > FRAME_MESSAGES_MAX:
        raise LimitExceededError(what="a frame's message count", size=count, limit=FRAME_MESSAGES_MAX)
    try:
        messages = _decoder.decode(body)
    except UNREADABLE as error:
        raise DecodeError(reason=short_reason(error)) from None
    for message in messages:
        if type(message) is ChunkPiece:
            check_piece(message.hash, message.offset, message.total, len(message.body))
        else:
            check_message(message)
    return messages


def to_message(incoming: Incoming) -> Message:
    """The message of its own, with no tie to the receive buffer."""
    if isinstance(incoming, ChunkPiece):
        return ChunkPart(incoming.hash, incoming.offset, incoming.total, bytes(incoming.body))
    return incoming


def _count_messages(body: memoryview | bytes) -> int:
    """What the array header claims; looked at first, so that a bomb is not unpacked to be refused."""
    first = body[0]
    if first & 0xF0 == 0x90:
        return first & 0x0F
    if first in (0xDC, 0xDD):
        width = 2 if first == 0xDC else 4
        return int.from_bytes(body[1 : 1 + width], "big")
    raise DecodeError(reason="a frame does not hold a list of messages")


def short_reason(error: Exception) -> str:
    """The decoder's own words, cut: they may quote the peer's text."""
    text = str(error)[:200]
    return text if text.isprintable() else repr(text)
