"""Datagrams of the failure detector to MessagePack and back. What arrives here was sealed by a member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Datagram,
    Digest,
    Gossip,
    Nack,
    Ping,
    PingRequest,
)
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.wire.codec import UNREADABLE, short_reason
from bellande_mesh_sync.wire.limits import DATAGRAM_BYTES_MAX
from bellande_mesh_sync.wire.member_checks import (
    check_digest,
    check_member,
    check_node,
    check_notice,
    check_number,
    check_verdict,
    require,
)

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
    _BODY_CHECKS[type(datagram.body)](datagram.body)
    for verdict in datagram.verdicts:
        check_verdict(verdict)
    for record in datagram.records:
        check_member(record)
    for notice in datagram.notices:
        check_notice(notice)
    return datagram


def _check_ping(body: Ping) -> None:
    check_number(body.sequence)
    check_number(body.incarnation)


def _check_ping_request(body: PingRequest) -> None:
    check_number(body.sequence)
    check_node(body.target)


def _check_ack(body: Ack) -> None:
    check_number(body.sequence)
    check_number(body.known)


def _check_nack(body: Nack) -> None:
    check_number(body.sequence)


def _check_gossip(body: Gossip) -> None:
    """It has nothing of its own."""


_BODY_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    Ping: _check_ping,
    PingRequest: _check_ping_request,
    Ack: _check_ack,
    Nack: _check_nack,
    Gossip: _check_gossip,
    Digest: check_digest,
}
