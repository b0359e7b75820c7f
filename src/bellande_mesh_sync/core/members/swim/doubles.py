"""Other runs with our identity: those of our own past, and a node that has our key and lives.

A disk that was copied makes two nodes of one. Each signs records in which it says to be that node, and
each must go above the other to be heard at all; so one of them has to stop, or nobody hears either.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from bellande_mesh_sync.core.members.member import MemberRecord

BOOTS_MAX: Final = 8
"""Foreign runs remembered. Whoever can make more of them has our key anyway."""
LEAP: Final = 64
"""How far above a run that we meet for the first time we go.

Of a run that is over, members may still hold several records, some incarnations apart, and we meet one
after the other. All are below this leap; what comes up above it was signed after ours was heard.
"""


class Meeting(enum.Enum):
    """What a record of ourselves that we did not sign in this run means."""

    PAST = enum.auto()
    """Most likely of a run that is over: go a leap above it."""
    RIVAL = enum.auto()
    """Its node lives, and has just shown so: go above it once more, so that it hears the same of us."""
    NEWER_RIVAL = enum.auto()
    """It lives, it has heard that we do, and it began later: ours is the run that ends."""


@dataclass(slots=True)
class _Run:
    started_ms: int
    seen_incarnation: int
    is_alive: bool = False


class Doubles:
    """What we know of each foreign run, by its boot."""

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: dict[bytes, _Run] = {}

    def meet(self, record: MemberRecord, own: MemberRecord) -> Meeting:
        """`record`: genuine, of our node, in an incarnation that is not below ours.

        A second record of the same run that is above our leap is a live node's. The run that began
        later goes on, so the one that began earlier stops; but only when it meets the other once more:
        its own last record was overtaken then, and all members have the address of the one that goes on.
        """
        run = self._runs.pop(record.boot, None)
        if run is None:
            run = _Run(record.started_ms, record.incarnation)
            self._remember(record.boot, run)
            return Meeting.PAST
        self._remember(record.boot, run)
        if record.incarnation <= run.seen_incarnation:
            return Meeting.PAST
        run.seen_incarnation = record.incarnation
        was_alive, run.is_alive = run.is_alive, True
        began_later = (record.started_ms, record.boot) >= (own.started_ms, own.boot)
        return Meeting.NEWER_RIVAL if was_alive and began_later else Meeting.RIVAL

    def _remember(self, boot: bytes, run: _Run) -> None:
        self._runs[boot] = run
        if len(self._runs) > BOOTS_MAX:
            del self._runs[next(iter(self._runs))]
