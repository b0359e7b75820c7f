"""Suspicions: how long each lasts, and what makes it shorter or longer."""

from __future__ import annotations

from dataclasses import dataclass

from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.ids import NodeId


@dataclass(slots=True)
class Suspicion:
    incarnation: int
    started_ns: int
    accusers: list[NodeId]
    """Who found it silent, each by itself. None yet: it was said to be dead when views were compared."""
    due_ns: int
    mark: int
    """Of its newest timer."""
    deaf_ns: int
    """How long we had been deaf in all when it began, or was last prolonged."""
    is_called: bool = False
    """Others have been asked for the last time whether they know better."""


class Suspicions:
    """All open suspicions, by member index. Time in which we heard nothing at all does not count."""

    def __init__(self, config: SwimConfig) -> None:
        self._config = config
        self._open: dict[int, Suspicion] = {}
        self._mark = 0
        self.deaf_ns = 0

    def __len__(self) -> int:
        return len(self._open)

    def get(self, index: int) -> Suspicion | None:
        return self._open.get(index)

    def all(self) -> list[tuple[int, Suspicion]]:
        return list(self._open.items())

    def start(
        self, index: int, incarnation: int, accuser: NodeId | None, members: int, now_ns: int
    ) -> Suspicion:
        self._mark += 1
        due_ns = now_ns + self._config.suspicion_ns(members, 0)
        accusers = [] if accuser is None else [accuser]
        suspicion = Suspicion(incarnation, now_ns, accusers, due_ns, self._mark, self.deaf_ns)
        self._open[index] = suspicion
        return suspicion

    def confirm(self, suspicion: Suspicion, accuser: NodeId, members: int, now_ns: int) -> bool:
        """Whether this is news: someone new found the same, and not enough had before."""
        enough = self._config.confirmations_needed(members) + 1
        if accuser in suspicion.accusers or len(suspicion.accusers) >= enough:
            return False
        suspicion.accusers.append(accuser)
        length_ns = self._config.suspicion_ns(members, len(suspicion.accusers) - 1)
        due_ns = suspicion.started_ns + length_ns
        self.hasten(suspicion, due_ns, now_ns)
        return True

    def hasten(self, suspicion: Suspicion, due_ns: int, now_ns: int) -> bool:
        """Let it end by then, but not before now; whether that is any earlier. It needs a new timer then."""
        due_ns = max(due_ns, now_ns)
        if due_ns >= suspicion.due_ns:
            return False
        self._mark += 1
        suspicion.due_ns, suspicion.mark = due_ns, self._mark
        return True

    def end(self, index: int) -> None:
        self._open.pop(index, None)

    def of_timer(self, index: int, mark: int) -> Suspicion | None:
        """The suspicion whose newest timer this was."""
        suspicion = self._open.get(index)
        return suspicion if suspicion is not None and suspicion.mark == mark else None

    def prolong(self, suspicion: Suspicion) -> bool:
        """Add the time in which we were deaf; whether there was any. It needs a new timer then."""
        missed_ns = self.deaf_ns - suspicion.deaf_ns
        if missed_ns <= 0:
            return False
        self._mark += 1
        suspicion.started_ns += missed_ns
        suspicion.due_ns += missed_ns
        suspicion.deaf_ns, suspicion.mark = self.deaf_ns, self._mark
        return True
