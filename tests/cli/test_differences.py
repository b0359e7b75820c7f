"""How two values differ: lines of text, paths of JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from bellande_mesh_sync.cli.differences import (
    BYTES_MAX,
    CHANGES_MAX,
    PathChange,
    change_text,
    difference,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("a/~é", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.lists(JSON, max_size=3) | st.dictionaries(st.text("a/~", max_size=2), JSON, max_size=3)


def encoded(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_text_differs_by_lines() -> None:
    found = difference(b"one\ntwo\nthree\n", b"one\n2\nthree\n")
    assert (found.kind, found.lines) == ("text", ("@@ -1,3 +1,3 @@", " one", "-two", "+2", " three"))


def test_json_differs_by_paths() -> None:
    old = {"speed": 3, "old": [1, 2], "same": {"x": None}, "on": 1, "a/b": 0}
    new = {"speed": 4, "old": [1], "same": {"x": None}, "on": True, "a/b": "~", "zone": {"n": 1}}
    found = difference(encoded(old), encoded(new))
    assert found.kind == "json"
    assert [change_text(change) for change in found.changes] == [
        "  /speed: 3 -> 4",
        "- /old/1: 2",
        "  /on: 1 -> true",
        '  /a~1b: 0 -> "~"',
        '+ /zone: {"n": 1}',
    ]


def test_a_list_instead_of_an_object_is_one_change() -> None:
    (change,) = difference(b"[]", b"{}").changes
    assert change_text(change) == "  (the whole document): [] -> {}"


def test_json_that_is_only_written_differently_has_no_changes() -> None:
    found = difference(b'{"a": 1, "b": 2}', b'{"b":2,\n"a":1}')
    assert (found.kind, found.changes) == ("json", ())


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (b"x", b"x", "same"),
        (b"\xff", b"\xff", "same"),
        (b"\xff", b"a", "binary"),
        (b"a\0b", b"a", "binary"),
        (b"1", b"2", "text"),
        (b"{", b"{}", "text"),
        (b"", b"{}", "text"),
        (b"a" * (BYTES_MAX + 1), b"a", "large"),
        (b"a\n" * 10_001, b"a", "large"),
        (b"[" * 5_000 + b"]" * 5_000, b"[]", "text"),
    ],
)
def test_each_pair_of_values_has_its_kind(old: bytes, new: bytes, kind: str) -> None:
    assert difference(old, new).kind == kind
    assert difference(new, old).kind == kind


def test_a_list_of_changes_that_is_cut_off_says_so() -> None:
    found = difference(encoded([0] * (CHANGES_MAX + 1)), encoded([1] * (CHANGES_MAX + 1)))
    assert (len(found.changes), found.complete) == (CHANGES_MAX, False)
    assert difference(encoded([0] * CHANGES_MAX), encoded([1] * CHANGES_MAX)).complete


@given(DOCUMENTS, DOCUMENTS)
def test_applying_the_changes_makes_one_of_the_other(old: Any, new: Any) -> None:
    found = difference(encoded(old), encoded(new))
    if found.kind == "same":
        assert old == new
        return
    assert found.kind == "json"
    made = copy.deepcopy(old)
    removals = [change for change in found.changes if change.new is UNSET]
    for change in [change for change in found.changes if change.new is not UNSET]:
        made = applied(made, change)
    for change in reversed(removals):  # From the end: a list's indexes then stay what they were.
        made = applied(made, change)
    assert encoded_sorted(made) == encoded_sorted(new)


def encoded_sorted(document: Any) -> str:
    return json.dumps(document, sort_keys=True)


def applied(document: Any, change: PathChange) -> Any:
    if not change.path:
        return change.new
    *way, last = [part.replace("~1", "/").replace("~0", "~") for part in change.path.split("/")[1:]]
    place = document
    for part in way:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if isinstance(place, list) and change.new is UNSET:
        del place[int(last)]
    elif isinstance(place, list) and int(last) == len(place):
        place.append(change.new)
    elif isinstance(place, list):
        place[int(last)] = change.new
    elif change.new is UNSET:
        del place[last]
    else:
        place[last] = change.new
    return document
