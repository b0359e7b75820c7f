"""Progress bars for a person at a terminal; for a pipe or --json, nothing at all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from bellande_mesh_sync.cli.exits import is_coloured

BAR_BYTES_MIN = 4 << 20  # Below this a transfer is over before a bar could be read.

Advance = Callable[[int, int], None]
"""Called with the files and the bytes done since the last call."""


def is_shown(as_json: bool) -> bool:
    """Bars are drawn on stderr, so that stdout may be a file meanwhile."""
    return not as_json and sys.stderr.isatty()


@contextlib.contextmanager
def bar(
    label: str, *, as_json: bool, total_bytes: int | None, total_files: int | None = None
) -> Iterator[Advance]:
    """A bar with bytes, rate and remaining time, and the count of files where there are several."""
    if not is_shown(as_json) or (total_files is None and (total_bytes or 0) < BAR_BYTES_MIN):
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn()]
    if total_files is not None:
        columns.append(TextColumn("{task.fields[files]}/{task.fields[total_files]} files"))
    columns += [DownloadColumn(binary_units=True), TransferSpeedColumn(), TimeRemainingColumn()]
    console = Console(stderr=True, no_color=not is_coloured(sys.stderr), highlight=False)
    with Progress(*columns, console=console, transient=True) as progress:
        # Labels are ours, never a key or a file name: rich would read markup in them.
        task = progress.add_task(label, total=total_bytes, files=0, total_files=total_files)
        files_done = 0

        def advance(files: int, size: int) -> None:
            nonlocal files_done
            files_done += files
            progress.update(task, advance=size, files=files_done)

        yield advance


@contextlib.contextmanager
def steps(label: str, total: int, *, as_json: bool) -> Iterator[Callable[[], None]]:
    """A bar for a known number of steps; call what it gives after each."""
    if not is_shown(as_json) or total < 2:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, no_color=not is_coloured(sys.stderr), highlight=False)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda: progress.advance(task)


def _ignore(files: int, size: int) -> None:
    pass
