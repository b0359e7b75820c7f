"""Points in time as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, TypeAlias

Time: TypeAlias = str | int | datetime
"""ISO 8601, `2h ago` or `now`; milliseconds since 1970; or a datetime. UTC where no zone is named."""

TIME_MS_MAX: Final = 253_402_300_799_999
"""The end of the year 9999: what ISO 8601 can write."""
AGO_MS_MAX: Final = 3650 * 86_400_000
"""Ten years, as for every duration on the command line."""

_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO: Final = re.compile(r"([0-9]{1,10}) ?([smhd]) ago", re.ASCII)
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def time_ms_of(given: Time, now_ms: int) -> int:
    """Milliseconds since 1970. ValueError says what is wrong.

    Args:
        given: milliseconds themselves; a datetime, in UTC if it names no zone; or a text: ISO 8601 (UTC if
            it names no zone, the start of the day if it is only a date), `2h ago` with one of the units s, m,
            h and d, `now`, or the digits of milliseconds since 1970.
    """
    if isinstance(given, bool) or not isinstance(given, str | int | datetime):
        raise ValueError(f"a time is text, milliseconds or a datetime, not {type(given).__name__}")
    if isinstance(given, str):
        return _in_range(_time_ms_of_text(given.strip(), now_ms), given)
    if isinstance(given, datetime):
        return _in_range(_milliseconds(given), given)
    return _in_range(given, given)


def _time_ms_of_text(text: str, now_ms: int) -> int:
    if text == "now":
        return now_ms
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    if match := _AGO.fullmatch(text):
        ago_ms = int(match[1]) * _UNIT_MS[match[2]]
        if ago_ms > AGO_MS_MAX:
            raise ValueError(f"{text!r} is too long ago; up to {AGO_MS_MAX // 86_400_000}d is possible")
        return now_ms - ago_ms
    try:
        return _milliseconds(datetime.fromisoformat(text))
    except ValueError:
        hint = "write ISO 8601, as 2026-05-01T12:00:00Z, or how long ago, as '2h ago'"
        raise ValueError(f"{text!r} is not a time; {hint}") from None


def _milliseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000


def _in_range(time_ms: int, given: object) -> int:
    if not 0 <= time_ms <= TIME_MS_MAX:
        raise ValueError(f"{given!s} is out of range; the years 1970 to 9999 are possible")
    return time_ms


def time_text(time_ms: int) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(time_ms, 1_000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
