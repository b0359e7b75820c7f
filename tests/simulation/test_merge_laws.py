"""The laws of merge functions: bugs of the kind that people write are found, and right ones pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import count

import pytest

from bellande_mesh_sync.core.data.merging import Merge, Sibling
from bellande_mesh_sync.sim.merge_laws import broken_law


def siblings(*data: bytes, times: Sequence[int] = ()) -> list[Sibling]:
    return [
        Sibling(each, f"v{index}", f"author {index}", times[index] if times else 1000 + index, "x/y")
        for index, each in enumerate(data)
    ]


# -- bugs


def longest_list(given: Sequence[Sibling]) -> bytes:
    return max((sibling.data for sibling in given), key=lambda data: len(json.loads(data)))


def newest_by_time(given: Sequence[Sibling]) -> bytes:
    best = given[0]
    for sibling in given[1:]:
        if sibling.time_ms > best.time_ms:  # Of two with the same time, whichever comes first.
            best = sibling
    return best.data


def mean(given: Sequence[Sibling]) -> bytes:
    return b"%d" % round(sum(int(sibling.data) for sibling in given) / len(given))


def total(given: Sequence[Sibling]) -> bytes:
    return b"%d" % sum(int(sibling.data) for sibling in given)


def joined(given: Sequence[Sibling]) -> bytes:
    return json.dumps([task for sibling in given for task in json.loads(sibling.data)]).encode()


def majority(given: Sequence[Sibling]) -> bytes:
    values = [sibling.data for sibling in given]
    return max(sorted(set(values)), key=values.count)


def flagged(given: Sequence[Sibling]) -> bytes:
    """All tasks; and if more than two disagree, somebody should look."""
    tasks = {task for sibling in given for task in json.loads(sibling.data)}
    return json.dumps(sorted(tasks | ({"look here"} if len(given) > 2 else set()))).encode()


_calls = count()


def numbered(given: Sequence[Sibling]) -> bytes:
    return b"%d" % next(_calls)


def fragile(given: Sequence[Sibling]) -> bytes:
    return bytes(json.loads(given[0].data)["state"])


def text(given: Sequence[Sibling]) -> bytes:
    return "both"  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("merge", "given", "law"),
    [
        (longest_list, siblings(b'["a"]', b'["b"]'), "commutative"),
        (newest_by_time, siblings(b"1", b"2", times=(5, 5)), "commutative"),
        (mean, siblings(b"80", b"60"), "idempotent"),
        (total, siblings(b"80", b"60"), "idempotent"),
        (joined, siblings(b'["a"]', b'["b"]'), "commutative"),
        (majority, siblings(b"a", b"b", b"b"), "idempotent"),
        (flagged, siblings(b'["a"]', b'["b"]', b'["c"]'), "associative"),
        (numbered, siblings(b"a", b"b"), "deterministic"),
        (fragile, siblings(b"[]", b"{}"), "total"),
        (text, siblings(b"a", b"b"), "total"),
    ],
)
def test_a_planted_bug_is_found(merge: Merge, given: list[Sibling], law: str) -> None:
    broken = broken_law(merge, given)
    assert broken is not None
    assert broken.law == law


# -- right ones


def union(given: Sequence[Sibling]) -> bytes:
    return json.dumps(sorted({task for sibling in given for task in json.loads(sibling.data)})).encode()


def newest(given: Sequence[Sibling]) -> bytes:
    return max(given, key=lambda sibling: (sibling.time_ms, sibling.author)).data


def lowest(given: Sequence[Sibling]) -> bytes:
    return min((sibling.data for sibling in given), key=lambda data: (int(data), data))


@pytest.mark.parametrize(
    ("merge", "given"),
    [
        (union, siblings(b'["a"]', b'["b"]', b'["a", "c"]')),
        (union, siblings(*(json.dumps([str(number)]).encode() for number in range(7)))),
        (newest, siblings(b"1", b"2", b"3", b"4", times=(5, 5, 6, 6))),
        (lowest, siblings(b"80", b"60", b"70")),
    ],
)
def test_a_right_function_passes(merge: Merge, given: list[Sibling]) -> None:
    assert broken_law(merge, given) is None


def test_what_is_told_shows_both_results() -> None:
    broken = broken_law(mean, siblings(b"80", b"60"))
    assert broken is not None
    assert broken.told == "at first: b'70'\nmerged with sibling 1, which is in it already: b'75'"
