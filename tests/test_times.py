"""Points in time as people write them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.times import TIME_MS_MAX, time_ms_of, time_text

NOW_MS = 1_800_000_000_000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("now", NOW_MS),
        ("90s ago", NOW_MS - 90_000),
        ("2 h ago", NOW_MS - 7_200_000),
        ("30m ago", NOW_MS - 1_800_000),
        ("7d ago", NOW_MS - 7 * 86_400_000),
        ("1700000000123", 1_700_000_000_123),
        (1_700_000_000_123, 1_700_000_000_123),
        ("2023-11-14T22:13:20.123Z", 1_700_000_000_123),
        ("2023-11-14T23:13:20.123+01:00", 1_700_000_000_123),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14", 1_699_920_000_000),
        (datetime(2023, 11, 14, 22, 13, 20, 123_000), 1_700_000_000_123),
        (datetime(2023, 11, 14, 23, 13, 20, tzinfo=timezone(timedelta(hours=1))), 1_700_000_000_000),
        (" now ", NOW_MS),
    ],
)
def test_a_time_is_understood(given: str | int | datetime, expected: int) -> None:
    assert time_ms_of(given, NOW_MS) == expected


@pytest.mark.parametrize(
    "given",
    ["", "2h", "-2h ago", "2w ago", "yesterday", "1960-01-01", "2023-13-01", "9999999999999999", -1, True,
     1.5, None, "99999999d ago", "\u0662h ago"],
)  # fmt: skip
def test_what_is_no_time_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        time_ms_of(given, NOW_MS)  # type: ignore[arg-type]


@given(st.integers(0, TIME_MS_MAX))
def test_a_time_that_is_told_is_understood(time_ms: int) -> None:
    assert time_ms_of(time_text(time_ms), NOW_MS) == time_ms
    assert time_ms_of(datetime.fromtimestamp(time_ms // 1000, UTC), NOW_MS) == time_ms // 1000 * 1000


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= time_ms_of(text, NOW_MS) <= TIME_MS_MAX
