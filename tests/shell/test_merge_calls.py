"""Users' merge functions: called with bounds, and none of them takes the node with it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core.data.merging import Merge, Sibling
from bellande_mesh_sync.shell import merge_calls
from bellande_mesh_sync.shell.merge_calls import MergeCall


def siblings(*data: bytes) -> list[Sibling]:
    return [Sibling(each, f"v{each!r}", "author", 1, "x/y") for each in data]


class Calls:
    def __init__(self, merge: Merge) -> None:
        self.counts: Counter[str] = Counter()
        self.asked = 0

        def counted(given: Sequence[Sibling]) -> bytes:
            self.asked += 1
            return merge(given)

        self.call = MergeCall("tests:merge", counted, self._count)

    def _count(self, name: str) -> None:
        self.counts[name] += 1


def test_a_result_is_remembered_by_the_versions_that_it_is_of() -> None:
    calls = Calls(lambda given: b"+".join(sibling.data for sibling in given))
    for _ in range(3):
        assert calls.call(siblings(b"a", b"b")) == b"a+b"
    assert calls.call(siblings(b"a", b"c")) == b"a+c"
    assert calls.asked == 2
    assert not calls.counts


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merge_calls, "REMEMBERED_MAX", 2)
    calls = Calls(lambda given: given[0].data)
    for data in (b"a", b"b", b"c", b"c", b"b", b"a"):
        calls.call(siblings(data, b"x"))
    assert calls.asked == 4


def test_what_raises_or_returns_no_bytes_failed_and_is_not_asked_again_for_the_same() -> None:
    def merge(given: Sequence[Sibling]) -> bytes:
        if given[0].data == b"raise":
            raise SystemExit(2)
        return "text" if given[0].data == b"text" else bytes(2 * 1024 * 1024)  # type: ignore[return-value]

    calls = Calls(merge)
    for data in (b"raise", b"text", b"large"):
        assert calls.call(siblings(data, b"x")) is None
        assert calls.call(siblings(data, b"x")) is None
    assert calls.asked == 3
    assert calls.counts == {"merges_failed": 3}


def test_one_that_takes_too_long_is_stopped_and_left_alone_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(merge_calls, "CALL_S_MAX", 0.05)

    def merge(given: Sequence[Sibling]) -> bytes:
        while given[0].data == b"loop":
            time.sleep(0.001)
        return b"done"

    calls = Calls(merge)
    began = time.monotonic()
    assert calls.call(siblings(b"loop", b"x")) is None
    assert time.monotonic() - began < 5
    assert calls.call(siblings(b"quick", b"x")) is None
    assert calls.counts == {"merges_failed": 1, "merges_skipped": 1}
    for thread in threading.enumerate():
        if thread.name == "bms-merge":
            thread.join(10)
            assert not thread.is_alive(), "it was told to stop"
    monkeypatch.setattr(calls.call, "_rests_until", 0.0)
    assert calls.call(siblings(b"quick", b"x")) == b"done"


def test_a_function_cannot_change_what_it_is_given() -> None:
    def merge(given: Sequence[Sibling]) -> bytes:
        given.clear()  # type: ignore[attr-defined]
        return b"gone"

    calls = Calls(merge)
    given = siblings(b"a", b"b")
    assert calls.call(given) == b"gone"
    assert len(given) == 2
