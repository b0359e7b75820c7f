"""The count of bytes and round trips, at a size for every day: the goals hold for few records as for many."""

from __future__ import annotations

import pytest

from bench import in_step
from bench.core_pair import CorePair
from bench.filling import values_of, write_of


def test_its_goals_hold_at_a_small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_step, "RECORDS", 3_000)
    monkeypatch.setattr(in_step, "DIFFERENT", 100)
    report = in_step.run(1)
    assert [figure.name for figure in report.figures if figure.is_met is False] == []


def test_nodes_in_step_say_as_little_about_many_records_as_about_few() -> None:
    sizes = []
    for count in (10, 5_000):
        pair = CorePair(in_step.filled(count))
        pair.link()
        sizes.append(pair.bytes_total)
    assert sizes[1] - sizes[0] < 20  # Larger numbers, and no more of them.


def test_what_crosses_is_counted_with_what_crossed_beside_it() -> None:
    pair = CorePair(in_step.filled(10))
    pair.halves[0].write([write_of(f"bench/small/new{number}", values_of(50, 1)()) for number in range(7)])
    pair.link()
    assert pair.record_count == 7
    assert pair.record_bytes > 7 * 50
    assert pair.bytes_total > pair.record_bytes
    assert pair.trips == 3  # Both tell what they have; one asks; the other answers.
    assert len(pair.halves[1].store.scan("bench/", "", 100).entries) == 17
