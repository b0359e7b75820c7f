"""What the demo shows: progress bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

PLAIN_LINE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Holding:
    """What one node holds: how many records, how many bytes, and one digest over all of it."""

    records: int
    size_bytes: int
    digest: str


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"


class Meter(Protocol):
    """Shows how far each node has come; `None` for one that is down."""

    def show(self, holdings: Mapping[str, Holding | None]) -> None: ...


class Screen:
    """Lines for a pipe or a log file."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def phase(self, title: str) -> None:
        self.console.print(f"\n[bold]{title}[/bold]")

    def say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)

    def table(self, heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=heading, title_justify="left", title_style="bold")
        for column in columns:
            table.add_column(column, justify="right" if column in ("records", "bytes", "seconds") else "left")
        for row in rows:
            table.add_row(*row)
        self.console.print()
        self.console.print(table)

    @contextlib.contextmanager
    def meter(self, names: Sequence[str], total_bytes: int) -> Iterator[Meter]:
        """Show each node's records and bytes on the way to `total_bytes`."""
        if self.console.is_terminal:
            with _Bars(self.console, names, total_bytes) as bars:
                yield bars
        else:
            lines = _Lines(self, names)
            yield lines
            lines.print_now()


class _Bars:
    def __init__(self, console: Console, names: Sequence[str], total_bytes: int) -> None:
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks = {name: self._progress.add_task(name, total=total_bytes, note="") for name in names}

    def show(self, holdings: Mapping[str, Holding | None]) -> None:
        for name, holding in holdings.items():
            if holding is None:
                self._progress.update(self._tasks[name], note="[red]down[/red]")
            else:
                note = f"{holding.records:,} records"
                self._progress.update(self._tasks[name], completed=holding.size_bytes, note=note)

    def __enter__(self) -> _Bars:
        self._progress.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._progress.stop()


class _Lines:
    def __init__(self, screen: Screen, names: Sequence[str]) -> None:
        self._screen = screen
        self._now = dict.fromkeys(names, "0 records")
        self._printed_at = time.monotonic()

    def show(self, holdings: Mapping[str, Holding | None]) -> None:
        for name, holding in holdings.items():
            self._now[name] = (
                f"{holding.records:,} records, {megabytes(holding.size_bytes)}" if holding else "down"
            )
        if time.monotonic() - self._printed_at >= PLAIN_LINE_SECONDS:
            self.print_now()

    def print_now(self) -> None:
        self._printed_at = time.monotonic()
        self._screen.say("   ".join(f"{name}: {text}" for name, text in self._now.items()))
