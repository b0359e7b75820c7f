"""What `bms import` finds in a folder, and what it says about the rest."""

from __future__ import annotations

import errno
import itertools
import os
import sys
import tracemalloc
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.walk import Found, Problem, Walk

E_COMPOSED = "caf\u00e9"
E_DECOMPOSED = "cafe\u0301"

needs_raw_names = pytest.mark.skipif(sys.platform == "darwin", reason="the file system normalises names")


def walk(root: Path, prefix: str = "p") -> tuple[dict[str, bytes], list[Problem], Walk]:
    """Everything found, with the bytes read while the walk allows it."""
    walked = Walk(str(root), prefix)
    found: dict[str, bytes] = {}
    problems = []
    for item in walked:
        if isinstance(item, Problem):
            problems.append(item)
        else:
            with open(item.open(), "rb") as file:
                found[item.key] = file.read()
    return found, problems, walked


def test_regular_files_are_found_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "top").write_bytes(b"1")
    (tmp_path / "a" / "b" / "deep").write_bytes(b"2")
    found, problems, _ = walk(tmp_path)
    assert found == {"p/top": b"1", "p/a/b/deep": b"2"}
    assert problems == []


def test_a_trailing_slash_of_the_prefix_makes_no_difference(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    assert list(walk(tmp_path, "p/q/")[0]) == list(walk(tmp_path, "p/q")[0]) == ["p/q/f"]


def test_without_a_prefix_keys_start_with_the_folders_own_names(tmp_path: Path) -> None:
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "f").write_bytes(b"")
    assert list(walk(tmp_path, "")[0]) == ["space/f"]


def test_empty_files_count_and_empty_folders_do_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero").write_bytes(b"")
    assert walk(tmp_path)[0] == {"p/zero": b""}


def test_an_empty_folder_has_nothing(tmp_path: Path) -> None:
    assert walk(tmp_path)[:2] == ({}, [])


def test_links_are_counted_and_never_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root)
    (root / "away").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "broken").symlink_to(root / "nothing")
    found, problems, walked = walk(root)
    assert (found, problems) == ({}, [])
    assert walked.skipped.links == 4


def test_the_folder_that_was_named_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "f").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert walk(tmp_path / "link")[0] == {"p/f": b"x"}


def test_pipes_and_sockets_are_counted_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found, problems, walked = walk(tmp_path)
    assert (found, problems, walked.skipped.specials) == ({}, [], 1)


@needs_raw_names
def test_names_become_nfc(tmp_path: Path) -> None:
    (tmp_path / E_DECOMPOSED).mkdir()
    (tmp_path / E_DECOMPOSED / E_DECOMPOSED).write_bytes(b"x")
    assert walk(tmp_path)[0] == {f"p/{E_COMPOSED}/{E_COMPOSED}": b"x"}


@needs_raw_names
def test_two_files_with_one_key_are_both_named_and_neither_is_taken(tmp_path: Path) -> None:
    (tmp_path / E_DECOMPOSED).write_bytes(b"1")
    (tmp_path / E_COMPOSED).write_bytes(b"2")
    (tmp_path / "other").write_bytes(b"3")
    found, problems, _ = walk(tmp_path)
    assert found == {"p/other": b"3"}
    (problem,) = problems
    assert problem.code == "name_collision"
    text = problem.path + problem.reason
    assert ascii(E_COMPOSED)[1:-1] in text
    assert ascii(E_DECOMPOSED)[1:-1] in text


@needs_raw_names
def test_folders_whose_names_become_one_are_read_as_one(tmp_path: Path) -> None:
    for folder, name in (
        (E_DECOMPOSED, "one"),
        (E_COMPOSED, "two"),
        (E_DECOMPOSED, "both"),
        (E_COMPOSED, "both"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_bytes(name.encode())
    found, problems, _ = walk(tmp_path)
    assert found == {f"p/{E_COMPOSED}/one": b"one", f"p/{E_COMPOSED}/two": b"two"}
    assert [problem.code for problem in problems] == ["name_collision"]


@needs_raw_names
def test_a_name_that_is_no_key_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    (tmp_path / "tab\there").write_bytes(b"")
    (tmp_path / "line\nfeed").mkdir()
    (tmp_path / "line\nfeed" / "inside").write_bytes(b"")
    with open(os.fsencode(tmp_path) + b"/latin-\xe9", "wb"):
        pass
    (tmp_path / "good").write_bytes(b"g")
    found, problems, _ = walk(tmp_path)
    assert found == {"p/good": b"g"}
    assert len(problems) == 3
    assert {problem.code for problem in problems} == {"invalid_key"}


def test_a_path_longer_than_a_key_is_reported_once_and_not_entered(tmp_path: Path) -> None:
    folder = tmp_path
    for _ in range(5):
        folder = folder / ("d" * 250)
    folder.mkdir(parents=True)
    (folder / "f").write_bytes(b"")
    found, problems, _ = walk(tmp_path)
    assert found == {}
    assert [problem.code for problem in problems] == ["invalid_key"]
    assert "1024" in problems[0].reason


def test_an_unreadable_folder_is_reported_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "f").write_bytes(b"x")
    real = os.open

    def refuse(path: str, *args: int, **named: int) -> int:
        if path == "closed":  # Modes would not keep root out.
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path, *args, **named)

    monkeypatch.setattr("bellande_mesh_sync.cli.walk.os.open", refuse)
    found, problems, _ = walk(tmp_path)
    assert found == {"p/f": b"x"}
    assert [(problem.code, Path(problem.path).name) for problem in problems] == [("unreadable", "closed")]


def test_a_file_that_became_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    for item in Walk(str(tmp_path), "p"):
        assert isinstance(item, Found)
        (tmp_path / "f").unlink()
        (tmp_path / "f").symlink_to("/etc/passwd")
        with pytest.raises(OSError, match="symbolic"):
            item.open()


def test_a_folder_that_vanishes_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    real = os.open

    def open_late(path: str, *args: int, **named: int) -> int:
        if path == "gone":
            (tmp_path / "gone").rmdir()
        return real(path, *args, **named)

    monkeypatch.setattr("bellande_mesh_sync.cli.walk.os.open", open_late)
    _, problems, _ = walk(tmp_path)
    assert [problem.code for problem in problems] == ["unreadable"]


def test_a_root_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        walk(tmp_path / "nothing")


def test_descriptors_are_closed_when_the_walk_is_left_early(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_bytes(b"")
    before = len(os.listdir("/dev/fd"))
    items = iter(Walk(str(tmp_path), "p"))
    next(items)
    del items
    assert len(os.listdir("/dev/fd")) == before


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    for number in range(3000):
        (tmp_path / f"f{number}").touch()
    tracemalloc.start()
    try:
        for _ in itertools.islice(Walk(str(tmp_path), "p"), 10):
            pass
        early = tracemalloc.get_traced_memory()[1]
        assert sum(1 for _ in Walk(str(tmp_path), "p")) == 3000
        late = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert late < early + 100_000
