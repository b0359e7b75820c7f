"""The folder's half of a share: what is found, what is written where, and what never is."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.landing import PathConflictError, UnsafePathError
from bellande_mesh_sync.share import scanning
from bellande_mesh_sync.share.folder import BusyFileError, FolderLostError, SharedFolder
from bellande_mesh_sync.share.ignores import Ignores
from bellande_mesh_sync.share.metadata import Metadata
from bellande_mesh_sync.share.names import part_name
from bellande_mesh_sync.share.scanning import Facts

MTIME_NS = 1_600_000_000_123_456_789


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def folder(root: Path) -> Iterator[SharedFolder]:
    with SharedFolder(str(root)) as folder:
        yield folder


def write(
    folder: SharedFolder,
    path: str,
    data: bytes = b"new",
    expected: Facts | None = None,
    *,
    executable: bool = False,
) -> Facts:
    with folder.replace(path, Metadata(executable, MTIME_NS), expected) as placed:
        placed.write(data)
    assert placed.facts is not None
    return placed.facts


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


class TestScan:
    def test_files_empty_folders_and_what_cannot_be_shared_are_told_apart(
        self, folder: SharedFolder, root: Path
    ) -> None:
        (root / "sub" / "empty").mkdir(parents=True)
        (root / "sub" / "f").write_bytes(b"abc")
        (root / "link").symlink_to("/etc")
        os.mkfifo(root / "pipe")
        (root / "control\x01").write_bytes(b"")
        os.mkdir(os.fsencode(root) + b"/bad\xff")
        found = folder.scan("p/", Ignores())
        assert set(found.files) == {"sub/f"}
        assert found.files["sub/f"].facts.size == 3
        assert found.empty_folders == {"sub/empty": "sub/empty"}
        assert sorted(found.folders) == ["", "sub", "sub/empty"]
        codes = {issue.path: issue.code for issue in found.issues}
        assert codes == {
            "link": "symbolic_link",
            "pipe": "not_a_file",
            "control\x01": "invalid_key",
            "bad\udcff": "invalid_key",
        }

    def test_a_key_that_would_be_too_long_is_told(self, folder: SharedFolder, root: Path) -> None:
        deep = root / ("a" * 200) / ("b" * 200)
        deep.mkdir(parents=True)
        (deep / "f").write_bytes(b"")
        assert not folder.scan("p" * 700 + "/", Ignores()).files
        assert len(folder.scan("p/", Ignores()).files) == 1

    def test_a_name_in_another_unicode_form_has_the_key_of_nfc(
        self, folder: SharedFolder, root: Path
    ) -> None:
        (root / "re\u0301sume\u0301").mkdir()
        (root / "re\u0301sume\u0301" / "e\u0301").write_bytes(b"old")
        found = folder.scan("p/", Ignores())
        assert list(found.files) == ["r\u00e9sum\u00e9/\u00e9"]
        # And what comes for that path goes into that very file.
        write(folder, "r\u00e9sum\u00e9/\u00e9", b"new", found.files["r\u00e9sum\u00e9/\u00e9"].facts)
        assert everything(root) == {"re\u0301sume\u0301/e\u0301": b"new"}

    def test_two_names_of_one_key_are_told_and_neither_is_lost(
        self, folder: SharedFolder, root: Path
    ) -> None:
        (root / "\u00e9").write_bytes(b"1")
        (root / "e\u0301").write_bytes(b"2")
        found = folder.scan("p/", Ignores())
        assert list(found.files) == ["\u00e9"]
        assert [issue.code for issue in found.issues] == ["name_collision"]

    def test_what_is_ignored_is_not_looked_into(self, folder: SharedFolder, root: Path) -> None:
        (root / "build" / "deep").mkdir(parents=True)
        (root / "build" / "deep" / "f").write_bytes(b"")
        (root / "a.tmp").write_bytes(b"")
        (root / "a (conflict crane-1 2025-11-24 160000).txt").write_bytes(b"")
        found = folder.scan("p/", Ignores(["/build/", "*.tmp"]))
        assert not found.files
        assert found.folders == [""]
        assert found.copies == {"a (conflict crane-1 2025-11-24 160000).txt"}

    def test_a_folder_that_cannot_be_read_says_nothing_of_its_files(
        self, folder: SharedFolder, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (root / "secret").mkdir()
        real = scanning.open_folder

        def refused(root_fd: int, disk_path: str) -> int:
            if disk_path == "secret":  # A mode would not stop root, who may be who runs this.
                raise PermissionError(errno.EACCES, "Permission denied")
            return real(root_fd, disk_path)

        monkeypatch.setattr(scanning, "open_folder", refused)
        found = folder.scan("p/", Ignores())
        assert found.unknown == ["secret"]

    def test_old_temporary_files_are_removed_and_new_ones_left(
        self, folder: SharedFolder, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        part = root / part_name("0123456789abcdef")
        part.write_bytes(b"half")
        folder.remove_leftovers(folder.scan("p/", Ignores()))
        assert part.exists()
        now = time.time()
        monkeypatch.setattr("bellande_mesh_sync.share.scanning.time.time", lambda: now + 3600)
        folder.remove_leftovers(folder.scan("p/", Ignores()))
        assert not part.exists()


class TestWriting:
    def test_a_file_comes_with_its_mode_and_time_and_is_known_by_its_facts(
        self, folder: SharedFolder, root: Path
    ) -> None:
        facts = write(folder, "a/b/f", b"abc", executable=True)
        status = (root / "a/b/f").stat()
        assert status.st_mtime_ns == MTIME_NS
        assert status.st_mode & 0o100
        assert folder.facts("a/b/f") == facts
        assert folder.scan("p/", Ignores()).files["a/b/f"].facts == facts

    def test_a_file_that_nobody_else_may_read_stays_so(self, folder: SharedFolder, root: Path) -> None:
        (root / "f").write_bytes(b"old")
        (root / "f").chmod(0o600)
        write(folder, "f", b"new", folder.facts("f"), executable=True)
        assert (root / "f").stat().st_mode & 0o777 == 0o700

    def test_a_file_that_changed_meanwhile_is_kept(self, folder: SharedFolder, root: Path) -> None:
        facts = write(folder, "f", b"old")
        (root / "f").write_bytes(b"theirs")
        with pytest.raises(BusyFileError):
            write(folder, "f", b"new", facts)
        with pytest.raises(BusyFileError):
            folder.delete("f", facts)
        with pytest.raises(BusyFileError):
            write(folder, "f", b"new", None)
        assert everything(root) == {"f": b"theirs"}

    def test_a_file_that_changes_while_its_successor_comes_is_kept(
        self, folder: SharedFolder, root: Path
    ) -> None:
        facts = write(folder, "f", b"old")
        writing = folder.replace("f", Metadata(False, MTIME_NS), facts)
        writing.__enter__().write(b"new")
        (root / "f").write_bytes(b"theirs")
        with pytest.raises(BusyFileError):
            writing.__exit__(None, None, None)
        assert everything(root) == {"f": b"theirs"}

    def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
        self, folder: SharedFolder, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        facts = write(folder, "f", b"old")

        def full(fd: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write(folder, "f", b"new", facts)
        assert everything(root) == {"f": b"old"}

    def test_deleting_takes_the_folders_that_are_empty_by_it(self, folder: SharedFolder, root: Path) -> None:
        facts = write(folder, "a/b/c/f")
        write(folder, "a/kept")
        folder.delete("a/b/c/f", facts)
        assert [str(p.relative_to(root)) for p in sorted(root.rglob("*"))] == ["a", "a/kept"]

    def test_empty_folders_come_and_go(self, folder: SharedFolder, root: Path) -> None:
        folder.make_folder("a/b")
        assert (root / "a/b").is_dir()
        folder.remove_folder("a/b")
        assert list(root.iterdir()) == []
        write(folder, "a/f")
        folder.remove_folder("a")
        assert (root / "a/f").exists()


class TestAttacks:
    """Keys come from whoever may write to the mesh, and links from whoever may write to the folder."""

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//x", "./x", "a/.", "..", "", "a\0b"])
    def test_no_path_leads_outside(self, folder: SharedFolder, tmp_path: Path, path: str) -> None:
        with pytest.raises(UnsafePathError):
            write(folder, path)
        assert everything(tmp_path) == {}

    def test_a_link_to_a_folder_is_not_gone_through(
        self, folder: SharedFolder, root: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(b"theirs")
        (root / "link").symlink_to(outside)
        with pytest.raises(PathConflictError):
            write(folder, "link/f")
        with pytest.raises(PathConflictError):
            write(folder, "link/new")
        assert folder.facts("link/f") is None
        folder.delete("link/f", Facts(6, 0, 0, 0, False))
        assert everything(outside) == {"f": b"theirs"}
        with pytest.raises(OSError, match="Not a directory"), folder.read("link/f"):
            pass

    def test_a_link_in_a_files_place_is_neither_read_nor_written_nor_replaced(
        self, folder: SharedFolder, root: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "target"
        target.write_bytes(b"theirs")
        (root / "f").symlink_to(target)
        with pytest.raises(PathConflictError):
            write(folder, "f")
        with pytest.raises(OSError, match="symbolic links"), folder.read("f"):
            pass
        assert target.read_bytes() == b"theirs"
        assert (root / "f").is_symlink()

    def test_a_link_swapped_in_on_the_way_gets_nothing(
        self, folder: SharedFolder, root: Path, tmp_path: Path
    ) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        write(folder, "sub/f")
        with folder.replace("sub/new", Metadata(False, MTIME_NS), None) as placed:
            os.rename(root / "sub", root / "moved")
            (root / "sub").symlink_to(outside)
            placed.write(b"new")
        # The folder that was open when it began is where it ends.
        assert everything(outside) == {}
        assert (root / "moved" / "new").read_bytes() == b"new"

    def test_a_name_that_no_disk_takes_is_refused(self, folder: SharedFolder, root: Path) -> None:
        with pytest.raises(UnsafePathError):
            write(folder, "x" * 300)
        assert everything(root) == {}


class TestIdentity:
    def test_the_folder_is_known_again(self, folder: SharedFolder, root: Path) -> None:
        identity = folder.mark()
        assert folder.identity() == identity
        folder.check(identity)
        assert ".bms-share" not in folder.scan("p/", Ignores()).files

    def test_a_folder_without_its_mark_is_not_the_one(self, folder: SharedFolder, root: Path) -> None:
        identity = folder.mark()
        (root / ".bms-share").unlink()
        with pytest.raises(FolderLostError):
            folder.check(identity)

    def test_another_folder_in_its_place_is_noticed(self, folder: SharedFolder, root: Path) -> None:
        identity = folder.mark()
        root.rename(root.with_name("away"))
        with pytest.raises(FolderLostError):
            folder.check(identity)
        root.mkdir()
        with pytest.raises(FolderLostError):
            folder.check(identity)
