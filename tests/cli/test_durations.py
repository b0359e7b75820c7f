"""Durations and timeouts as people type them."""

from __future__ import annotations

import click
import pytest

from bellande_mesh_sync.cli.durations import DURATION_S_MAX, TimeoutType, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("1h", 3600), ("7d", 604_800), ("3650d", DURATION_S_MAX)],
)
def test_a_number_with_a_unit_is_a_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "h",
        "0s",
        "-1h",
        "+1h",
        "1.5h",
        "1h30m",
        " 1h",
        "1h ",
        "1H",
        "1w",
        "3651d",
        "1_0s",
        "\u0661h",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|range"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), ("0.5", 0.5), (".5", 0.5), ("2m", 120.0), ("3600", 3600.0)]
)
def test_a_timeout_is_seconds_or_a_duration(text: str, seconds: float) -> None:
    assert TimeoutType().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e3", "1_0", "soon", "3601", "2h"])
def test_a_timeout_is_finite_and_bounded(text: str) -> None:
    with pytest.raises(click.BadParameter):
        TimeoutType().convert(text, None, None)
