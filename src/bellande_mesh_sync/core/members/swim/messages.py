"""What the failure detectors say to each other: small datagrams, and state over streams."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from bellande_mesh_sync.core.members.member import MemberRecord, Sign, Verify
from bellande_mesh_sync.ids import NodeId

_encode = msgspec.msgpack.Encoder().encode


class Standing(enum.IntEnum):
    """What a node believes of a member. Of one incarnation the higher standing wins, for good."""

    UNKNOWN = 0
    ALIVE = 1
    SUSPECT = 2
    DEAD = 3
    ASLEEP = 4
    """It said itself that it will be silent, so no verdict of others counts."""
    LEFT = 5
    REMOVED = 6
    """An operator said that it will not come back. Counts only where it is down."""


class Verdict(Struct, frozen=True, array_like=True, gc=False):
    """A member's finding about another one, good for just this incarnation of it. Not signed."""

    node: NodeId
    incarnation: int
    standing: int
    """SUSPECT, DEAD or REMOVED."""
    by: NodeId


class SleepNotice(Struct, frozen=True, array_like=True, gc=False):
    """A node about itself: in this incarnation it will not answer, and that is as planned."""

    node: NodeId
    incarnation: int
    for_s: int
    """How long it means to be silent, from 0 to SLEEP_S_MAX. Who stays away longer is missed."""
    signature: bytes = b""


SLEEP_S_MAX: Final = 366 * 86_400
"""Nobody is kept in all views for longer than a year without a sign of life."""


# -- bodies of datagrams


class Ping(Struct, frozen=True, array_like=True, gc=False, tag=1):
    sequence: int
    incarnation: int
    """The sender's own, so that the other can tell it what it does not know of itself."""


class PingRequest(Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Ping `target` for me. Answered by Ack, or by Nack when it stays silent."""

    sequence: int
    target: NodeId


class Ack(Struct, frozen=True, array_like=True, gc=False, tag=3):
    sequence: int
    known: int
    """The newest incarnation of the asker that this node has a record of; 0: none."""


class Nack(Struct, frozen=True, array_like=True, gc=False, tag=4):
    sequence: int


class Gossip(Struct, frozen=True, array_like=True, gc=False, tag=5):
    """Nothing but updates."""


class Digest(Struct, frozen=True, array_like=True, gc=False, tag=6):
    """Is your view the same? If not, answer with Buckets."""

    fingerprint: bytes


Body: TypeAlias = Ping | PingRequest | Ack | Nack | Gossip | Digest


class Datagram(Struct, frozen=True, array_like=True, gc=False):
    """One packet. Records are taken in before the verdicts that may refer to them."""

    body: Body
    verdicts: tuple[Verdict, ...] = ()
    records: tuple[MemberRecord, ...] = ()
    notices: tuple[SleepNotice, ...] = ()


# -- over streams


class StreamPing(Struct, frozen=True, array_like=True, gc=False, tag=11):
    sequence: int
    incarnation: int = 0
    """The sender's own: who knows a newer one says so over the stream, for its datagrams may reach nobody."""


class StreamPong(Struct, frozen=True, array_like=True, gc=False, tag=12):
    sequence: int


class Buckets(Struct, frozen=True, array_like=True, gc=False, tag=13):
    """The sums of the view's buckets, for the other to find those that differ."""

    sums: bytes
    verdict: Verdict | None
    """What is held against the receiver, so that it can refute before the views are merged."""


class Line(Struct, frozen=True, array_like=True, gc=False):
    node: NodeId
    incarnation: int
    standing: int


class Lines(Struct, frozen=True, array_like=True, gc=False, tag=14):
    """All that the sender knows in these buckets (one bit each)."""

    buckets: bytes
    lines: tuple[Line, ...]


class Entry(Struct, frozen=True, array_like=True, gc=False):
    record: MemberRecord
    standing: int
    age_s: int
    """For how long dead, asleep or left; so that no exchange makes an old death young again.

    Whoever takes it in counts no more than what it takes for the member to be forgotten.
    """
    notice: SleepNotice | None


class Entries(Struct, frozen=True, array_like=True, gc=False, tag=15):
    entries: tuple[Entry, ...]
    wanted: tuple[NodeId, ...]
    """Members of whom the sender would like to have entries."""


StreamMessage: TypeAlias = StreamPing | StreamPong | Digest | Buckets | Lines | Entries

# -- sizes, never below what the codec makes of them

SEAL_BYTES: Final = 29
"""Version, key id, counter and tag of a sealed packet."""
ENVELOPE_BYTES: Final = 11
VERDICT_BYTES: Final = 79
NOTICE_BYTES: Final = 115
PING_BYTES: Final = 20
PING_REQUEST_BYTES: Final = 45
ACK_BYTES: Final = 20
NACK_BYTES: Final = 11
GOSSIP_BYTES: Final = 2
DIGEST_BYTES: Final = 20


def signed_notice(node: NodeId, incarnation: int, for_s: int, sign: Sign) -> SleepNotice:
    for_s = min(max(for_s, 0), SLEEP_S_MAX)
    return SleepNotice(node, incarnation, for_s, sign(_signed_bytes(node, incarnation, for_s)))


def is_genuine_notice(notice: SleepNotice, public_key: bytes, verify: Verify) -> bool:
    if not 0 <= notice.for_s <= SLEEP_S_MAX:
        return False
    signed = _signed_bytes(notice.node, notice.incarnation, notice.for_s)
    return verify(public_key, notice.signature, signed)


def _signed_bytes(node: NodeId, incarnation: int, for_s: int) -> bytes:
    return b"bms asleep 1\0" + _encode((node, incarnation, for_s))
