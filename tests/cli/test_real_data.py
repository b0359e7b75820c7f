"""Values, folders and messages through a real node."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Bms

BINARY = bytes(range(256)) * 40


def test_what_was_put_is_got_byte_for_byte(bms: Bms, space: str, tmp_path: Path) -> None:
    source = tmp_path / "in.bin"
    source.write_bytes(BINARY)
    assert bms("put", f"{space}/k", "--file", str(source)).code == 0
    assert bms("get", f"{space}/k").out == BINARY
    assert bms("get", f"{space}/k", "-o", str(tmp_path / "out.bin")).code == 0
    assert (tmp_path / "out.bin").read_bytes() == BINARY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.bin", "out.bin"]


def test_a_value_larger_than_a_piece_survives_the_way(bms: Bms, space: str, tmp_path: Path) -> None:
    source = tmp_path / "in.bin"
    source.write_bytes(os.urandom(3_500_000))
    assert bms("put", f"{space}/k", "--file", str(source)).code == 0
    assert bms("get", f"{space}/k").out == source.read_bytes()


@pytest.mark.parametrize("value", ["", "v", "-5", "r\u00e9sum\u00e9", "line\nfeed"])
def test_a_value_may_stand_on_the_line(bms: Bms, space: str, value: str) -> None:
    assert bms("put", f"{space}/k", "--", value).code == 0
    got = bms("get", f"{space}/k", "--json").json
    assert got["text"] == value
    assert got["entry"]["content_type"] == "text/plain; charset=utf-8"


def test_a_value_may_come_from_standard_input(bms: Bms, space: str) -> None:
    assert bms.process("put", f"{space}/k", "--file", "-", input=BINARY).returncode == 0
    assert bms("get", f"{space}/k").out == BINARY


def test_a_value_that_is_not_text_comes_as_base64_in_json(bms: Bms, space: str) -> None:
    bms.process("put", f"{space}/k", "--file", "-", input=b"\xff\x00")
    got = bms("get", f"{space}/k", "--json").json
    assert got["base64"] == "/wA="
    assert got["entry"]["size"] == 2


def test_the_content_type_is_guessed_or_given(bms: Bms, space: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    bms("put", f"{space}/guessed", "--file", str(tmp_path / "a.json"))
    bms("put", f"{space}/given", "x", "--content-type", "text/x-mine")
    rows = [line.split("\t") for line in bms("list", f"{space}/").text.splitlines()]
    assert [(row[0], row[3]) for row in rows] == [
        (f"{space}/given", "text/x-mine"),
        (f"{space}/guessed", "application/json"),
    ]


def test_a_condition_on_the_version_is_kept(bms: Bms, space: str) -> None:
    first = bms("put", f"{space}/k", "1", "--if-version", "", "--json").json
    assert bms("put", f"{space}/k", "2", "--if-version", "", "--json").code == 6
    second = bms("put", f"{space}/k", "2", "--if-version", first["version"], "--json").json
    assert (
        bms("delete", f"{space}/k", "--if-version", first["version"], "--json").error == "precondition_failed"
    )
    assert bms("delete", f"{space}/k", "--if-version", second["version"]).code == 0
    assert bms("get", f"{space}/k", "--json").error == "not_found"


def test_each_kind_of_no_has_its_exit_code(bms: Bms, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bms("get", f"{space}/none").code == 4
    assert bms("delete", f"{space}/none").code == 4
    assert bms("put", "a//b", "v").code == 2
    assert bms("get", "../x").code == 2
    assert bms("list", "--token", "wrong").code == 5
    monkeypatch.setenv("BMS_TOKEN", "wrong")
    assert bms("list").code == 5
    assert bms("status").code == 0  # It needs no token.
    assert bms("status", "--api", "127.0.0.1:1").code == 3
    assert bms("status", home=Path("/nonexistent")).code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--token", "\u00e9"],
        ["put", "a/b", "v", "--content-type", "\u00e9"],
        ["get", "a/\udce9"],
        ["publish", "a\udce9", "text"],
        ["send", "a\udce9", "text"],
    ],
)
def test_characters_that_cannot_be_sent_are_a_usage_error(bms: Bms, arguments: list[str]) -> None:
    assert bms(*arguments).code == 2


def test_too_few_nodes_in_time_is_exit_7_or_done_alone(bms: Bms, space: str) -> None:
    # A mesh of one node is its own quorum and its own all; for `one` another node is needed.
    assert bms("put", f"{space}/k", "v", "--ack", "all").code == 0
    ran = bms("put", f"{space}/k", "v", "--ack", "one", "--timeout", "0.2", "--json")
    assert ran.code in (0, 7)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["nodes"],
        ["nodes", "--state", "alive"],
        ["stats"],
        ["health"],
        ["list"],
        ["list", "nothing/here"],
    ],
)
def test_with_json_standard_output_is_one_document(bms: Bms, arguments: list[str]) -> None:
    ran = bms(*arguments, "--json")
    assert ran.code == 0
    assert ran.text.count("\n") == 1
    assert isinstance(ran.json, dict)
    assert ran.err == ""


def test_looking_shows_what_the_node_says(bms: Bms) -> None:
    status = bms("status", "--json").json
    assert (status["name"], status["mesh"], status["state"]) == ("crane-1", "harbour", "running")
    assert f"node\t{status['node']}\n" in bms("status").text
    assert bms("nodes").text.split("\t")[:3] == ["crane-1", status["node"], "alive"]
    assert [node["node"] for node in bms("nodes", "--json").json["nodes"]] == [status["node"]]
    assert bms("stats", "--json").json["node"] == status["node"]
    assert all(line.split("\t")[1] == "ok" for line in bms("health").text.splitlines())


def test_listing_follows_prefix_and_limit(bms: Bms, space: str) -> None:
    for name in ("a", "b", "c"):
        bms("put", f"{space}/{name}", name)
    assert [line.split("\t")[0] for line in bms("list", f"{space}/").text.splitlines()] == [
        f"{space}/a",
        f"{space}/b",
        f"{space}/c",
    ]
    assert len(bms("list", f"{space}/", "--limit", "2", "--json").json["entries"]) == 2
    assert bms("list", f"{space}/nothing").text == ""


def test_messages_are_sent(bms: Bms) -> None:
    assert bms("broadcast", "hello").code == 0
    assert bms("publish", "alerts/fire", "hall 3", "--json").json["nodes"] == 0
    assert bms("send", "nobody", "hello", "--json").error == "not_found"


def start_watch(bms: Bms, *arguments: str) -> subprocess.Popen[str]:
    """`bms watch` that misses nothing any more."""
    command = [*COMMAND, "--home", str(bms.home), "watch", *arguments]
    watch = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert watch.stderr is not None
    assert watch.stderr.readline().startswith("watching")
    return watch


def test_a_watch_tells_changes_and_ends_at_ctrl_c(bms: Bms, space: str) -> None:
    with start_watch(bms, f"{space}/") as watch:
        assert watch.stdout is not None
        bms("put", f"{space}/k", "abc")
        assert watch.stdout.readline().split("\t")[:3] == ["put", f"{space}/k", "3"]
        bms("delete", f"{space}/k")
        assert watch.stdout.readline().split("\t")[:3] == ["delete", f"{space}/k", "-"]
        os.kill(watch.pid, signal.SIGINT)
        assert watch.wait(20) == 0
        assert watch.stdout.read() == ""


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_watch_with_a_cursor_file_goes_on_where_it_was(bms: Bms, space: str, tmp_path: Path) -> None:
    kept = tmp_path / "seen"
    with start_watch(bms, f"{space}/", "--cursor-file", str(kept)) as watch:
        assert watch.stdout is not None
        until(kept.exists)
        before = kept.read_text()
        assert bms("put", f"{space}/k", "one").code == 0
        assert watch.stdout.readline().split("\t")[:2] == ["put", f"{space}/k"]
        until(lambda: kept.read_text() != before)
        watch.kill()
    assert bms("put", f"{space}/missed", "x").code == 0
    assert bms("delete", f"{space}/k").code == 0
    with start_watch(bms, f"{space}/", "--cursor-file", str(kept)) as watch:
        assert watch.stdout is not None
        lines = sorted(watch.stdout.readline().split("\t")[:2] for _ in range(2))
        assert lines == [["delete", f"{space}/k"], ["put", f"{space}/missed"]]
        watch.kill()
    with start_watch(bms, f"{space}/", "--cursor", "") as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().split("\t")[:2] == ["put", f"{space}/missed"]
        watch.kill()
    refused = bms.process("watch", "--cursor", "nonsense", "--json")
    assert (refused.returncode, json.loads(refused.stderr)["error"]["code"]) == (2, "usage")


def test_a_watch_ends_when_its_reader_goes_even_if_nothing_changes(bms: Bms, space: str) -> None:
    with start_watch(bms, f"{space}/") as watch:
        assert watch.stdout is not None
        watch.stdout.close()
        assert watch.wait(20) == 0


def test_a_reader_that_has_enough_is_no_failure(bms: Bms, space: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 2_000_000)
    bms("put", f"{space}/k", "--file", str(tmp_path / "f"))
    command = f"set -o pipefail; {' '.join(COMMAND)} --home {bms.home} get {space}/k | head -c 1"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"x", b"")


def test_a_download_that_fails_leaves_the_old_file(bms: Bms, space: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    assert bms("get", f"{space}/none", "-o", str(tmp_path / "f")).code == 4
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("f", b"old")]


def test_a_download_into_a_device_leaves_it_a_device(bms: Bms, space: str) -> None:
    bms("put", f"{space}/k", "v")
    assert bms("get", f"{space}/k", "-o", os.devnull).code == 0
    assert Path(os.devnull).is_char_device()


def test_a_download_into_a_folder_is_refused(bms: Bms, space: str, tmp_path: Path) -> None:
    bms("put", f"{space}/k", "v")
    ran = bms("get", f"{space}/k", "-o", str(tmp_path))
    assert (ran.code, ran.out) == (1, b"")
    assert str(tmp_path) in ran.err


def on_terminal(bms: Bms, *arguments: str) -> tuple[int, str]:
    """What a person sees, and the exit code."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--home", str(bms.home), *arguments]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "LINES": "50"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as child:
        os.close(theirs)
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


