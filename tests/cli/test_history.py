"""The past, through a real node and the command line."""

from __future__ import annotations

import json
import time

from tests.cli.conftest import Bms


def put(bms: Bms, key: str, value: str) -> int:
    """Write, and return the stamp's millisecond once the clock is past it."""
    bms("put", key, value)
    stamp_ms: int = bms("get", key, "--json").json["entry"]["time_ms"]
    deadline = time.monotonic() + 5
    while time.time_ns() // 1_000_000 <= stamp_ms:
        assert time.monotonic() < deadline, "the clock stands still"
    return stamp_ms


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_versions_are_listed_and_read(bms: Bms, space: str) -> None:
    first = put(bms, f"{space}/k", "one")
    put(bms, f"{space}/k", "two!")
    listed = rows(bms("history", f"{space}/k").text)
    assert [(row[0], row[2], row[3]) for row in listed] == [("current", "put", "4"), ("replaced", "put", "3")]
    assert bms("get", f"{space}/k", "--version", listed[1][5]).out == b"one"
    assert bms("get", f"{space}/k", "--at", str(first)).out == b"one"
    assert bms("get", f"{space}/k", "--at", "now").out == b"two!"
    document = bms("history", f"{space}/k", "--json").json
    assert document["complete"] is True
    assert [version["state"] for version in document["versions"]] == ["current", "replaced"]


def test_the_past_that_is_not_known_has_an_exit_code_and_an_error_code(bms: Bms, space: str) -> None:
    for number in range(6):
        bms("put", f"{space}/k", f"v{number}")
    long_ago = bms("get", f"{space}/k", "--at", "1h ago", "--json")
    assert (long_ago.code, long_ago.error) == (4, "history_gone")
    bms("put", f"{space}/new", "x")
    before = bms("get", f"{space}/new", "--at", "1h ago", "--json")
    assert (before.code, before.error) == (4, "not_found")
    assert bms("history", f"{space}/none", "--json").error == "not_found"


def test_a_diff_shows_what_changed(bms: Bms, space: str) -> None:
    bms("put", f"{space}/changed", "old")
    bms("put", f"{space}/deleted", "old")
    when = put(bms, f"{space}/same", "same")
    bms("put", f"{space}/changed", "newer")
    bms("delete", f"{space}/deleted")
    now = put(bms, f"{space}/added", "new")
    listed = rows(bms("diff", f"{space}/", "--from", str(when), "--to", str(now)).text)
    assert [row[:4] for row in listed] == [
        ["+", f"{space}/added", "", "3"],
        ["~", f"{space}/changed", "3", "5"],
        ["-", f"{space}/deleted", "3", ""],
    ]
    lines = bms("diff", f"{space}/", "--from", str(when), "--json").text.splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["added", "changed", "deleted"]
    assert bms("diff", f"{space}/", "--from", "now").text == ""


def test_a_restore_is_shown_first_and_done_then_and_can_be_undone(bms: Bms, space: str) -> None:
    bms("put", f"{space}/a", "old a")
    when = put(bms, f"{space}/b", "old b")
    bms("put", f"{space}/a", "new a")
    bms("delete", f"{space}/b")
    before = put(bms, f"{space}/c", "new c")
    dry = bms("restore", f"{space}/", "--at", str(when), "--dry-run")
    assert dry.code == 0
    assert [row[:2] for row in rows(dry.text)] == [
        ["~", f"{space}/a"],
        ["+", f"{space}/b"],
        ["-", f"{space}/c"],
    ]
    assert bms("get", f"{space}/a").out == b"new a"
    done = bms("restore", f"{space}/", "--at", str(when), "--json")
    assert json.loads(done.text.splitlines()[-1]) == {
        "at_ms": when,
        "dry_run": False,
        "changed": 3,
        "unchanged": 0,
        "gone": 0,
    }
    assert (bms("get", f"{space}/a").out, bms("get", f"{space}/b").out) == (b"old a", b"old b")
    assert bms("get", f"{space}/c").code == 4
    assert bms("restore", f"{space}/", "--at", str(before)).code == 0
    assert (bms("get", f"{space}/a").out, bms("get", f"{space}/c").out) == (b"new a", b"new c")
    assert bms("get", f"{space}/b").code == 4


def test_a_restore_names_what_is_not_known_and_fails(bms: Bms, space: str) -> None:
    when = put(bms, f"{space}/k", "v0")
    for number in range(1, 6):
        bms("put", f"{space}/k", f"v{number}")
    done = bms("restore", f"{space}/", "--at", str(when))
    assert done.code == 1
    assert rows(done.text) == [["?", f"{space}/k", "", "", ""]]
    assert "1 not known" in done.err
    assert bms("get", f"{space}/k").out == b"v5"


def test_one_version_is_written_again(bms: Bms, space: str) -> None:
    bms("put", f"{space}/k", "one")
    version = bms("get", f"{space}/k", "--json").json["entry"]["version"]
    bms("put", f"{space}/k", "two")
    assert bms("restore", f"{space}/k", "--version", version).code == 0
    assert bms("get", f"{space}/k").out == b"one"
    assert len(rows(bms("history", f"{space}/k").text)) == 3


def test_wrong_lines_are_usage_errors(bms: Bms, space: str) -> None:
    for line in (
        ("get", "k", "--at", "yesterday"),
        ("get", "k", "--at", "now", "--version", "v"),
        ("diff", "k"),
        ("restore", "k"),
        ("restore", "k", "--at", "now", "--version", "v"),
        ("restore", "k", "--version", "v", "--dry-run"),
        ("restore", "k", "--at", "2h"),
    ):
        assert bms(*line).code == 2, line
    assert bms("--version").code == 0
    assert bms("list", "--version").code == 0
