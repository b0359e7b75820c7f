"""Reading `.bellande` files: names and values by indentation, with `-` before the items of a list.

    listen_address: 0.0.0.0:8000
    bootstrap_nodes:
        - 10.0.0.1:8000
    options:
        max_connections: 200

A value is `true`, `false`, `null`, a number, a text in double quotes, or else the text that stands there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from bellande_mesh_sync.errors import ConfigError

DEPTH_MAX = 32

_WORDS = {"true": True, "false": False, "null": None}
_INTEGER = re.compile(r"-?\d{1,4000}")
_NUMBER = re.compile(r"-?\d*\.\d+(?:[eE][+-]?\d+)?|-?\d+\.?[eE][+-]?\d+")


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    indent: int
    text: str


def parse_bellande(text: str, source: str) -> dict[str, Any]:
    """The names and values in a text. Raises ConfigError with the line; `source` is named in it."""
    return _Reader(text, source).whole()


class _Reader:
    def __init__(self, text: str, source: str) -> None:
        self._source = source
        self._lines = [
            _Line(number, len(line) - len(line.lstrip()), line.strip())
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and not line.lstrip().startswith("#")
        ]
        self._next = 0
        for line in self._lines:
            if "\t" in text.splitlines()[line.number - 1][: line.indent]:
                self._refuse(line, "it is indented by tabs; use spaces")

    def whole(self) -> dict[str, Any]:
        first = self._peek()
        table = {} if first is None else self._table(first.indent, 0)
        left = self._peek()
        if left is not None:
            self._refuse(left, "it is indented less than the first line")
        return table

    def _peek(self) -> _Line | None:
        return self._lines[self._next] if self._next < len(self._lines) else None

    def _refuse(self, line: _Line, reason: str) -> NoReturn:
        raise ConfigError(field=self._source, reason=f"line {line.number}: {reason}")

    def _table(self, indent: int, depth: int) -> dict[str, Any]:
        table: dict[str, Any] = {}
        while (line := self._peek()) is not None and line.indent >= indent:
            if line.indent > indent:
                self._refuse(line, "it is indented more than the line before")
            name, colon, value = (part.strip() for part in line.text.partition(":"))
            if not colon or not name or line.text.startswith("- "):
                self._refuse(line, "'name: value' is expected")
            name = name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name
            if name in table:
                self._refuse(line, f"{name} was given before")
            self._next += 1
            table[name] = _value(value) if value else self._below(line, depth)
        return table

    def _below(self, above: _Line, depth: int) -> Any:
        """What stands indented under a name without a value; nothing there is an empty list."""
        line = self._peek()
        if line is None or line.indent < above.indent:
            return []
        if depth >= DEPTH_MAX:
            self._refuse(line, f"it is nested deeper than {DEPTH_MAX}")
        if line.text.startswith("-"):  # Items need not be indented.
            return self._list(line.indent)
        return self._table(line.indent, depth + 1) if line.indent > above.indent else []

    def _list(self, indent: int) -> list[Any]:
        items: list[Any] = []
        while (line := self._peek()) is not None and line.indent >= indent and line.text.startswith("-"):
            if line.indent > indent:
                self._refuse(line, "it is indented more than the line before")
            items.append(_value(line.text[1:].strip()))
            self._next += 1
        return items


def _value(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
