"""Names, metadata in content types, and rules for what is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.arguments import content_type_of
from bellande_mesh_sync.share.ignores import IGNORE_BYTES_MAX, IgnoreFileError, Ignores
from bellande_mesh_sync.share.metadata import Metadata, metadata_of, with_metadata
from bellande_mesh_sync.share.names import (
    IDENTITY_FILE,
    copy_path,
    folder_of_mark,
    is_conflict_copy,
    is_own,
    mark_of,
    part_name,
)

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs", "Cc"]), min_size=1)


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        ("a/plan.txt", "a/plan (conflict crane-1 2025-11-24 160000).txt"),
        ("README", "README (conflict crane-1 2025-11-24 160000)"),
        (".profile", ".profile (conflict crane-1 2025-11-24 160000)"),
        ("a.d/b", "a.d/b (conflict crane-1 2025-11-24 160000)"),
        ("x.tar.gz", "x.tar (conflict crane-1 2025-11-24 160000).gz"),
    ],
)
def test_a_conflict_copy_stands_beside_its_file_with_its_extension(path: str, copy: str) -> None:
    assert copy_path(path, "crane-1", 1_764_000_000_000) == copy


@given(
    name=NAMES,
    node=st.text(),
    time_ms=st.integers(0, 4_000_000_000_000),
    sequence=st.integers(0, 2**40 - 1),
)
def test_a_conflict_copy_is_known_by_its_name_and_is_no_path(
    name: str, node: str, time_ms: int, sequence: int
) -> None:
    copy = copy_path(f"folder/{name}", node, time_ms, sequence)
    assert copy.count("/") == 1
    assert is_conflict_copy(copy.partition("/")[2])
    assert len(copy.partition("/")[2].encode()) <= 255


@pytest.mark.parametrize("name", [IDENTITY_FILE, part_name("0123456789abcdef"), ".bms-folder"])
def test_the_share_knows_its_own_files(name: str) -> None:
    assert is_own(name)


@pytest.mark.parametrize("name", ["a", ".bmsignore", ".bms-share2", "note (conflict).txt", ".bms-xyz.part"])
def test_files_of_others_are_shared(name: str) -> None:
    assert not is_own(name)


def test_the_mark_of_an_empty_folder_names_it() -> None:
    assert folder_of_mark(mark_of("a/b")) == "a/b"
    assert folder_of_mark("a/b") == ""


@given(executable=st.booleans(), mtime_ns=st.none() | st.integers(-(2**62), 2**62))
def test_metadata_comes_back_from_a_content_type(executable: bool, mtime_ns: int | None) -> None:
    text = with_metadata("text/plain; charset=utf-8", Metadata(executable, mtime_ns))
    assert content_type_of(text) == text
    assert metadata_of(text) == (executable, mtime_ns)


@given(text=st.text())
def test_any_content_type_can_be_read(text: str) -> None:
    metadata_of(text)


@pytest.mark.parametrize(
    ("text", "executable"),
    [
        ("text/plain", False),
        ("text/plain; bms-mode=644", False),
        ("text/plain;bms-mode=0755", True),
        ("text/plain; bms-mode=4755", True),
        ("text/plain; bms-mode=999", False),
        ("text/plain; bms-mode=75577", False),
        ("text/plain; x-bms-mode=755", False),
    ],
)
def test_only_the_right_to_execute_is_taken_from_a_mode(text: str, executable: bool) -> None:
    assert metadata_of(text).executable is executable


def test_a_content_type_is_never_too_long_for_its_metadata() -> None:
    assert with_metadata("a/" + "b" * 250, Metadata(True, 0)).startswith("application/octet-stream;")


def test_rules_are_those_of_gitignore() -> None:
    ignores = Ignores.of_bytes(b"# a comment\n*.tmp\n/build/\n!keep.tmp\nsub/*.log\n")
    assert ignores.skips("a/x.tmp")
    assert not ignores.skips("keep.tmp")
    assert ignores.skips("build", is_folder=True)
    assert not ignores.skips("build")
    assert ignores.skips_below("build/deep/file")
    assert ignores.skips("sub/a.log")
    assert not ignores.skips("a.log")
    assert not ignores.skips(".bmsignore")


def test_our_own_files_are_skipped_without_any_rule() -> None:
    assert Ignores().skips("a/" + part_name("0123456789abcdef"))
    assert Ignores().skips_below(f"{IDENTITY_FILE}/x")
    assert not Ignores().skips("a")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (IGNORE_BYTES_MAX + 1)])
def test_rules_that_cannot_be_read_are_an_error_rather_than_no_rules(content: bytes) -> None:
    with pytest.raises(IgnoreFileError):
        Ignores.of_bytes(content)
