"""Rules for what nodes say about members: records, verdicts, and the messages of the failure detector.

Lengths, ranges and counts only. Whether a signature holds, or a verdict is of use, is for the machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bellande_mesh_sync.core.members.member import RECORD_BYTES_MAX, MemberRecord, record_bytes
from bellande_mesh_sync.core.members.swim.messages import (
    SLEEP_S_MAX,
    Ack,
    Buckets,
    Datagram,
    Digest,
    Entries,
    Gossip,
    Lines,
    Nack,
    Ping,
    PingRequest,
    SleepNotice,
    Standing,
    StreamMessage,
    StreamPing,
    StreamPong,
    Verdict,
)
from bellande_mesh_sync.core.members.swim.roster import BUCKETS
from bellande_mesh_sync.core.members.swim.view import FINGERPRINT_BYTES
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.ids import NODE_ID_BYTES, PUBLIC_KEY_BYTES
from bellande_mesh_sync.wire import limits
from bellande_mesh_sync.wire.limits import NUMBER_MAX

BOOT_BYTES: Final = 8
SEAL_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_SUM_BYTES: Final = 8
_VERDICTS: Final = (Standing.SUSPECT, Standing.DEAD, Standing.REMOVED)


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise DecodeError(reason=reason)


def check_text(text: str, bytes_max: int, what: str) -> None:
    """Short, and safe to print: names of strangers end up on terminals and in logs."""
    if not text.isprintable() or len(text) > bytes_max or len(text.encode()) > bytes_max:
        raise DecodeError(reason=f"{what} is too long or not printable")


def check_member(member: MemberRecord) -> None:
    """Lengths and ranges only; whether the signature holds is for `is_genuine`."""
    require(len(member.node) == NODE_ID_BYTES, "a member's node id has not 32 bytes")
    require(len(member.public_key) == PUBLIC_KEY_BYTES, "a member's public key has not 32 bytes")
    require(len(member.signature) in (0, SIGNATURE_BYTES), "a member's signature has not 64 bytes")
    require(0 <= member.incarnation <= NUMBER_MAX, "a member's incarnation is out of range")
    require(len(member.addresses) <= limits.ADDRESSES_MAX, "a member has too many addresses")
    for text in (member.name, member.role, member.software):
        check_text(text, limits.NAME_BYTES_MAX, "a member's name, role or software")
    for address in member.addresses:
        check_text(address, limits.ADDRESS_BYTES_MAX, "a member's address")
    require(len(member.boot) in (0, BOOT_BYTES), "a member's boot id has not 8 bytes")
    require(0 <= member.started_ms <= NUMBER_MAX, "a member's start is out of range")
    require(0 <= member.datagram_port <= limits.PORT_MAX, "a member's datagram port is out of range")
    key_bytes = SEAL_KEY_BYTES if member.datagram_port else 0
    require(len(member.seal_key) == key_bytes, "a member's seal key does not fit its datagram port")
    require(0 <= member.capacity <= limits.CAPACITY_MAX, "a member's capacity is out of range")
    check_text(member.zone, limits.NAME_BYTES_MAX, "a member's zone")
    _check_labels(member.labels)
    require(record_bytes(member) <= RECORD_BYTES_MAX, "a member's record is too large for a datagram")


def _check_labels(labels: tuple[tuple[str, str], ...]) -> None:
    previous = ""
    for name, value in labels:
        require(name > previous, "a member's labels are not sorted by name")
        previous = name
        check_text(name, limits.NAME_BYTES_MAX, "the name of a label")
        check_text(value, limits.NAME_BYTES_MAX, "a label")


def check_node(node: bytes) -> None:
    require(len(node) == NODE_ID_BYTES, "a node id has not 32 bytes")


def check_number(number: int) -> None:
    """Of a probe, an incarnation, or an age."""
    require(0 <= number <= NUMBER_MAX, "a sequence number, incarnation or age is out of range")


def check_verdict(verdict: Verdict) -> None:
    check_node(verdict.node)
    check_node(verdict.by)
    check_number(verdict.incarnation)
    require(verdict.standing in _VERDICTS, "a verdict is neither suspect nor dead nor removed")


def check_notice(notice: SleepNotice) -> None:
    check_node(notice.node)
    check_number(notice.incarnation)
    require(0 <= notice.for_s <= SLEEP_S_MAX, "the time of a sleep is out of range")
    require(len(notice.signature) in (0, SIGNATURE_BYTES), "a notice's signature has not 64 bytes")


def check_digest(digest: Digest) -> None:
    require(len(digest.fingerprint) == FINGERPRINT_BYTES, "a view's fingerprint has not 16 bytes")


# -- over streams ------------------------------------------------------------------------------


def check_stream_message(message: StreamMessage) -> None:
    """Raise DecodeError unless `message` keeps every rule. Cost: O(size of the message)."""
    _STREAM_CHECKS[type(message)](message)


def _check_stream_ping(message: StreamPing) -> None:
    check_number(message.sequence)
    check_number(message.incarnation)


def _check_stream_pong(message: StreamPong) -> None:
    check_number(message.sequence)


def _check_buckets(message: Buckets) -> None:
    require(len(message.sums) == _SUM_BYTES * BUCKETS, "there is not one sum of 8 bytes for each bucket")
    if message.verdict is not None:
        check_verdict(message.verdict)


def _check_lines(message: Lines) -> None:
    require(len(message.buckets) == BUCKETS // 8, "there is not one bit for each bucket")
    require(len(message.lines) <= limits.LINES_MAX, "too many lines in one message")
    for line in message.lines:
        check_node(line.node)
        check_number(line.incarnation)
        _check_standing(line.standing)


def _check_entries(message: Entries) -> None:
    require(len(message.entries) <= limits.ENTRIES_MAX, "too many entries in one message")
    require(len(message.wanted) <= limits.LINES_MAX, "too many wanted members in one message")
    for entry in message.entries:
        check_member(entry.record)
        _check_standing(entry.standing)
        check_number(entry.age_s)
        if entry.notice is not None:
            check_notice(entry.notice)
    for node in message.wanted:
        check_node(node)


def _check_standing(standing: int) -> None:
    require(Standing.ALIVE <= standing <= Standing.REMOVED, "a member's standing is unknown")


_STREAM_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    StreamPing: _check_stream_ping,
    StreamPong: _check_stream_pong,
    Digest: check_digest,
    Buckets: _check_buckets,
    Lines: _check_lines,
    Entries: _check_entries,
}


# -- datagrams ---------------------------------------------------------------------------------


def check_datagram(datagram: Datagram) -> None:
    """Raise DecodeError unless `datagram` keeps every rule. Its size is bounded before it is decoded."""
    _BODY_CHECKS[type(datagram.body)](datagram.body)
    for verdict in datagram.verdicts:
        check_verdict(verdict)
    for record in datagram.records:
        check_member(record)
    for notice in datagram.notices:
        check_notice(notice)


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
