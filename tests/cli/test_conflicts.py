"""`bms conflicts` and `bms resolve`, on a real node: it can be made to disagree with itself."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.sibling_views import clock_text
from bellande_mesh_sync.cli.versions import short_version
from bellande_mesh_sync.core.data.context import context_text
from tests.cli.conftest import COMMAND, Bms

NOTHING_SEEN = context_text(())
"""A write with this context knows of no other one, as if it came from a node that was cut off."""


def versions_of(bms: Bms, key: str, *values: str) -> list[str]:
    """Write values that do not know of each other; the last one is the newest."""
    return [bms("put", key, value, "--context", NOTHING_SEEN, "--json").json["version"] for value in values]


def test_conflicts_are_listed_in_order(bms: Bms, space: str) -> None:
    for key in ("b", "a", "c/d"):
        versions_of(bms, f"{space}/{key}", "one", "two")
    bms("put", f"{space}/calm", "alone")
    rows = [line.split("\t") for line in bms("conflicts", f"{space}/").text.splitlines()]
    assert [row[:3] for row in rows] == [[f"{space}/{key}", "2", "crane-1"] for key in ("a", "b", "c/d")]
    assert rows[0][3].endswith("Z")
    found = bms("conflicts", f"{space}/", "--limit", "2", "--json").json["conflicts"]
    assert [each["key"] for each in found] == [f"{space}/a", f"{space}/b"]
    assert bms("stats", "--json").json["conflicts"][space] == 3
    assert f"conflicts/{space}\t3\n" in bms("stats").text
    assert bms("status", "--json").json["conflicts"] >= 3
    nothing = bms("conflicts", f"{space}/calm")
    assert (nothing.code, nothing.out, nothing.err) == (0, b"", "there are no conflicts\n")
    assert bms("conflicts", f"{space}/calm", "--json").json == {"conflicts": []}


def test_the_versions_of_a_key_are_shown_with_what_they_differ_in(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    old, new = versions_of(bms, key, '{"speed": 3, "on": true}', '{"speed": 4, "zone": "b", "on": true}')
    lines = bms("conflicts", key, "--diff").text.splitlines()
    assert [line.split("\t")[:3] for line in lines[:2]] == [["*", new, "crane-1"], ["", old, "crane-1"]]
    assert lines[2:] == [
        "",
        f"--- {short_version(new)}",
        f"+++ {short_version(old)}",
        "  /speed: 4 -> 3",
        '- /zone: "b"',
    ]
    told = bms("conflicts", key, "--diff", "--json").json
    assert [view["version"] for view in told["siblings"]] == [new, old]
    (compared,) = told["differences"]
    assert (compared["old"], compared["new"], compared["difference"]["kind"]) == (new, old, "json")
    assert compared["difference"]["changes"][1] == {"path": "/zone", "old": "b"}


def test_a_single_version_is_no_conflict_and_no_key_is_not_found(bms: Bms, space: str) -> None:
    bms("put", f"{space}/k", "alone")
    assert "no conflict" in bms("conflicts", f"{space}/k", "--diff").err
    assert bms("conflicts", f"{space}/none", "--diff", "--json").error == "not_found"
    assert bms("conflicts", "a//b", "--diff").code == 2


def test_a_read_says_that_there_are_more_versions_and_can_read_each(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    old, _ = versions_of(bms, key, "one", "two")
    read = bms("get", key)
    assert read.out == b"two"
    assert read.err.startswith("2 versions are in conflict")
    assert bms("get", key, "--json").err == ""
    assert bms("get", key, "--version", old).out == b"one"
    assert bms("get", key, "--version", short_version(old)).out == b"one"
    assert bms("get", key, "--version", "abc").code == 4
    assert bms("get", key, "--version", "a.b.c").code == 2


@pytest.mark.parametrize("is_short", [False, True])
def test_a_version_is_chosen_by_its_name(bms: Bms, space: str, is_short: bool) -> None:
    key = f"{space}/k"
    old, _ = versions_of(bms, key, "one", "two")
    ran = bms("resolve", key, short_version(old) if is_short else old, "--json")
    assert ran.json["version"] not in (old, "")
    read = bms("get", key)
    assert (read.out, read.err) == (b"one", "")
    assert bms("conflicts", key, "--json").json == {"conflicts": []}


def test_the_newest_is_kept_on_request(bms: Bms, space: str) -> None:
    versions_of(bms, f"{space}/k", "one", "two", "three")
    assert bms("resolve", f"{space}/k", "--newest").code == 0
    assert bms("get", f"{space}/k").out == b"three"


@pytest.mark.parametrize("is_piped", [False, True])
def test_a_new_value_comes_from_a_file(bms: Bms, space: str, tmp_path: Path, is_piped: bool) -> None:
    key = f"{space}/k"
    old, _ = versions_of(bms, key, "one", "two")
    (tmp_path / "merged.json").write_text('{"version": "both"}')
    if is_piped:
        command = ("resolve", key, "--file", "-", "--content-type", "application/json")
        assert bms.process(*command, input=b'{"version": "both"}').returncode == 0
    else:
        assert bms("resolve", key, "--file", str(tmp_path / "merged.json")).code == 0
    got = bms("get", key, "--json").json
    assert (got["text"], got["entry"]["content_type"], got["entry"]["siblings"]) == (
        '{"version": "both"}',
        "application/json",
        1,
    )
    assert old != got["entry"]["version"]


def test_a_version_that_came_after_the_look_stays(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    old, _ = versions_of(bms, key, "one", "two")
    seen = bms("conflicts", key, "--diff", "--json").json["context"]
    (late,) = versions_of(bms, key, "late")
    kept = bms("resolve", key, old, "--context", seen, "--json").json["version"]
    siblings = bms("conflicts", key, "--diff", "--json").json["siblings"]
    assert {view["version"] for view in siblings} == {kept, late}


def test_each_refusal_has_its_exit_code(bms: Bms, space: str, tmp_path: Path) -> None:
    key = f"{space}/k"
    old, new = versions_of(bms, key, "one", "two")
    seen = bms("conflicts", key, "--diff", "--json").json["context"]
    for wrong in (
        [],
        [old, "--newest"],
        ["--newest", "--file", "-"],
        ["a.b.c"],
        [old, "--content-type", "text/x"],
        [old, "--context", "!"],
    ):
        assert bms("resolve", key, *wrong).code == 2, wrong
    assert bms("resolve", key, "nobody.1").code == 4
    assert bms("resolve", key, "--file", str(tmp_path / "none")).code == 1
    assert bms("resolve", f"{space}/none", "--newest").code == 4
    settled = bms("resolve", key, new, "--json").json["version"]
    assert bms("resolve", key, old, "--json").error == "precondition_failed"
    assert bms("resolve", key, old).code == 6
    (tmp_path / "new").write_bytes(b"new")
    assert bms("resolve", key, "--file", str(tmp_path / "new"), "--context", seen).code == 6
    for nothing_to_do in (["--newest"], [settled], ["--file", str(tmp_path / "new")]):
        assert bms("resolve", key, *nothing_to_do).code == 4, nothing_to_do
    assert bms("get", key).out == b"two"


def test_a_delete_with_an_old_context_is_one_side_of_a_conflict(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    bms("put", key, "one")
    seen = bms("get", key, "--json").json["entry"]["context"]
    bms("put", key, "two")
    bms("delete", key, "--context", seen)
    assert bms("get", key).code == 4
    lines = bms("conflicts", key, "--diff").text.splitlines()
    assert lines[0].endswith("\t-\tdeleted")
    assert lines[-1] == "one of them is a delete"
    bms("resolve", key, lines[1].split("\t")[1])
    assert bms("get", key).out == b"two"


def answered(bms: Bms, answers: bytes, *arguments: str) -> tuple[int, str]:
    """What a person sees who types these answers, and the exit code."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--home", str(bms.home), *arguments]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as child:
        os.close(theirs)
        os.write(ours, answers)
        seen = b""
        while True:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # EIO: the last program has closed the terminal.
                break
            if not piece:
                break
            seen += piece
        os.close(ours)
        return child.wait(60), seen.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_choice_is_asked_for(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    old, _ = versions_of(bms, key, "line one", "line two")
    code, seen = answered(bms, b"q\n", "resolve", key)
    assert code == 0
    assert "left as it is" in seen
    code, seen = answered(bms, b"7\nd\n2\n", "resolve", key)
    assert code == 0
    assert short_version(old) in seen
    assert "-line two" in seen
    assert "WRITER'S CLOCK" in seen
    assert f"settled {key}" in seen
    assert bms("get", key).out == b"line one"
    assert answered(bms, b"", "resolve", key)[0] == 4


@pytest.mark.parametrize(
    ("least_ms", "most_ms", "text"),
    [
        (None, None, "unknown"),
        (0, 0, "within 1 s"),
        (-400, 900, "within 1 s"),
        (-3_600_000, 2_000, "between 1 h 0 min behind and 2.0 s ahead"),
        (30_000, 45_000, "30.0 s to 45.0 s ahead"),
        (-45_000, -30_000, "30.0 s to 45.0 s behind"),
        (30_000, None, "at least 30.0 s ahead"),
        (-30_000, None, "no more than 30.0 s behind"),
        (None, 30_000, "no more than 30.0 s ahead"),
        (None, -30_000, "at least 30.0 s behind"),
    ],
)
def test_what_is_known_of_a_clock_is_said_and_no_more(
    least_ms: int | None, most_ms: int | None, text: str
) -> None:
    assert clock_text(least_ms, most_ms) == text
