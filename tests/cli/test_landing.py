"""Where `bms export` puts files: whole, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.landing import (
    Landing,
    PathConflictError,
    UnsafePathError,
    relative_segments,
)


def land(root: Path, key: str, content: bytes = b"x", prefix: str = "p") -> None:
    with Landing(str(root)) as landing, landing.file(relative_segments(key, prefix)) as file:
        file.write(content)


def files_below(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("key", "prefix", "segments"),
    [
        ("p/a/b", "p", ["a", "b"]),
        ("p/a", "p/", ["a"]),
        ("a/b", "", ["a", "b"]),
        ("p/q/r\u00e9", "p/q", ["r\u00e9"]),
    ],
)
def test_the_way_to_a_file_is_what_follows_the_prefix(key: str, prefix: str, segments: list[str]) -> None:
    assert relative_segments(key, prefix) == segments


@pytest.mark.parametrize(
    "key",
    [
        "p/..",
        "p/../x",
        "p/a/../../x",
        "p//etc/passwd",
        "p/",
        "p/.",
        "p/a/",
        "p/a\0b",
        "/etc/passwd",
        "q/a",
        "p",
        "pa",
    ],
)
def test_a_key_that_could_lead_elsewhere_is_refused(key: str) -> None:
    with pytest.raises(UnsafePathError):
        relative_segments(key, "p")


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    land(root, "p/a/b/c", b"123")
    assert files_below(root) == {"a/b/c": b"123"}


def _write_half(landing: Landing) -> None:
    with landing.file(["f"]) as file:
        file.write(b"half")
        raise RuntimeError


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with Landing(str(tmp_path)) as landing, pytest.raises(RuntimeError):
        _write_half(landing)
    assert files_below(tmp_path) == {"f": b"old"}


def test_a_link_to_a_folder_below_the_root_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "a").symlink_to(outside)
    with pytest.raises(PathConflictError, match="symbolic link"):
        land(root, "p/a/f")
    assert list(outside.iterdir()) == []


def test_a_link_in_a_files_place_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_bytes(b"mine")
    (root / "f").symlink_to(outside)
    land(root, "p/f", b"new")
    assert outside.read_bytes() == b"mine"
    assert (root / "f").read_bytes() == b"new"
    assert not (root / "f").is_symlink()


def test_a_key_below_a_file_is_a_conflict(tmp_path: Path) -> None:
    land(tmp_path, "p/a", b"file")
    with pytest.raises(PathConflictError, match="file of this name"):
        land(tmp_path, "p/a/b")
    assert files_below(tmp_path) == {"a": b"file"}


def test_a_key_where_a_folder_stands_is_a_conflict(tmp_path: Path) -> None:
    land(tmp_path, "p/a/b", b"x")
    with pytest.raises(PathConflictError, match="folder of this name"):
        land(tmp_path, "p/a")
    assert files_below(tmp_path) == {"a/b": b"x"}


def test_the_root_may_be_a_link_because_a_person_named_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    land(tmp_path / "link", "p/f")
    assert files_below(tmp_path / "real") == {"f": b"x"}


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    land(tmp_path, "p/a/b/c")
    with pytest.raises(PathConflictError):
        land(tmp_path, "p/a/b")
    assert len(os.listdir("/dev/fd")) == before
