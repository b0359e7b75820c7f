"""How a run ended, as plain data that another process or a file can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.trace import Trace

STORY_LINES_MAX = 60
TAIL_LINES_MAX = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `violation` is empty if all was well."""

    scenario: Scenario
    violation: str
    check: str
    """The check that failed: the first word of `violation`."""
    where: str
    """The node that broke the promise, if it was one."""
    digest: str
    virtual_s: float
    real_s: float
    settled_s: float
    """How long after the last fault all agreed."""
    steps: int
    events: int
    """Events and effects of all cores."""
    faults: Counter[str]
    counts: Counter[str]
    story: tuple[str, ...] = ()
    """The trace around the violation: what happened to its key, and the last lines of its node and of all."""


@dataclass(slots=True)
class Tally:
    """Many outcomes added up."""

    done: int = 0
    virtual_s: float = 0.0
    real_s: float = 0.0
    """Of all processes together."""
    events: int = 0
    nodes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    settled_s: list[float] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.done += 1
        self.virtual_s += outcome.virtual_s
        self.real_s += outcome.real_s
        self.events += outcome.events
        self.nodes += outcome.scenario.nodes
        self.faults += outcome.faults
        self.counts += outcome.counts
        if outcome.violation:
            self.failed.append(outcome)
        else:
            self.settled_s.append(outcome.settled_s)


def story_of(trace: Trace, where: str, about: str) -> tuple[str, ...]:
    """What a person needs of a trace to understand a violation."""
    lines: list[str] = []
    if about:
        lines += _headed(f"what happened to {about}", trace.tail(STORY_LINES_MAX, about=about))
    if where:
        lines += _headed(f"the last of {where}", trace.tail(TAIL_LINES_MAX // 2, place=where))
    lines += _headed("the last of all", trace.tail(TAIL_LINES_MAX if not where else TAIL_LINES_MAX // 2))
    return tuple(lines)


def _headed(title: str, lines: Iterable[str]) -> list[str]:
    return [f"-- {title}", *lines]