def test_a_terminal_is_not_given_bytes_that_are_no_text(bms: Bms, space: str) -> None:
    for number, value in enumerate((b"\x1b[2Jboo", b"\xff\xfe", b"a\0b")):
        bms.process("put", f"{space}/{number}", "--file", "-", input=value)
        code, seen = on_terminal(bms, "get", f"{space}/{number}")
        assert code == 2
        assert "-o FILE" in seen
        assert "\x1b[2J" not in seen


def test_a_terminal_sees_text_tables_and_coloured_errors(bms: Bms, space: str) -> None:
    bms("put", f"{space}/k", "r\u00e9sum\u00e9")
    assert on_terminal(bms, "get", f"{space}/k") == (0, "r\u00e9sum\u00e9\n")
    code, seen = on_terminal(bms, "list", f"{space}/")
    assert code == 0
    assert "KEY" in seen
    assert "\x1b[" in seen
    assert on_terminal(bms, "get", f"{space}/none")[1].startswith("\x1b[31merror (not_found)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that may be found in one."""
    root = tmp_path / "folder"
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "empty-folder").mkdir()
    (root / "zero").write_bytes(b"")
    (root / "sub" / "r\u00e9sum\u00e9.txt").write_text("text")
    (root / "sub" / "with space & [brackets]").write_bytes(b"1")
    (root / "sub" / "deeper" / "large.bin").write_bytes(os.urandom(700_000))
    for number in range(30):
        (root / "sub" / f"f{number}").write_bytes(BINARY[: number * 100])
    (root / "loop").symlink_to(root)
    (root / "link").symlink_to(root / "zero")
    return root


