"""What two values differ in: lines of text, or paths in JSON. Pure functions of their bytes."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from msgspec import UNSET, Struct, UnsetType

BYTES_MAX: Final = 256 * 1024
"""A larger value is not compared here: nobody reads that on a screen."""

LINES_MAX: Final = 10_000
CHANGES_MAX: Final = 1_000


class PathChange(Struct, frozen=True, omit_defaults=True):
    """A place in a JSON document where two differ; what is left away, is not there on that side."""

    path: str
    """JSON Pointer (RFC 6901); empty for the whole document."""
    old: Any = UNSET
    new: Any = UNSET


class Difference(Struct, frozen=True):
    """How a value differs from another one."""

    kind: str
    """`same`, `json`, `text`, `binary` or `large` (too large to be compared)."""
    lines: tuple[str, ...] = ()
    """For text: a unified diff, without its head."""
    changes: tuple[PathChange, ...] = ()
    """For JSON; none if only spaces or the order of names differ."""
    complete: bool = True
    """False: there are more changes than are listed."""


def difference(old: bytes, new: bytes) -> Difference:
    """What has to be changed in `old` to have `new`."""
    if old == new:
        return Difference("same")
    if max(len(old), len(new)) > BYTES_MAX:
        return Difference("large")
    try:
        old_text, new_text = old.decode(), new.decode()
    except UnicodeDecodeError:
        return Difference("binary")
    if "\0" in old_text or "\0" in new_text:
        return Difference("binary")
    return _json_difference(old_text, new_text) or _text_difference(old_text, new_text)


def _json_difference(old_text: str, new_text: str) -> Difference | None:
    """None if they are not both an object or a list in JSON."""
    try:
        old, new = json.loads(old_text), json.loads(new_text)
        if not isinstance(old, dict | list) or not isinstance(new, dict | list):
            return None
        found = list(islice(_changes(old, new, ""), CHANGES_MAX + 1))
    except (ValueError, RecursionError):
        return None
    return Difference("json", changes=tuple(found[:CHANGES_MAX]), complete=len(found) <= CHANGES_MAX)


def _changes(old: Any, new: Any, path: str) -> Iterator[PathChange]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from _changes(old.get(name, UNSET), new.get(name, UNSET), f"{path}/{_escaped(name)}")
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _changes(_item(old, index), _item(new, index), f"{path}/{index}")
    elif type(old) is not type(new) or old != new:  # 1 and true are equal in Python, and not in JSON.
        yield PathChange(path, old, new)


def _item(items: list[Any], index: int) -> Any | UnsetType:
    return items[index] if index < len(items) else UNSET


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _text_difference(old_text: str, new_text: str) -> Difference:
    old, new = old_text.splitlines(), new_text.splitlines()
    if max(len(old), len(new)) > LINES_MAX:
        return Difference("large")
    return Difference("text", lines=tuple(islice(difflib.unified_diff(old, new, lineterm=""), 2, None)))


def change_text(change: PathChange) -> str:
    """`+ /zone: "b"`, `- /old: 1`, `  /speed: 3 -> 4`."""
    path = change.path or "(the whole document)"
    if change.old is UNSET:
        return f"+ {path}: {_json(change.new)}"
    if change.new is UNSET:
        return f"- {path}: {_json(change.old)}"
    return f"  {path}: {_json(change.old)} -> {_json(change.new)}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
