"""Other runs with our identity: those of our own past, and a node that has our key and lives.

A disk that was copied makes two nodes of one. Each signs records in which it says to be that node, and
each must go above the other to be heard at all; so one of them has to stop, or nobody hears either.

That a run lives is shown by nothing but an answer. Whoever goes above a record of itself names that record
in `more` of its own. Members may hold any number of records of runs that are over, in any incarnations;
none of them names what we signed after that.
"""

from __future__ import annotations

import enum
from collections import deque
from typing import Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.members.member import (
    RECORD_BYTES_MAX,
    MemberRecord,
    Sign,
    record_bytes,
    signed,
)

BOOTS_MAX: Final = 8
"""Foreign runs remembered. Whoever can make more of them has our key anyway."""
SAID_MAX: Final = 16
"""Our own last records, which an answer may name."""
LEAP: Final = 64
"""How far above a record of the past we go: members may hold others of that run, some incarnations apart."""
ANSWER_LEAP: Final = 4
"""How far above a live rival's: above what it may say before it hears us, as a goodbye."""
_KEY: Final = b"\x81\xa3met\xc4\x10"
"""Begins a MessagePack map of one binary, so that later versions can add to it."""
_MARK_BYTES: Final = 16


class Meeting(enum.Enum):
    """What a record of ourselves that we did not sign in this run means."""

    PAST = enum.auto()
    """Nothing says that its run lives: go a leap above it."""
    RIVAL = enum.auto()
    """It lives, for it answers us: go above it once more, so that it hears the same of us."""
    NEWER_RIVAL = enum.auto()
    """It has answered twice, and ours is the run that ends."""


def mark_of(record: MemberRecord) -> bytes:
    """What names one record among all that were ever signed, in the `more` of whoever answers it."""
    return _KEY + blake3(record.signature).digest(_MARK_BYTES)


class Doubles:
    """What we said lately, what we answered last, and which foreign runs have answered us, by their boot."""

    __slots__ = ("_alive", "_answered", "_said")

    def __init__(self) -> None:
        self._said: deque[bytes] = deque(maxlen=SAID_MAX)
        self._answered = b""
        self._alive: dict[bytes, int] = {}
        """The incarnation of each one's newest answer."""

    def say(self, record: MemberRecord, sign: Sign) -> MemberRecord:
        """Our next record, which names what it answers.

        One without room for that is said as it is: then a double does not find out that we live.
        """
        if self._answered:
            answer = msgspec.structs.replace(record, more=self._answered)
            if record_bytes(answer) <= RECORD_BYTES_MAX:
                record = signed(answer, sign)
        self._said.append(mark_of(record))
        return record

    def meet(self, record: MemberRecord, own: MemberRecord) -> Meeting:
        """`record`: genuine, of our node, and above ours in `rank`.

        The run that began later goes on. Of two that began as one (a virtual machine resumed twice from one
        snapshot) it is the one with the lower key, then the lower addresses. If there is no difference at
        all, the one that has its second answer first stops: as a record is answered only by whose own is
        below it, and who stops says nothing more, the other one never gets there.
        """
        self._answered = mark_of(record)
        if record.left or not any(mark in record.more for mark in self._said):
            return Meeting.PAST
        heard = self._alive.pop(record.boot, record.incarnation)
        self._alive[record.boot] = record.incarnation
        if len(self._alive) > BOOTS_MAX:
            del self._alive[next(iter(self._alive))]
        is_second = record.incarnation > heard
        return Meeting.NEWER_RIVAL if is_second and _run_of(record) >= _run_of(own) else Meeting.RIVAL


def rank(record: MemberRecord) -> tuple[int, bytes]:
    """An order of all records of one node; of two runs at most one finds the other's above its own."""
    return record.incarnation, record.signature


def _run_of(record: MemberRecord) -> tuple[int, bytes, bytes, tuple[str, ...]]:
    return record.started_ms, record.boot, record.seal_key, record.addresses
