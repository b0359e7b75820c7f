"""Durations as people type them: `90s`, `30m`, `1h`, `7d`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

DURATION_S_MAX = 3650 * 86400  # Ten years: beyond that it is a typing error, and dates overflow.
TIMEOUT_S_MAX = 3600  # As nodes allow it.

_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = re.compile(r"[0-9]{0,10}(\.[0-9]{1,10})?", re.ASCII)  # `float` would also take nan, inf and 1_0.
_PATTERN = re.compile(r"([0-9]{1,10})([smhd])", re.ASCII)


if TYPE_CHECKING:
    # Older versions of click, which are good enough, do not have it as a generic class.
    _SecondsType = click.ParamType[int]
    _NumberType = click.ParamType[float]
else:
    _SecondsType = _NumberType = click.ParamType


def parse_duration(text: str) -> int:
    """Seconds in `text`: a whole number > 0 and one of the units s, m, h, d. ValueError says what is wrong.

    A bare number is refused: `--expires 60` means a minute to one reader and an hour to another.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a duration; write a whole number and a unit, as 90s, 30m, 1h or 7d"
        )
    seconds = int(match[1]) * _UNIT_S[match[2]]
    if not 0 < seconds <= DURATION_S_MAX:
        raise ValueError(f"{text!r} is out of range; from 1s to {DURATION_S_MAX // 86400}d is allowed")
    return seconds


class DurationType(_SecondsType):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TimeoutType(_NumberType):
    """A bare number of seconds (fractions allowed), or a duration with a unit."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = (
                float(value) if value and _NUMBER.fullmatch(str(value)) else float(parse_duration(value))
            )
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not 0 < seconds <= TIMEOUT_S_MAX:
            self.fail(f"{value!r} is out of range; it must be > 0 and at most {TIMEOUT_S_MAX} s", param, ctx)
        return seconds
