"""What a campaign shows: a bar while it runs, what failed, and a table at the end."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bellande_mesh_sync.sim.outcome import Outcome, Tally

if TYPE_CHECKING:
    from rich.progress import Progress


class Screen:
    """The bar and the failures go to stderr and stdout as they come; nothing is drawn without a terminal."""

    def __init__(self, total: int | None, *, verbose: bool = False) -> None:
        self._total = total
        self._verbose = verbose
        self._started_s = time.perf_counter()
        self._progress: Progress | None = None

    @property
    def elapsed_s(self) -> float:
        return max(time.perf_counter() - self._started_s, 1e-9)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Shows a bar on stderr as long as it is open, if that is a terminal."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            progress.add_task("seeds", total=self._total)
            self._progress = progress
            yield
            self._progress = None

    def tell(self, outcome: Outcome, tally: Tally) -> None:
        if self._verbose:
            self.line(one_line(outcome))
        if outcome.violation:
            for line in failure_lines(outcome):
                self.line(line)
        if self._progress is not None:
            text = f"{tally.done / self.elapsed_s:.2f} seeds/s, {tally.virtual_s / 3600:.2f} virtual hours"
            failed = f", {len(tally.failed)} failed" if tally.failed else ""
            self._progress.update(self._progress.task_ids[0], advance=1, description=text + failed)

    def line(self, text: str) -> None:
        if self._progress is None:
            print(text, flush=True)
        else:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def summary(self, tally: Tally) -> None:
        for line in summary_lines(tally, self.elapsed_s):
            self.line(line)


def one_line(outcome: Outcome) -> str:
    how = f"FAILED {outcome.violation}" if outcome.violation else f"settled in {outcome.settled_s:.0f} s"
    speed = outcome.virtual_s / max(outcome.real_s, 1e-9)
    return (
        f"seed {outcome.scenario.seed}: {outcome.scenario.nodes} nodes, {outcome.virtual_s:.0f} virtual s "
        f"in {outcome.real_s:.1f} s ({speed:.0f}x), {outcome.events} events and effects, "
        f"digest {outcome.digest[:16]}, {how}"
    )


def failure_lines(outcome: Outcome) -> list[str]:
    title = f"--- seed {outcome.scenario.seed}: {outcome.violation}"
    return ["", title, *outcome.story, title]


def summary_lines(tally: Tally, real_s: float) -> list[str]:
    """The table at the end, one fact a line."""
    rows = [
        (
            "seeds",
            f"{tally.done} in {real_s:.0f} s ({tally.done / real_s:.2f}/s), {len(tally.failed)} failed",
        ),
        (
            "virtual time",
            f"{tally.virtual_s / 3600:.2f} hours, {tally.virtual_s / real_s:.0f} times real time, "
            f"{tally.virtual_s / max(tally.real_s, 1e-9):.0f} times on each process",
        ),
        ("nodes", f"{tally.nodes / max(tally.done, 1):.1f} in a run"),
        ("events", f"{tally.events} and effects, {tally.real_s / max(tally.events, 1) * 1e6:.1f} us each"),
        ("agreement", _agreement(tally.settled_s)),
    ]
    lines = [f"{name:<14}{text}" for name, text in rows]
    lines += _counted("faults", tally.faults) + _counted("counts", tally.counts)
    lines += [f"failed        seed {each.scenario.seed}: {each.violation[:300]}" for each in tally.failed]
    return lines


def _agreement(settled_s: list[float]) -> str:
    if not settled_s:
        return "none came to rest"
    order = sorted(settled_s)
    return (
        f"{order[len(order) // 2]:.0f} s after the last fault (median), "
        f"{order[len(order) * 99 // 100]:.0f} s (p99), {order[-1]:.0f} s at most"
    )


def _counted(title: str, counts: Counter[str]) -> list[str]:
    width = max((len(name) for name in counts), default=0)
    names = sorted(counts)
    return [
        f"{title if name == names[0] else '':<14}{name:<{width}}  {counts[name]:>12,}" for name in names
    ] or [f"{title:<14}none"]