def files_below(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_a_folder_goes_in_and_comes_out_the_same(bms: Bms, space: str, folder: Path, tmp_path: Path) -> None:
    summary = bms("import", str(folder), "--as", f"{space}/deep", "--json").json
    wanted = files_below(folder)
    assert summary["files"] == len(wanted)
    assert summary["bytes"] == sum(map(len, wanted.values()))
    assert summary["skipped"] == {"links": 2, "specials": 0}
    assert (summary["failed"], summary["failures"]) == (0, [])
    assert len(bms("list", f"{space}/deep/", "--json").json["entries"]) == len(wanted)
    out = tmp_path / "out"
    assert bms("export", f"{space}/deep", str(out), "--json").json["files"] == len(wanted)
    assert files_below(out) == wanted
    # Once more over what is there: the same again.
    assert bms("export", f"{space}/deep/", str(out)).code == 0
    assert files_below(out) == wanted


def test_a_pipe_gets_one_line_of_summary_and_warnings_go_to_stderr(
    bms: Bms, space: str, folder: Path
) -> None:
    ran = bms("import", str(folder), "--as", space)
    assert ran.code == 0
    assert ran.text.count("\n") == 1
    assert ran.text.startswith(f"imported {len(files_below(folder))} files, ")
    assert "skipped 2; failed 0" in ran.text
    assert "2 symbolic links" in ran.err


def test_many_small_files_take_several_batches(
    bms: Bms, space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellande_mesh_sync.cli.importing.BATCH_FILES_MAX", 7)
    for number in range(20):
        (tmp_path / str(number)).write_bytes(b"x" * (300_000 if number % 9 == 8 else number))
    assert bms("import", str(tmp_path), "--as", space, "--json").json["files"] == 20
    assert len(bms("list", f"{space}/", "--json").json["entries"]) == 20


def test_what_cannot_be_imported_is_listed_and_the_rest_is_imported(
    bms: Bms, space: str, tmp_path: Path
) -> None:
    (tmp_path / "good").write_bytes(b"g")
    (tmp_path / "bad\tname").write_bytes(b"b")
    ran = bms("import", str(tmp_path), "--as", space, "--json")
    assert ran.code == 1
    assert (ran.json["files"], ran.json["failed"]) == (1, 1)
    (failure,) = ran.json["failures"]
    assert failure["code"] == "invalid_key"
    assert bms("get", f"{space}/good").out == b"g"
    assert "failed (invalid_key): " in bms("import", str(tmp_path), "--as", space).err


@pytest.mark.parametrize("size", [10, 600_000])
def test_a_file_that_changes_while_it_is_read_is_reported_and_not_written(
    size: int, bms: Bms, space: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "quiet").write_bytes(b"q")
    moving = tmp_path / "moving"
    moving.write_bytes(b"m" * size)
    real = os.fstat

    def fstat_late(fd: int) -> os.stat_result:
        status = real(fd)
        if status.st_ino == real_inode:
            with moving.open("ab") as file:  # Another byte each time somebody looks.
                file.write(b"!")
        return status

    real_inode = moving.stat().st_ino
    monkeypatch.setattr("bellande_mesh_sync.cli.reading.os.fstat", fstat_late)
    ran = bms("import", str(tmp_path), "--as", space, "--json")
    assert ran.code == 1
    assert [(f["code"], Path(f["path"]).name) for f in ran.json["failures"]] == [("file_changed", "moving")]
    assert bms("get", f"{space}/moving", "--json").error == "not_found"
    assert bms("get", f"{space}/quiet").out == b"q"


def test_importing_an_empty_folder_is_done_at_once(bms: Bms, space: str, tmp_path: Path) -> None:
    assert bms("import", str(tmp_path), "--as", space, "--json").json["files"] == 0


def test_importing_without_a_good_token_is_denied(bms: Bms, space: str, folder: Path) -> None:
    assert bms("import", str(folder), "--as", space, "--token", "wrong", "--json").error == "unauthorized"


def test_importing_under_no_key_is_a_usage_error(bms: Bms, folder: Path) -> None:
    assert bms("import", str(folder), "--as", "a//b").code == 2


def test_exporting_nothing_is_not_found_and_leaves_no_folder(bms: Bms, space: str, tmp_path: Path) -> None:
    assert bms("export", f"{space}/nothing", str(tmp_path / "out"), "--json").error == "not_found"
    assert not (tmp_path / "out").exists()


def test_a_key_that_is_a_file_and_a_folder_is_a_conflict_that_is_told(
    bms: Bms, space: str, tmp_path: Path
) -> None:
    for key in ("a", "a/b", "c"):
        bms("put", f"{space}/{key}", key)
    ran = bms("export", space, str(tmp_path / "out"), "--json")
    assert ran.code == 1
    assert [(f["code"], f["path"]) for f in ran.json["failures"]] == [("path_conflict", f"{space}/a/b")]
    assert files_below(tmp_path / "out") == {"a": b"a", "c": b"c"}


def test_an_export_takes_only_what_is_below_the_prefix(bms: Bms, space: str, tmp_path: Path) -> None:
    for key in ("p", "p/in", "pp/out"):
        bms("put", f"{space}/{key}", "v")
    assert bms("export", f"{space}/p", str(tmp_path / "out")).code == 0
    assert files_below(tmp_path / "out") == {"in": b"v"}


def test_an_export_does_not_follow_links_out_of_its_folder(bms: Bms, space: str, tmp_path: Path) -> None:
    bms("put", f"{space}/a/f", "v")
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "outside")
    assert bms("export", space, str(tmp_path / "out")).code == 1
    assert list((tmp_path / "outside").iterdir()) == []


def test_a_terminal_sees_the_summary_after_the_bar(
    bms: Bms, space: str, folder: Path, tmp_path: Path
) -> None:
    code, seen = on_terminal(bms, "import", str(folder), "--as", space)
    assert code == 0
    assert "files" in seen
    assert "failed 0" in seen.splitlines()[-1]
    assert on_terminal(bms, "export", space, str(tmp_path / "out"))[0] == 0
    assert files_below(tmp_path / "out") == files_below(folder)


def test_an_invitation_can_be_asked_of_a_running_node(bms: Bms) -> None:
    http = bms("status", "--json").json["http"]
    token = (bms.home / "admin.token").read_text().strip()
    made = bms("invite", "--api", http, "--token", token, "--uses", "2", "--json").json
    assert made["token"].startswith("bms1")
    assert made["uses"] == 2
    assert json.loads(bms("invite", "--json").out)["token"].startswith("bms1")
