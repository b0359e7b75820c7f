"""`python -m bench [NAME...]`: run the benchmarks, save each as JSON, print one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from bench import (
    acked_puts,
    catching_up,
    first_sync,
    history,
    in_step,
    large_edit,
    large_file,
    members,
    members_large,
    nearest,
    planning,
    planning_together,
    postgresql,
    put_latency,
    search_path,
    simulation,
    small_records,
    startup,
)
from bench.measure import Report, machine, short

BENCHMARKS: dict[str, Callable[[int], Report]] = {
    "startup": startup.run,
    "small_records": small_records.run,
    "large_file": large_file.run,
    "large_edit": large_edit.run,
    "put_latency": put_latency.run,
    "acked_puts": acked_puts.run,
    "catching_up": catching_up.run,
    "in_step": in_step.run,
    "first_sync": first_sync.run,
    "history": history.run,
    "postgresql": postgresql.run,
    "planning": planning.run,
    "planning_together": planning_together.run,
    "simulation": simulation.run,
    "nearest": nearest.run,
    "search_path": search_path.run,
    "members": members.run,
    "members_large": members_large.run,
}
LONG = ("members_large", "in_step", "first_sync", "large_edit")
"""Only when asked for: a gigabyte of memory, and minutes even on an idle machine."""

BUSY_CORES_MAX = 0.3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}")
    parser.epilog = f"Without a NAME: all but {', '.join(LONG)}."
    parser.add_argument("--runs", type=int, default=5, help="runs of each (default: 5)")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    here = machine()
    names = options.names or [name for name in BENCHMARKS if name not in LONG]
    reports = [BENCHMARKS[name](options.runs) for name in names]
    for report in reports:
        report.save(here)
    show(reports, here)
    return 0


def show(reports: list[Report], here: dict[str, str]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    table = Table(title="Benchmarks", title_justify="left")
    for column in ("what", "median", "unit", "min .. max", "runs", ""):
        table.add_column(column, justify="right" if column in ("median", "runs") else "left")
    for report in reports:
        for figure in report.figures:
            runs = str(len(figure.values))
            row = (figure.name, short(figure.median), figure.unit, figure.spread, runs, figure.remark)
            table.add_row(*row, style="dim" if figure.note in ("floor", "peer") else "")
        table.add_section()
    console.print(table)
    for report in reports:
        if report.busy_cores > BUSY_CORES_MAX:
            console.print(f"{report.benchmark}: other programs kept {report.busy_cores:.1f} cores busy")
        for reason in report.skipped:
            console.print(f"not measured: {reason}")
    console.print("; ".join(f"{name} {value}" for name, value in here.items()))


if __name__ == "__main__":
    sys.exit(main())
