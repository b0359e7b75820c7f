"""Folders shared through two real nodes, one turn after the other."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.share import sharer as sharer_module
from bellande_mesh_sync.share import transfers
from bellande_mesh_sync.share.agreed import ShareInUseError, State, state_path
from bellande_mesh_sync.share.folder import FolderLostError
from bellande_mesh_sync.share.ignores import IgnoreFileError
from bellande_mesh_sync.share.sharer import EmptiedError

from .conftest import Pair, Side, in_step, settle


def aged(*sides: Side) -> None:
    """Let files grow old enough to be taken at once."""
    time.sleep(0.06)


def test_what_one_folder_has_the_other_gets(pair: Pair) -> None:
    left, right = pair
    left.write("a.txt", "alpha")
    left.write("sub/deep/b.bin", bytes(range(256)))
    left.write("sub/r\u00e9sum\u00e9", "text")
    left.write("zero", b"")
    left.write("large", os.urandom(700_000))
    (left.root / "empty" / "inner").mkdir(parents=True)
    right.write("from-right", "r")
    settle(left, right)
    assert left.tree() == right.tree()
    assert set(left.tree()) == {
        "a.txt", "sub/deep/b.bin", "sub/r\u00e9sum\u00e9", "zero", "large", "empty/inner", "from-right"
    }  # fmt: skip


def test_a_second_turn_moves_nothing_and_reads_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = pair
    left.write("a", "1")
    left.write("large", bytes(600_000))
    settle(left, right)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was read that nobody changed")

    monkeypatch.setattr("bellande_mesh_sync.share.folder.SharedFolder.read", refuse)
    assert left.share() == (0, 0, 0)
    assert right.share() == (0, 0, 0)


def test_changes_deletes_and_renames_go_both_ways(pair: Pair) -> None:
    left, right = pair
    for name in ("a", "b", "c", "sub/d"):
        left.write(name, name)
    settle(left, right)
    left.write("a", "changed on the left")
    right.write("b", "changed on the right")
    (right.root / "c").unlink()
    (left.root / "sub").rename(left.root / "renamed")
    settle(left, right)
    assert left.tree() == right.tree() == {
        "a": b"changed on the left", "b": b"changed on the right", "renamed/d": b"sub/d"
    }  # fmt: skip
    assert left.keys() == left.tree()


def test_a_file_becomes_a_folder_and_a_folder_a_file(pair: Pair) -> None:
    left, right = pair
    left.write("a", "file")
    left.write("b/c", "in a folder")
    settle(left, right)
    (left.root / "a").unlink()
    left.write("a/inner", "now a folder")
    shutil.rmtree(left.root / "b")
    left.write("b", "now a file")
    settle(left, right)
    assert left.tree() == right.tree() == {"a/inner": b"now a folder", "b": b"now a file"}


def test_the_executable_bit_and_times_are_shared(pair: Pair) -> None:
    left, right = pair
    os.utime(left.write("run.sh", "#!/bin/sh\n"), ns=(1, 1_500_000_000_000_000_001))
    settle(left, right)
    assert (right.root / "run.sh").stat().st_mtime_ns == 1_500_000_000_000_000_001
    assert not os.access(right.root / "run.sh", os.X_OK)
    (right.root / "run.sh").chmod(0o755)
    settle(left, right)
    assert os.access(left.root / "run.sh", os.X_OK)
    (left.root / "run.sh").chmod(0o644)
    settle(left, right)
    assert not (right.root / "run.sh").stat().st_mode & 0o111


def test_a_touch_alone_sends_nothing(side: Side) -> None:
    side.write("a", "1")
    aged(side)
    side.share()
    os.utime(side.root / "a")
    aged(side)
    assert side.share().done == 0
    assert side.share().done == 0


def test_empty_folders_come_and_go(pair: Pair) -> None:
    left, right = pair
    (left.root / "a" / "b").mkdir(parents=True)
    settle(left, right)
    assert right.tree() == {"a/b": None}
    right.write("a/b/f", "no longer empty")
    settle(left, right)
    assert left.tree() == {"a/b/f": b"no longer empty"}
    assert list(left.keys()) == ["a/b/f"]
    (left.root / "a" / "b" / "f").unlink()
    settle(left, right)
    assert right.tree() == {"a/b": None}
    shutil.rmtree(left.root / "a")
    settle(left, right)
    assert right.tree() == {}
    assert right.keys() == {}


def test_many_files_come_in_one_stream_and_are_the_same(pair: Pair) -> None:
    left, right = pair
    for number in range(250):
        left.write(f"d{number % 5}/f{number}", f"{number}")
    left.write("run", "x").chmod(0o755)
    left.write("large", os.urandom(700_000))
    (left.root / "empty").mkdir()
    aged(*pair)
    left.share()
    in_step(*pair)
    right.write("d0/f0", "in the way")
    right.write("d1/f1", "1")
    aged(*pair)
    assert right.share().failed == 0
    settle(*pair)
    assert left.tree() == right.tree()
    assert os.access(right.root / "run", os.X_OK)
    assert (right.root / "d2/f2").stat().st_mtime_ns == (left.root / "d2/f2").stat().st_mtime_ns
    assert right.share() == (0, 0, 0)


def test_two_folders_that_were_the_same_already_move_nothing(pair: Pair) -> None:
    left, right = pair
    for each in pair:
        each.write("a", "same")
        each.write("large", b"x" * 600_000)
    aged(*pair)
    left.share()
    in_step(*pair)
    assert right.share().done == 0
    assert right.told("downloaded") == []


def test_what_import_and_put_wrote_becomes_files(side: Side, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "sub").mkdir(parents=True)
    (elsewhere / "sub" / "f").write_bytes(b"imported")
    with side.client() as client:
        client.put(f"{side.prefix}/put", b"put", content_type="text/plain")
    assert main(["import", str(elsewhere), "--as", side.prefix, "--home", str(side.home)]) == 0
    side.share()
    assert side.tree() == {"put": b"put", "sub/f": b"imported"}
    side.write("sub/g", "shared")
    (side.root / "empty").mkdir()
    aged(side)
    side.share()
    out = tmp_path / "out"
    assert main(["export", side.prefix, str(out), "--home", str(side.home)]) == 0
    assert (out / "sub" / "g").read_bytes() == b"shared"
    # What an export wrote for an empty folder still stands for one.
    exported = Side(side.home, out, side.prefix)
    aged(side)
    assert exported.share().done == 0


class TestLeftOut:
    def test_links_and_odd_names_are_told_and_left_alone(self, side: Side, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (side.root / "link").symlink_to(tmp_path / "secret")
        (side.root / "folder-link").symlink_to(tmp_path)
        side.write("good", "g")
        side.write("bad\x01name", "b")
        aged(side)
        side.share()
        assert side.keys() == {"good": b"g"}
        assert side.told("not_shared") == ["bad\x01name", "folder-link", "link"]
        assert (side.root / "link").is_symlink()

    def test_a_file_replaced_by_a_link_is_a_deleted_file_and_no_more(
        self, side: Side, tmp_path: Path
    ) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        side.write("a", "1")
        side.write("b", "2")
        aged(side)
        side.share()
        (side.root / "a").unlink()
        (side.root / "a").symlink_to(tmp_path / "secret")
        side.share()
        assert side.keys() == {"b": b"2"}
        with side.client() as client:
            client.put(f"{side.prefix}/a", b"from the mesh")
        assert side.share().failed == 1
        assert (tmp_path / "secret").read_bytes() == b"secret"
        assert (side.root / "a").is_symlink()

    def test_keys_that_lead_through_links_or_are_ours_write_nothing(self, side: Side, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        side.write("a", "1")
        aged(side)
        side.share()
        identity = (side.root / ".bms-share").read_bytes()
        (side.root / "link").symlink_to(outside)
        with side.client() as client:
            for name in ("link/f", ".bms-share", "sub/.bms-0123456789abcdef.part", "x" * 300):
                client.put(f"{side.prefix}/{name}", b"hostile")
        side.share()
        assert list(outside.iterdir()) == []
        assert (side.root / ".bms-share").read_bytes() == identity
        assert side.tree() == {"a": b"1"}

    def test_rules_of_the_ignore_file_hold_on_both_sides(self, pair: Pair) -> None:
        left, right = pair
        left.write(".bmsignore", "*.tmp\n/build/\n")
        left.write("a.tmp", "t")
        left.write("build/out", "o")
        left.write("kept", "k")
        settle(left, right)
        assert set(right.tree()) == {".bmsignore", "kept"}
        with left.client() as client:
            client.put(f"{left.prefix}/b.tmp", b"from elsewhere")
        settle(left, right)
        assert "b.tmp" not in right.tree()

    def test_a_new_rule_deletes_nothing(self, pair: Pair) -> None:
        left, right = pair
        left.write("a.log", "1")
        settle(left, right)
        left.write(".bmsignore", "*.log\n")
        settle(left, right)
        assert left.tree()["a.log"] == right.tree()["a.log"] == b"1"
        assert left.keys()["a.log"] == b"1"

    def test_an_ignore_file_that_cannot_be_read_stops_the_share(self, side: Side) -> None:
        side.write(".bmsignore", b"\xff\xfe")
        side.write("secret", "s")
        with pytest.raises(IgnoreFileError):
            side.share()
        assert side.keys() == {}


class TestMishaps:
    def shared(self, side: Side, count: int = 12) -> None:
        for number in range(count):
            side.write(f"f{number}", str(number))
        aged(side)
        side.share()
        assert len(side.keys()) == count

    def test_a_folder_that_is_not_the_one_deletes_nothing(self, side: Side) -> None:
        self.shared(side)
        shutil.rmtree(side.root)
        side.root.mkdir()  # As if its disk were not mounted.
        with pytest.raises(FolderLostError) as caught:
            side.share()
        assert "--start-over" in str(caught.value)
        assert len(side.keys()) == 12
        side.share(start_over=True)
        assert len(side.tree()) == 12

    def test_an_emptied_folder_deletes_nothing_unless_that_is_meant(self, side: Side) -> None:
        self.shared(side)
        for path in side.root.glob("f*"):
            path.unlink()
        with pytest.raises(EmptiedError):
            side.share()
        assert len(side.keys()) == 12
        side.share(allow_empty=True)
        assert side.keys() == {}

    def test_an_emptied_prefix_deletes_nothing_unless_that_is_meant(self, side: Side) -> None:
        self.shared(side)
        with side.client() as client:
            for entry in list(client.list(side.prefix + "/")):
                client.delete(entry.key)
        with pytest.raises(EmptiedError):
            side.share()
        assert len(side.tree()) == 12
        side.share(allow_empty=True)
        assert side.tree() == {}

    def test_sharing_the_folder_as_something_else_deletes_nothing(self, side: Side) -> None:
        self.shared(side)
        moved = Side(side.home, side.root, side.prefix + "-moved")
        moved.share()
        assert len(moved.tree()) == 12
        assert len(moved.keys()) == 12

    def test_one_folder_has_one_share_at_a_time(self, side: Side) -> None:
        self.shared(side)
        with State(state_path(side.home, str(side.root))), pytest.raises(ShareInUseError):
            side.share()

    def test_a_damaged_state_is_told(self, side: Side) -> None:
        self.shared(side)
        state_path(side.home, str(side.root)).write_bytes(b"not a database, by far" * 100)
        with pytest.raises(BellandeMeshError) as caught:
            side.share()
        assert caught.value.code == "corrupt_store"

    def test_a_lost_state_deletes_nothing(self, side: Side) -> None:
        self.shared(side)
        (side.root / "f3").unlink()
        for path in (side.home / "share").iterdir():
            path.unlink()
        side.share()
        assert len(side.tree()) == len(side.keys()) == 12

    def test_a_full_disk_loses_nothing_and_is_tried_again(
        self, side: Side, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.shared(side)
        with side.client() as client:
            client.put(f"{side.prefix}/f0", b"newer")
        real = os.fsync

        def full(fd: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("bellande_mesh_sync.share.folder.os.fsync", full)
        assert side.share().failed == 1
        assert side.told("failed") == ["f0"]
        assert side.tree()["f0"] == b"0"
        monkeypatch.setattr("bellande_mesh_sync.share.folder.os.fsync", real)
        side.share()
        assert side.tree()["f0"] == b"newer"

    def test_a_file_that_is_being_written_waits(self, side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
        side.write("a", "half")
        monkeypatch.setattr("bellande_mesh_sync.share.local_side.FRESH_NS", 10**12)
        monkeypatch.setattr("bellande_mesh_sync.share.runner.ONCE_WAIT_S", 0.0)
        assert side.share().busy == 1
        assert side.keys() == {}


class TestOneWay:
    def test_read_only_writes_no_file(self, pair: Pair) -> None:
        left, right = pair
        left.write("a", "left")
        right.write("b", "right")
        aged(*pair)
        right.share()
        in_step(*pair)
        left.share(mode="read-only")
        assert left.tree() == {"a": b"left"}
        assert left.keys() == {"a": b"left", "b": b"right"}
        assert left.told("held") == ["b"]

    def test_receive_only_writes_no_key(self, pair: Pair) -> None:
        left, right = pair
        left.write("a", "left")
        right.write("b", "right")
        aged(*pair)
        right.share()
        in_step(*pair)
        left.share(mode="receive-only")
        assert left.tree() == {"a": b"left", "b": b"right"}
        assert left.keys() == {"b": b"right"}
        assert left.told("held") == ["a"]

    def test_a_dry_run_changes_nothing_at_all(self, pair: Pair) -> None:
        left, right = pair
        left.write("a", "left")
        right.write("b", "right")
        aged(*pair)
        right.share()
        in_step(*pair)
        left.share(dry_run=True)
        assert [path.name for path in left.root.iterdir()] == ["a"]
        assert left.keys() == {"b": b"right"}
        assert left.told("would_upload") == ["a"]
        assert left.told("would_download") == ["b"]
        assert not state_path(left.home, str(left.root)).exists()


class TestRaces:
    def test_a_key_that_appears_just_before_the_upload_is_not_overwritten(
        self, side: Side, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        side.write("a", "from the folder")
        aged(side)
        real = transfers.upload_bulk

        def raced(*given: Any) -> Any:
            monkeypatch.setattr(sharer_module, "upload_bulk", real)
            with side.client() as client:
                client.put(f"{side.prefix}/a", b"quicker")
            return real(*given)

        monkeypatch.setattr(sharer_module, "upload_bulk", raced)
        side.share()
        with side.client() as client:
            entry = client.head(f"{side.prefix}/a")
        assert entry.siblings == 2  # Both are there.

    def test_a_state_that_was_written_before_a_crash_is_enough_to_go_on(
        self, side: Side, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(20):
            side.write(f"f{number:02}", str(number))
        aged(side)
        monkeypatch.setattr(sharer_module, "BATCH_FILES_MAX", 5)
        count = 0
        real = State.commit

        def crash(state: State) -> None:
            nonlocal count
            count += 1
            if count == 3:
                raise KeyboardInterrupt
            real(state)

        monkeypatch.setattr(State, "commit", crash)
        with pytest.raises(KeyboardInterrupt):
            side.share()
        monkeypatch.setattr(State, "commit", real)
        side.share()
        assert len(side.keys()) == 20
        assert side.share() == (0, 0, 0)
