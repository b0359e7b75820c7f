"""docs/reference/errors.md, from the error tree and the command line's exit codes."""

from __future__ import annotations

import inspect
import re

from bellande_mesh_sync import errors
from bellande_mesh_sync.api.errors import status_of
from bellande_mesh_sync.cli.exits import exit_code_of
from bellande_mesh_sync.errors import BellandeMeshError

_INTRO = """# Errors

Written from the code by `make docs`; do not edit.

Everything raised on purpose is a `BellandeMeshError`. Its `code` is stable and the same in Python, over
HTTP (`{"error": {"code", "message", "detail"}}`) and on the command line (`error (code): sentence`);
`facts` holds what the sentence is made of. *Again* says whether trying once more can help without
changing anything. *HTTP* is the status of the answer, *Exit* the exit code of `bms`.
"""


_HEAD = "| code | class | again | HTTP | exit | what it says |\n| --- | --- | --- | --- | --- | --- |"


def errors_page() -> str:
    parts = [_INTRO]
    for family in _children(BellandeMeshError):
        parts.append(f"## {family.__name__}\n\n{_docstring(family)}\n")
        parts.append(_HEAD)
        parts += [_row(kind) for kind in _tree(family)]
        parts.append("")
        parts += [f"`{kind.code}`: {text}\n" for kind in _tree(family)[1:] if (text := _docstring(kind))]
    return "\n".join(parts)


def _row(kind: type[BellandeMeshError]) -> str:
    error = kind.__new__(kind)
    error.facts = {}
    sentence = re.sub(r"\{(\w+)[^}]*\}", lambda found: found[1].upper(), kind.template).replace("|", "\\|")
    again = "yes" if kind.retryable else "no"
    numbers = f"{status_of(error)} | {exit_code_of(error)}"
    return f"| `{kind.code}` | `{kind.__name__}` | {again} | {numbers} | {sentence} |"


def _docstring(kind: type[BellandeMeshError]) -> str:
    own = kind.__doc__ if "__doc__" in vars(kind) else None
    return re.sub(r"\s+", " ", inspect.cleandoc(own)).strip() if own else ""


def _tree(kind: type[BellandeMeshError]) -> list[type[BellandeMeshError]]:
    return [kind, *(below for child in _children(kind) for below in _tree(child))]


def _children(kind: type[BellandeMeshError]) -> list[type[BellandeMeshError]]:
    """In the order of errors.py; classes that other modules derive are theirs to document."""
    classes = [found for found in vars(errors).values() if inspect.isclass(found)]
    return [found for found in classes if issubclass(found, kind) and kind in found.__bases__]
