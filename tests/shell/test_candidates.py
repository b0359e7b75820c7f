"""What was heard stays bounded, and nothing is reported twice in a row."""

from __future__ import annotations

from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.shell.candidates import NAMES_MAX, REPORTED_MAX, Candidates


def found(number: int) -> Found:
    return Found(None, (f"10.0.{number // 256}.{number % 256}:8000",))


def test_the_latest_name_is_looked_up_first_and_each_once() -> None:
    candidates = Candidates()
    for name in ("a", "b", "c", "a"):
        candidates.hear(name)
    assert [candidates.take() for _ in range(4)] == ["a", "c", "b", None]


def test_a_flood_of_names_pushes_out_the_oldest() -> None:
    candidates = Candidates()
    for number in range(10_000):
        candidates.hear(f"name {number}")
    assert len(candidates) == NAMES_MAX
    taken = [candidates.take() for _ in range(NAMES_MAX)]
    assert taken[0] == "name 9999"
    assert taken[-1] == f"name {10_000 - NAMES_MAX}"


def test_the_same_is_reported_again_only_after_30_seconds() -> None:
    candidates = Candidates()
    reported = [at for at in range(100) if candidates.is_news(found(1), float(at))]
    assert reported == [0, 30, 60, 90]


def test_other_addresses_of_the_same_node_are_news() -> None:
    candidates = Candidates()
    assert candidates.is_news(found(1), 0.0)
    assert candidates.is_news(found(2), 1.0)
    assert not candidates.is_news(found(1), 2.0)


def test_what_was_reported_is_remembered_for_a_bounded_number() -> None:
    candidates = Candidates()
    assert all(candidates.is_news(found(number), 0.0) for number in range(10 * REPORTED_MAX))
    repeated = [number for number in range(10 * REPORTED_MAX) if not candidates.is_news(found(number), 1.0)]
    assert len(repeated) <= REPORTED_MAX
