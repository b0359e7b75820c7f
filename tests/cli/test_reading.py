"""Files that change while they are read are noticed, and never sent as if they were whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.cli import reading
from bellande_mesh_sync.cli.reading import FileChangedError, NotAFileError, SteadyFile, guess_type


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PIECE_BYTES", 4)


def drain(pieces: Iterator[bytes]) -> bytes:
    """What a receiver got until the pieces ended or failed."""
    got = b""
    try:
        for piece in pieces:
            got += piece
    except FileChangedError:
        got += b"!"
    return got


def read(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return drain(SteadyFile(file, str(path)).pieces(lambda files, size: None))


@pytest.mark.parametrize("content", [b"", b"a", b"abcd", b"abcde", b"abcdefgh", b"abcdefghi"])
def test_a_quiet_file_comes_whole(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    assert read(tmp_path / "f") == content


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abcdefghij")
    counted: list[int] = []
    with (tmp_path / "f").open("rb") as file:
        list(SteadyFile(file, "f").pieces(lambda files, size: counted.append(size)))
    assert sum(counted) == 10


@pytest.mark.parametrize("change", ["grow", "shrink", "rewrite"])
@pytest.mark.parametrize("after_pieces", [0, 1])
def test_a_file_that_changes_never_comes_whole(change: str, after_pieces: int, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"abcdefghij")
    os.utime(path, ns=(1, 1))
    with path.open("rb", buffering=0) as file:
        steady = SteadyFile(file, str(path))
        pieces = steady.pieces(lambda files, size: None)
        got = b"".join(next(pieces) for _ in range(after_pieces))
        if change == "grow":
            with path.open("ab") as other:
                other.write(b"more")
        elif change == "shrink":
            os.truncate(path, 6)
        else:
            path.write_bytes(b"ABCDEFGHIJ")
        got += drain(pieces)
    assert got.endswith(b"!")
    assert len(got) - 1 < steady.size


def test_what_is_no_regular_file_is_refused() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as file, pytest.raises(NotAFileError):
        SteadyFile(file, "pipe")
    os.close(write_end)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.txt", "text/plain"),
        ("a.JSON", "application/json"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a", "application/octet-stream"),
        ("a.no-such-type", "application/octet-stream"),
    ],
)
def test_types_are_guessed_from_names(name: str, content_type: str) -> None:
    assert guess_type(name) == content_type


def test_standard_input_is_passed_on_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(b"abcdef"))

    monkeypatch.setattr("sys.stdin", Stdin)
    assert b"".join(reading.stdin_pieces(lambda files, size: None)) == b"abcdef"
