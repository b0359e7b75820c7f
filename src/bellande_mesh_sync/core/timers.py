"""Timers as values: each carries what it was set for, and a stale one finds nothing to do."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.members.swim.timers import SwimTimer


class Tick(Struct, frozen=True, gc=False):
    """Link liveness, dialling, member states: the slow heartbeat of a node."""


class RepairDue(Struct, frozen=True, gc=False):
    """Compare knowledge with the peers again."""


class PullDue(Struct, frozen=True, gc=False):
    """Offered records did not come by themselves: ask for them."""

    link: int


class StreamOverdue(Struct, frozen=True, gc=False):
    """An asked-for stream made no progress."""

    stream: int
    mark: int


class FetchOverdue(Struct, frozen=True, gc=False):
    """Asked-for chunks made no progress."""

    link: int
    mark: int


class AckOverdue(Struct, frozen=True, gc=False):
    """A write's ack deadline."""

    request: int


class NoteOverdue(Struct, frozen=True, gc=False):
    """A note found no way to its receiver."""

    request: int


class SurveyOver(Struct, frozen=True, gc=False):
    """Who has not answered by now is left out."""

    request: int


class WakeDue(Struct, frozen=True, gc=False):
    """A planned sleep is over."""

    sleep: int


class LookupDue(Struct, frozen=True, gc=False):
    """Owners that were asked have had time enough to answer."""

    request: int


class PageDue(Struct, frozen=True, gc=False):
    """A page of a shard that moves may be read now."""

    reading: int


class HistoryDue(Struct, frozen=True, gc=False):
    """Old versions are to be looked at for their age."""


class SwimDue(Struct, frozen=True, gc=False):
    """A timer of the failure detector."""

    timer: SwimTimer


Timer: TypeAlias = (
    Tick
    | SwimDue
    | NoteOverdue
    | SurveyOver
    | WakeDue
    | RepairDue
    | PullDue
    | StreamOverdue
    | FetchOverdue
    | AckOverdue
    | HistoryDue
    | LookupDue
    | PageDue
)
