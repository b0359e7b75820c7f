"""What the published programs answered, and how they read their arguments."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Case:
    """One run: `given` as text or lists; `output` a number, a list, or {"error": ...}."""

    number: int
    group: str
    given: dict[str, Any]
    output: Any

    def __str__(self) -> str:
        return f"{self.number}-{self.group}"

    @property
    def is_error(self) -> bool:
        return isinstance(self.output, dict)

    @property
    def is_about_arguments(self) -> bool:
        """The program's door refused it, before any algorithm: the passcode, or the number of arguments."""
        return self.given.get("passcode") == "wrong" or "arguments_given" in self.given

    def value(self, name: str) -> Any:
        """An argument as the program reads it: a text is a Python literal."""
        given = self.given[name]
        return ast.literal_eval(given) if isinstance(given, str) else given


def cases(name: str) -> list[Case]:
    found = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return [Case(number, case["group"], case["input"], case["output"]) for number, case in enumerate(found)]
