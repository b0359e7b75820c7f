"""Timers as values. Each knows when it was due, for a late one says something about ourselves."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class ProbeDue(Struct, frozen=True, gc=False):
    """End the open round, begin the next."""

    due_ns: int
    run: int


class AckOverdue(Struct, frozen=True, gc=False):
    due_ns: int
    sequence: int


class RelayOver(Struct, frozen=True, gc=False):
    """The member that we pinged for another one stayed silent."""

    due_ns: int
    sequence: int


class GossipDue(Struct, frozen=True, gc=False):
    due_ns: int


class SuspicionOver(Struct, frozen=True, gc=False):
    due_ns: int
    index: int
    mark: int


class ExchangeDue(Struct, frozen=True, gc=False):
    due_ns: int
    mark: int


class HealDue(Struct, frozen=True, gc=False):
    due_ns: int
    run: int


class GoodbyeOver(Struct, frozen=True, gc=False):
    due_ns: int


SwimTimer: TypeAlias = (
    ProbeDue | AckOverdue | RelayOver | GossipDue | SuspicionOver | ExchangeDue | HealDue | GoodbyeOver
)
