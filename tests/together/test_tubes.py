"""Tubes in space and time: whether two meet is exact, and what is no tube is refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellande_mesh_sync.errors import InvalidSceneError
from bellande_mesh_sync.together.tubes import Corner, Tube, check_tube, meet, tube_of

place = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda xy: tuple(map(float, xy)))


@st.composite
def tubes(draw: st.DrawFn) -> Tube:
    count = draw(st.integers(2, 5))
    pauses = draw(st.lists(st.integers(1, 5), min_size=count, max_size=count))
    times = [sum(pauses[: number + 1]) for number in range(count)]
    corners = tuple(Corner(time, draw(place)) for time in times)
    return Tube(float(draw(st.integers(0, 3))), corners)


def where(tube: Tube, at: float) -> tuple[float, ...] | None:
    for a, b in zip(tube.corners, tube.corners[1:], strict=False):
        if a.at_ms <= at <= b.at_ms:
            part = (at - a.at_ms) / (b.at_ms - a.at_ms)
            return tuple(p + part * (q - p) for p, q in zip(a.point, b.point, strict=True))
    return None


@settings(max_examples=100, deadline=None)
@given(tubes(), tubes())
def test_whether_two_meet_is_what_looking_at_many_moments_says(one: Tube, other: Tube) -> None:
    nearest = math.inf
    steps = 26 * 32  # Whole milliseconds, at which a tube begins or ends, are among them.
    for number in range(steps + 1):
        at = 26 * number / steps
        a, b = where(one, at), where(other, at)
        if a is not None and b is not None:
            nearest = min(nearest, math.dist(a, b))
    apart = one.radius + other.radius
    # The looks are 1/32 ms apart, and no two come nearer by more than 60 in 1 ms.
    if nearest <= apart:
        assert meet(one, other)
    elif nearest > apart + 60 / 64:
        assert not meet(one, other)
    assert meet(one, other) == meet(other, one)


def test_two_that_cross_the_same_place_at_different_times_do_not_meet() -> None:
    one = tube_of([(0, 5), (10, 5)], start_ms=0, speed=1, radius=0.5)
    other = tube_of([(5, 0), (5, 10)], start_ms=0, speed=1, radius=0.5)
    assert meet(one, other)
    assert not meet(one, other.delayed(3000))
    assert not meet(one, other.delayed(11_000))


def test_a_tube_follows_the_path_at_its_speed() -> None:
    tube = tube_of([(0, 0), (3, 4), (3, 4), (3, 10)], start_ms=1000, speed=2, radius=1)
    assert [corner.at_ms for corner in tube.corners] == [1000, 3500, 3501, 6500]
    assert (tube.from_ms, tube.until_ms) == (1000, 6500)


@pytest.mark.parametrize(
    "tube",
    [
        Tube(1.0, (Corner(0, (1.0,)), Corner(0, (2.0,)))),
        Tube(1.0, (Corner(0, (1.0,)), Corner(1, (2.0, 3.0)))),
        Tube(1.0, (Corner(0, ()), Corner(1, ()))),
        Tube(math.nan, (Corner(0, (1.0,)), Corner(1, (2.0,)))),
        Tube(1.0, (Corner(0, (1.0,)), Corner(1, (math.inf,)))),
    ],
)
def test_what_is_no_tube_is_refused(tube: Tube) -> None:
    with pytest.raises(InvalidSceneError):
        check_tube(tube)


def test_a_speed_must_be_above_0() -> None:
    with pytest.raises(InvalidSceneError):
        tube_of([(0, 0), (1, 1)], start_ms=0, speed=0, radius=1)
