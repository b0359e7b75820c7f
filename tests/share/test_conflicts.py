"""Both sides change one file: nothing is lost, both versions can be seen, and a person settles it."""

from __future__ import annotations

import time

import pytest

from bellande_mesh_sync.share.names import is_conflict_copy

from .conftest import Pair, Side, in_step, settle


def copies(side: Side) -> dict[str, bytes | None]:
    return {path: data for path, data in side.tree().items() if is_conflict_copy(path.rpartition("/")[2])}


def versions(side: Side, path: str) -> set[bytes | None]:
    """What the folder shows of a file: its own content and those of its copies."""
    return {side.tree().get(path), *copies(side).values()}


def siblings(side: Side, path: str) -> int:
    with side.client() as client:
        return client.head(f"{side.prefix}/{path}").siblings


@pytest.fixture
def torn(pair: Pair) -> Pair:
    """Both have changed `sub/plan.txt` and know of each other's change now."""
    left, right = pair
    left.write("sub/plan.txt", "agreed")
    settle(left, right)
    left.write("sub/plan.txt", "from the left")
    right.write("sub/plan.txt", "from the right")
    settle(left, right)
    return pair


def test_both_folders_show_both_versions_alike(torn: Pair) -> None:
    left, right = torn
    assert versions(left, "sub/plan.txt") == {b"from the left", b"from the right"}
    assert left.tree() == right.tree()
    (copy,) = copies(left)
    assert copy.startswith("sub/plan (conflict ")
    assert copy.endswith(".txt")
    assert ("crane-1" if copies(left)[copy] == b"from the left" else "dock-1") in copy
    # The copy is no file of its own.
    assert list(left.keys()) == ["sub/plan.txt"]
    assert siblings(left, "sub/plan.txt") == 2
    assert left.share() == right.share() == (0, 0, 0)


def test_taking_the_copy_away_settles_it_for_both(torn: Pair) -> None:
    left, right = torn
    kept = left.tree()["sub/plan.txt"]
    (copy,) = copies(right)
    (right.root / copy).unlink()
    settle(left, right)
    assert left.tree() == right.tree() == {"sub/plan.txt": kept}
    assert siblings(left, "sub/plan.txt") == 1


def test_moving_the_copy_over_the_file_chooses_it(torn: Pair) -> None:
    left, right = torn
    ((copy, chosen),) = copies(left).items()
    (left.root / copy).rename(left.root / "sub/plan.txt")
    settle(left, right)
    assert left.tree() == right.tree() == {"sub/plan.txt": chosen}
    assert siblings(right, "sub/plan.txt") == 1


def test_deleting_the_file_and_not_the_copy_chooses_the_copy(torn: Pair) -> None:
    left, right = torn
    (chosen,) = copies(left).values()
    (left.root / "sub/plan.txt").unlink()
    settle(left, right)
    assert left.tree() == right.tree() == {"sub/plan.txt": chosen}
    assert siblings(left, "sub/plan.txt") == 1


def test_deleting_both_deletes_both(torn: Pair) -> None:
    left, right = torn
    for path in (left.root / "sub").iterdir():
        path.unlink()
    settle(left, right)
    assert copies(left) == copies(right) == {}
    assert "sub/plan.txt" not in left.keys()  # noqa: SIM118
    with left.client() as client:
        assert list(client.conflicts(left.prefix)) == []


def test_writing_on_leaves_the_other_version_to_be_looked_at(torn: Pair) -> None:
    left, right = torn
    (other,) = copies(left).values()
    left.write("sub/plan.txt", "written on")
    settle(left, right)
    assert left.tree() == right.tree()
    assert versions(right, "sub/plan.txt") == {b"written on", other}


def test_a_copy_under_another_name_is_a_file_of_its_own(torn: Pair) -> None:
    left, right = torn
    ((copy, other),) = copies(left).items()
    kept = left.tree()["sub/plan.txt"]
    (left.root / copy).rename(left.root / "sub/other.txt")
    settle(left, right)
    assert left.tree() == right.tree() == {"sub/plan.txt": kept, "sub/other.txt": other}


def test_what_was_written_into_a_copy_stays(torn: Pair) -> None:
    left, right = torn
    (copy,) = copies(left)
    (left.root / copy).write_bytes(b"merged by hand, half way")
    (right.root / copy).unlink()
    settle(left, right)
    assert copies(left) == {copy: b"merged by hand, half way"}
    assert left.told("kept") == [copy]
    assert copies(right) == {}


def test_settling_it_in_the_mesh_takes_the_copies_away(torn: Pair) -> None:
    left, right = torn
    (chosen,) = copies(left).values()
    with left.client() as client:
        key = f"{left.prefix}/sub/plan.txt"
        loser = client.siblings(key).siblings[1]
        client.resolve(key, loser.version)
    settle(left, right)
    assert left.tree() == right.tree() == {"sub/plan.txt": chosen}


def test_two_new_files_of_one_name_are_a_conflict_too(pair: Pair) -> None:
    left, right = pair
    left.write("new", "left")
    right.write("new", "right")
    settle(left, right)
    assert left.tree() == right.tree()
    assert versions(left, "new") == {b"left", b"right"}


def test_a_change_outlives_a_delete_that_did_not_know_of_it(pair: Pair) -> None:
    left, right = pair
    left.write("a", "1")
    settle(left, right)
    (left.root / "a").unlink()
    right.write("a", "changed")
    settle(left, right)
    assert left.tree() == right.tree() == {"a": b"changed"}


def test_a_change_that_a_later_delete_hides_in_the_mesh_is_brought_back(pair: Pair) -> None:
    left, right = pair
    left.write("a", "1")
    settle(left, right)
    with left.client() as client:
        key = f"{left.prefix}/a"
        before = client.head(key)
        client.put(key, b"changed", context=before.context)
        client.delete(key, context=before.context)  # By somebody who has not seen the change.
        assert [entry.key for entry in client.list(key)] == []
    settle(left, right)
    assert left.tree() == right.tree() == {"a": b"changed"}


def test_the_same_change_on_both_sides_is_no_conflict(pair: Pair) -> None:
    left, right = pair
    left.write("a", "1")
    settle(left, right)
    left.write("a", "2")
    right.write("a", "2")
    settle(left, right)
    assert left.tree() == right.tree() == {"a": b"2"}
    assert siblings(left, "a") == 1


def test_three_versions_are_all_shown(pair: Pair) -> None:
    left, right = pair
    left.write("a", "1")
    settle(left, right)
    with left.client() as client:
        seen = client.head(f"{left.prefix}/a").context
        for data in (b"x", b"y", b"z"):
            client.put(f"{left.prefix}/a", data, context=seen)
    settle(left, right)
    assert left.tree() == right.tree()
    assert versions(left, "a") == {b"x", b"y", b"z"}


def test_a_restart_finds_its_copies_again(torn: Pair) -> None:
    left, right = torn
    before = left.tree()
    for path in (left.home / "share").iterdir():
        path.unlink()
    settle(left, right)
    assert left.tree() == before
    (copy,) = copies(left)
    (left.root / copy).unlink()
    settle(left, right)
    assert copies(right) == {}


def test_a_receive_only_folder_shows_conflicts_and_settles_none(torn: Pair) -> None:
    left, _ = torn
    (copy,) = copies(left)
    (left.root / copy).unlink()
    time.sleep(0.6)
    left.share(mode="receive-only")
    in_step(*torn)
    assert siblings(left, "sub/plan.txt") == 2
