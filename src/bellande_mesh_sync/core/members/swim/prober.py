"""Probe one member at a time: ping it, ask others to ping it, give up. And do so for others who ask."""

from __future__ import annotations

from dataclasses import dataclass

from bellande_mesh_sync.ids import NodeId


@dataclass(slots=True)
class Round:
    """A probe of one member by this node.

    Source: SWIM (Das, Gupta, Motivala; DSN 2002), section 3.1.
    """

    sequence: int
    target: int
    started_ns: int
    helpers: tuple[NodeId, ...] = ()
    nacked: tuple[NodeId, ...] = ()


@dataclass(frozen=True, slots=True)
class Relay:
    """A ping by this node in the place of another one."""

    asker: NodeId
    sequence: int
    """The asker's."""
    target: int


class Prober:
    """The open round and the relays. Late, replayed and unasked-for answers find nothing open."""

    __slots__ = ("_relays", "_relays_max", "_sequence", "round")

    def __init__(self, relays_max: int) -> None:
        self._relays_max = relays_max
        self._sequence = 0
        self.round: Round | None = None
        """None between rounds, and when the target has answered."""
        self._relays: dict[int, Relay] = {}

    def begin(self, target: int, now_ns: int) -> Round:
        assert self.round is None, "a round is still open"
        self._sequence += 1
        self.round = Round(self._sequence, target, now_ns)
        return self.round

    def end(self) -> Round | None:
        """The round if nobody has reached its target."""
        ended, self.round = self.round, None
        return ended

    def acked(self, sequence: int, sender: NodeId, target: NodeId) -> Round | None:
        """The round that this ack ended, as `target` stands for its target's id."""
        probe = self.round
        if probe is None or probe.sequence != sequence:
            return None
        if sender != target and sender not in probe.helpers:
            return None
        self.round = None
        return probe

    def nacked(self, sequence: int, sender: NodeId) -> bool:
        """A helper did not reach the target; whether that is news."""
        probe = self.round
        if probe is None or probe.sequence != sequence:
            return False
        if sender not in probe.helpers or sender in probe.nacked:
            return False
        probe.nacked = (*probe.nacked, sender)
        return True

    # -- for others

    def relay(self, asker: NodeId, sequence: int, target: int) -> int:
        """Our own number of a ping for another node; 0 if there are too many."""
        if len(self._relays) >= self._relays_max:
            return 0
        self._sequence += 1
        self._relays[self._sequence] = Relay(asker, sequence, target)
        return self._sequence

    def relayed(self, sequence: int) -> Relay | None:
        return self._relays.get(sequence)

    def drop_relays(self) -> None:
        """Their timers are gone."""
        self._relays.clear()

    def drop_relay(self, sequence: int) -> Relay | None:
        return self._relays.pop(sequence, None)
