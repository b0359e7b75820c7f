"""Shrinking a failure: the smallest scenario found that breaks the same promise.

Every change of a scenario shifts all chance in it, so each smaller candidate is tried with a few seeds, and
counts when one of them fails the same check.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.swarm import Scenario

SEEDS_PER_CANDIDATE: Final = 6
NODES_MIN: Final = 2
FAULTS_MIN_S: Final = 1.0

Run = Callable[[Scenario], Outcome]


def minimize(
    failed: Outcome, run: Run, *, goes_on: Callable[[], bool], tell: Callable[[Outcome], None]
) -> Outcome:
    """The smallest failing outcome found until nothing smaller fails or `goes_on` says that time is up.

    Args:
        run: runs one scenario.
        tell: hears of each smaller failure.
    """
    best = failed
    progress = True
    while progress and goes_on():
        progress = False
        for candidate in smaller(best):
            if not goes_on():
                break
            found = _fails_alike(candidate, best.check, run)
            if found is not None:
                best, progress = found, True
                tell(best)
                break
    return best


def _fails_alike(candidate: Scenario, check: str, run: Run) -> Outcome | None:
    for offset in range(SEEDS_PER_CANDIDATE):
        outcome = run(replace(candidate, seed=candidate.seed + offset))
        if outcome.check == check:
            return outcome
    return None


def smaller(failed: Outcome) -> Iterator[Scenario]:
    """Simpler scenarios, the boldest steps first."""
    scenario = failed.scenario
    yield from _shorter(failed)
    for nodes in dict.fromkeys((NODES_MIN, 3, scenario.nodes // 2, scenario.nodes - 1)):
        if NODES_MIN <= nodes < scenario.nodes:
            yield replace(scenario, nodes=nodes)
    for field in dataclasses.fields(Scenario):
        part = getattr(scenario, field.name)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            yield from _plainer(scenario, field.name, part)
        elif field.default is not dataclasses.MISSING and part != field.default:
            yield replace(scenario, **{field.name: field.default})


def _shorter(failed: Outcome) -> Iterator[Scenario]:
    scenario = failed.scenario
    until_s = float(math.ceil(failed.virtual_s))
    for faults_s in (scenario.faults_s / 4, scenario.faults_s / 2, until_s, scenario.faults_s * 0.8):
        if FAULTS_MIN_S <= faults_s < scenario.faults_s:
            yield replace(scenario, faults_s=faults_s)


def _plainer(scenario: Scenario, name: str, part: Any) -> Iterator[Scenario]:
    """A part of the scenario with all its fields as they are by default, then one field after the other."""
    plain = type(part)()
    if part == plain:
        return
    yield replace(scenario, **{name: plain})
    for field in dataclasses.fields(part):
        usual = getattr(plain, field.name)
        if getattr(part, field.name) != usual:
            yield replace(scenario, **{name: replace(part, **{field.name: usual})})
