"""`bms share` as people run it: processes that go on, are killed, and start again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.mesh.programs import Program, start_node, until

from .conftest import Pair, Side, settle

LIVE_S = 40.0


def same(*sides: Side) -> bool:
    first, *others = [side.tree() for side in sides]
    return all(tree == first for tree in others)


def told(program: Program, event: str, timeout_s: float = LIVE_S) -> dict[str, object]:
    """The next event of this kind; others before it are passed over."""
    deadline = time.monotonic() + timeout_s
    while True:
        said = program.line(max(0.1, deadline - time.monotonic()))
        if said["event"] == event:
            return said


def test_changes_appear_on_the_other_side_by_themselves(pair: Pair) -> None:
    left, right = pair
    left.write("before", "1")
    with left.live() as one, right.live() as other:
        told(one, "settled")
        until(lambda: same(*pair) and "before" in right.tree(), LIVE_S, "what was there is there")
        left.write("sub/new", "from the left")
        right.write("other", "from the right")
        until(lambda: same(*pair) and len(left.tree()) == 3, LIVE_S, "new files")
        (right.root / "sub").rename(right.root / "renamed")
        (left.root / "before").unlink()
        until(lambda: set(left.tree()) == set(right.tree()) == {"renamed/new", "other"}, LIVE_S, "the rest")
        for program in (one, other):
            os.kill(program.process.pid, signal.SIGINT)
            assert program.process.wait(20) == 0


def test_random_changes_on_both_sides_converge(pair: Pair) -> None:
    """Every content that was the last of its file on a side is in the end in both folders, or was replaced
    by somebody who had it."""
    rng = random.Random(7)
    with pair[0].live(), pair[1].live():
        for turn in range(60):
            side = rng.choice(pair)
            change_something(side, rng, f"{turn}")
            time.sleep(rng.choice((0, 0, 0.05, 0.3)))
        until(lambda: same(*pair), LIVE_S, "both folders are the same")
        marker = pair[0].write("marker", "last")
        until(lambda: (pair[1].root / marker.name).exists() and same(*pair), LIVE_S, "and stay so")
    settle(*pair)
    assert same(*pair)


def change_something(side: Side, rng: random.Random, text: str) -> None:
    path = rng.choice(("a", "b", "sub/c", "sub/d", "sub/deep/e"))
    target = side.root / path
    match rng.choice(("write", "write", "write", "delete", "rename", "folder", "remove-folder")):
        case "write":
            if not target.is_dir():
                side.write(path, text * rng.choice((1, 1, 1000, 200_000)))
        case "delete":
            target.unlink(missing_ok=True)
        case "rename":
            if target.is_file():
                target.rename(side.root / rng.choice(("a", "b", "r1", "r2")))
        case "folder":
            (side.root / rng.choice(("e1", "e1/e2", "e3"))).mkdir(parents=True, exist_ok=True)
        case "remove-folder":
            shutil.rmtree(side.root / rng.choice(("e1", "e3", "sub/deep")), ignore_errors=True)


def test_a_share_that_is_killed_goes_on_where_it_was(pair: Pair) -> None:
    left, right = pair
    rng = random.Random(11)
    for number in range(400):
        left.write(f"d{number % 7}/f{number}", rng.randbytes(rng.choice((10, 5_000, 300_000))))
    kills = 0
    while not same(*pair):
        assert kills < 40
        for side, wait_s in ((left, 0.7 + 0.1 * kills), (right, 0.7 + 0.1 * kills)):
            with side.live() as program:
                time.sleep(wait_s)
                program.kill()
            kills += 1
        wanted = left.tree()
        torn = [path for path, data in right.tree().items() if data is not None and data != wanted.get(path)]
        assert torn == [], "half a file, or another one's, under a name"
        if kills >= 6:
            settle(*pair)
    settle(*pair)
    assert same(*pair)
    assert len(left.tree()) == len(right.keys()) == 400


def test_a_node_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    from bellande_mesh_sync.cli.main import main

    home, root = tmp_path / "home", tmp_path / "root"
    root.mkdir()
    assert main(["init", "--home", str(home), "--name", "alone", "--mesh", "alone"]) == 0
    side = Side(home, root, "space/folder")
    side.write("a", "1")
    node, _ = start_node(home)
    with node:
        share = side.live()
        told(share, "settled")
        node.kill()
    with share:
        told(share, "waiting")
        side.write("b", "written meanwhile")
        node, _ = start_node(home)
        with node:
            assert told(share, "uploaded")["path"] == "b"
            assert side.keys() == {"a": b"1", "b": b"written meanwhile"}


def test_a_folder_that_vanishes_stops_the_share_with_an_error(side: Side) -> None:
    side.write("a", "1")
    with side.live() as share:
        told(share, "settled")
        side.root.rename(side.root.with_name("away"))
        side.root.mkdir()
        (side.root.with_name("away") / "poke").write_bytes(b"")
        assert share.process.wait(LIVE_S) == 1
    assert side.keys() == {"a": b"1"}


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [10_000, 100_000])
def test_many_small_files_are_shared_in_time(pair: Pair, count: int) -> None:
    """Files of 1 KiB; the figures are printed. A second turn reads none of them."""
    left, right = pair
    rng = random.Random(3)
    for number in range(count):
        left.write(f"d{number // 100:04}/f{number:06}", rng.randbytes(1024))
    times: dict[str, float] = {}
    turns = (("upload", left), ("upload again", left), ("download", right), ("download again", right))
    for name, each in turns:
        if each is right:
            until(lambda: has_all(right, count), 600, "the other node has them")
        start = time.monotonic()
        outcome = each.share()
        times[name] = round(time.monotonic() - start, 2)
        assert outcome.done == (0 if name.endswith("again") else count)
    print(count, times)
    assert same(*pair)


def has_all(side: Side, count: int) -> bool:
    with side.client() as client:
        return int(client.digest(side.prefix)["records"]) >= count
