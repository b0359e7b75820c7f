"""Pages that are followed from top to bottom: files to write, commands to type, what is then printed.

<!-- file: NAME -->                        the block below is this file
<!-- change: NAME, from "TEXT" -->          the block below is this file from the line with TEXT on
<!-- run -->, <!-- fails -->                the commands below end with 0, with something else
<!-- output -->                             the lines below are among what they printed; `...` is anything
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.docs.examples import ROOT, pages

_STEP = re.compile(
    r'^<!-- (?P<what>file|change|run|fails|output)(?:: (?P<name>\S+?)(?:, from "(?P<start>[^"]+)")?)? -->\n'
    r"```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Step:
    what: str
    name: str
    start: str
    language: str
    text: str
    line: int


def pages_of_steps() -> list[str]:
    """Those that write files; the others are made of examples that stand alone."""
    return [str(page.relative_to(ROOT)) for page in pages() if "<!-- file: " in page.read_text("utf-8")]


def steps(page: str) -> list[Step]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Step(
            match["what"],
            match["name"] or "",
            match["start"] or "",
            match["language"],
            match["text"],
            text.count("\n", 0, match.start()) + 1,
        )
        for match in _STEP.finditer(text)
    ]


def write(step: Step, folder: Path) -> None:
    path = folder / step.name
    kept = ""
    if step.what == "change":
        before = path.read_text(encoding="utf-8")
        assert step.start in before, f"{step.name} has no {step.start!r}"
        kept = before[: before.index(step.start)]
    path.write_text(kept + step.text, encoding="utf-8")


def is_printed(expected: str, printed: str) -> bool:
    """Whether these lines came in a row; a line of `...` stands for any number of lines."""
    parts = [
        "(?:.*\n)*?" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + "\n"
        for line in expected.splitlines()
    ]
    return re.search("^" + "".join(parts), printed, re.MULTILINE) is not None
