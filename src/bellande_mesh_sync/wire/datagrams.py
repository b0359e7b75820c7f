"""Datagrams of the failure detector to MessagePack and back. What arrives here was sealed by a member."""

from __future__ import annotations

import msgspec

from bellande_mesh_sync.core.members.swim.messages import Datagram
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.wire.codec import UNREADABLE, short_reason
from bellande_mesh_sync.wire.limits import DATAGRAM_BYTES_MAX
from bellande_mesh_sync.wire.member_checks import check_datagram, require

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Datagram)


def encode_datagram(datagram: Datagram) -> bytes:
    """The body of a packet, not yet sealed."""
    return _encode(datagram)


def decode_datagram(body: bytes | memoryview) -> Datagram:
    """The datagram in `body`, checked. Fields that later versions add at the end of anything are skipped.

    Raises:
        DecodeError: these bytes are no datagram, or it breaks a rule.

    Cost: O(size), at most 2,048 bytes; that bounds the number of updates too.
    """
    require(len(body) <= DATAGRAM_BYTES_MAX, "a datagram is too large")
    try:
        datagram = _decoder.decode(body)
    except UNREADABLE as error:
        raise DecodeError(reason=short_reason(error)) from None
    check_datagram(datagram)
    return datagram
