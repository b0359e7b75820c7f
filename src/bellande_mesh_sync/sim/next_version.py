"""The next protocol version, as this one will meet it: every message has a field more at its end.

"Adding a field at the end with a default stays readable to the previous version" is the rule by which the
protocol may grow; a node that follows it beside nodes of today shows that today's nodes keep to it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bellande_mesh_sync.core.messages import PROTOCOL_NEWEST
from bellande_mesh_sync.wire.frames import LENGTH_BYTES

NEW_FIELD: Final = {"of the next version": [1, None, "text"]}
_HELLO_TAG: Final = 1
_RECORDS_TAG: Final = 9
_decode: Final = msgspec.msgpack.Decoder().decode
_encode: Final = msgspec.msgpack.Encoder().encode


def bend_to_next_version(frames: bytes, is_hello: bool) -> tuple[bytes, str]:
    """The same messages as a node of the next protocol version would send them; nothing in them is false."""
    return in_next_version(frames), ""


def in_next_version(frames: bytes) -> bytes:
    grown: list[bytes] = []
    position = 0
    while position < len(frames):
        start = position + LENGTH_BYTES
        position = start + int.from_bytes(frames[position:start], "big")
        body = _encode([_grown(message) for message in _decode(frames[start:position])])
        grown.append(len(body).to_bytes(LENGTH_BYTES, "big") + body)
    return b"".join(grown)


def _grown(message: list[Any]) -> list[Any]:
    if message[0] == _HELLO_TAG:
        message[2] = PROTOCOL_NEWEST + 1
    elif message[0] == _RECORDS_TAG:
        message[3] = [[*record, NEW_FIELD] for record in message[3]]
    return [*message, NEW_FIELD]
