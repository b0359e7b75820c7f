"""The command: run many seeds, replay one, or shrink a failure. `__main__` and `bms simulate` share it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bellande_mesh_sync.sim.additions import draw_with_additions
from bellande_mesh_sync.sim.campaign import Swarm, prepare, run_all
from bellande_mesh_sync.sim.minimize import minimize
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.scenario_text import parse_scenario, scenario_text
from bellande_mesh_sync.sim.screen import Screen, one_line
from bellande_mesh_sync.sim.simulation import run
from bellande_mesh_sync.sim.swarm import Scenario

MINIMIZE_LIMIT_S: Final = 300.0
NODES_MAX: Final = 64
_F = TypeVar("_F", bound=Callable[..., Any])


class NodeRange(click.ParamType[tuple[int, int]]):
    """`5` or `3-7`."""

    name = "nodes"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value))
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 2 <= low <= high <= NODES_MAX:
            self.fail(f"{value!r} is not a number of nodes or a range, from 2 to {NODES_MAX}", param, ctx)
        return low, high


OPTIONS: Final = (
    click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many to run."),
    click.option("--start", type=int, default=1, show_default=True, help="The first seed."),
    click.option("--seed", type=int, help="Run just this one, and say how it went."),
    click.option("--minutes", type=click.FloatRange(0.01), default=5.0, show_default=True,
                 help="Virtual minutes with faults."),
    click.option("--nodes", type=NodeRange(), default=(3, 7), show_default="3-7", help="As 5 or 3-16."),
    click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes at once."),
    click.option("--scenario", "scenario_path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
                 help="Run the scenario that a failure wrote down."),
    click.option("--minimize", "minimizes", is_flag=True,
                 help="Shrink a failure: fewer nodes, fewer faults, shorter; and write it down."),
    click.option("--trace", "traces", is_flag=True, help="Print every event and effect (one seed)."),
    click.option("--verbose", is_flag=True, help="A line for each seed."),
    click.option("--keep-going", is_flag=True, help="Go on after a failure."),
    click.option("--time-limit", "time_limit_s", type=click.FloatRange(0), default=0.0,
                 help="Begin no seed after so many real seconds."),
)  # fmt: skip


def options(function: _F) -> _F:
    """All options of the command on a click command."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Request:
    """What to do, as the options say it."""

    seeds: int
    start: int
    seed: int | None
    minutes: float
    nodes: tuple[int, int]
    jobs: int
    scenario_path: Path | None
    minimizes: bool
    traces: bool
    verbose: bool
    keep_going: bool
    time_limit_s: float


def simulate(request: Request) -> int:
    """Run what is asked for; 0 if every promise was kept, else 1. Raises ConfigError for a bad file."""
    one = _one_scenario(request)
    if one is not None and request.traces:
        prepare()
        outcome = run(one, echo=print)
        print(one_line(outcome))
        return 1 if outcome.violation else 0
    scenarios: Iterator[Scenario]
    if one is not None:
        scenarios, total = iter((one,)), 1
    else:
        scenarios, total = _swarm(request).scenarios(), request.seeds
    screen = Screen(total, verbose=request.verbose or one is not None)
    with screen.bar():
        tally = run_all(
            scenarios,
            jobs=1 if one is not None else request.jobs,
            keep_going=request.keep_going,
            time_limit_s=request.time_limit_s,
            tell=screen.tell,
        )
    for failed in tally.failed:
        _tell_replay(screen, request, failed)
    screen.summary(tally)
    if tally.failed and request.minimizes:
        _minimize(screen, tally.failed[0])
    return 1 if tally.failed else 0


def _one_scenario(request: Request) -> Scenario | None:
    if request.scenario_path is not None:
        return parse_scenario(request.scenario_path.read_bytes())
    if request.seed is not None:
        return draw_with_additions(request.seed, nodes=request.nodes, minutes=request.minutes)
    return None


def _swarm(request: Request) -> Swarm:
    return Swarm(request.start, request.seeds, request.minutes, request.nodes)


def _tell_replay(screen: Screen, request: Request, failed: Outcome) -> None:
    if request.scenario_path is not None:
        what = f"--scenario {request.scenario_path}"
    else:
        low, high = request.nodes
        what = f"--seed {failed.scenario.seed} --minutes {request.minutes:g} --nodes {low}-{high}"
    screen.line(f"--- again: python -m bellande_mesh_sync.sim {what} --trace")


def _minimize(screen: Screen, failed: Outcome) -> None:
    deadline_s = time.monotonic() + MINIMIZE_LIMIT_S
    screen.line(f"--- shrinking, for {MINIMIZE_LIMIT_S:.0f} s at most")
    best = minimize(
        failed, run, goes_on=lambda: time.monotonic() < deadline_s, tell=partial(_tell_smaller, screen)
    )
    path = Path(f"failure-{failed.scenario.seed}.json")
    path.write_text(scenario_text(best.scenario), encoding="utf-8")
    screen.line(f"--- the smallest: {best.violation}")
    for line in best.story:
        screen.line(line)
    screen.line(f"--- again: python -m bellande_mesh_sync.sim --scenario {path} --trace")


def _tell_smaller(screen: Screen, outcome: Outcome) -> None:
    screen.line(
        f"    seed {outcome.scenario.seed}: {outcome.scenario.nodes} nodes, {outcome.virtual_s:.0f} s, "
        f"{outcome.faults.total()} faults, {outcome.events} events: {outcome.violation[:120]}"
    )
