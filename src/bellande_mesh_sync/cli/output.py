"""What a command prints: tables for people, tab-separated lines for a pipe, JSON on request."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bellande_mesh_sync.cli.exits import is_coloured

if TYPE_CHECKING:
    from rich.console import Console

_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Output:
    """Where the results of one command go. Notes for people go to stderr; stdout is the result alone."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.is_terminal = not as_json and sys.stdout.isatty()

    def result(self, document: Any, text: str) -> None:
        """One result: `document` as JSON, or the line of `text`."""
        self.line(json_text(document) if self.as_json else text)

    def line(self, text: str) -> None:
        # Names of files that are not valid UTF-8 reach us as surrogates; print them as escapes.
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")

    def event(self, document: Any, text: str) -> None:
        """One result of a stream: whoever reads it sees it at once."""
        self.result(document, text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A hint or warning for a person; not part of the result."""
        if not self.as_json:
            print(shown(text), file=sys.stderr, flush=True)

    def pairs(self, title: str, rows: Iterable[tuple[str, object]]) -> None:
        """Names and values, one a line."""
        if not self.is_terminal:
            for name, value in rows:
                self.line(f"{name}\t{plain(value)}")
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(
            title=Text(shown(title)), title_justify="left", box=None, show_header=False, pad_edge=False
        )
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(Text(shown(name)), Text(shown(value)))
        self._console().print(table)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Rows under headings; on a pipe tab-separated and without headings, ready for `cut` and `sort`."""
        if not self.is_terminal:
            for row in rows:
                self.line("\t".join(plain(cell) for cell in row))
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold cyan")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        self._console().print(table)

    def _console(self) -> Console:
        from rich.console import Console

        return Console(no_color=not is_coloured(sys.stdout), highlight=False, emoji=False, markup=False)


def json_text(document: Any) -> str:
    """One line of JSON; dataclass-like results of the library are turned into objects."""
    return json.dumps(document, ensure_ascii=False, default=_jsonable, separators=(",", ":"))


def plain(value: object) -> str:
    """For a pipe: text on one line and in one field, otherwise as it is."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(_escaped(c) if c < " " or "\x7f" <= c < "\xa0" else c for c in text)


def shown(value: object) -> str:
    """For a terminal: nothing in it can move the cursor, change colours or reorder the line."""
    text = plain(value)
    if text.isascii():
        return text
    return "".join(_escaped(c) if c in _BIDI_CONTROLS else c for c in text)


def human_bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """`3.2 s`, `4 min 10 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def iso_time(time_ms: int) -> str:
    """A clock time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_ms / 1000))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _jsonable(value: object) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
