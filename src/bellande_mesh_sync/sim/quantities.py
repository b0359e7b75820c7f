"""Durations, sizes and bandwidths as people write them: `250ms`, `2m`, `4KiB`, `6Mbit/s`."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS_BYTES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2}
_UNITS_BITS_PER_S: Final = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
_PATTERN: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?) ?([A-Za-z/]{1,6})", re.ASCII)

N = TypeVar("N", int, float)


class Duration(float):
    """In seconds."""


class Size(int):
    """In bytes."""


class Bandwidth(int):
    """In bytes a second."""


def decode_quantity(kind: type, value: Any) -> Any:
    """For msgspec: one of the three above from its text. ValueError says what is wrong."""
    if kind is Duration:
        return Duration(_number(value, _UNITS_S, "a duration", "250ms, 30s, 5m or 2h"))
    if kind is Size:
        return Size(round(_number(value, _UNITS_BYTES, "a size", "100B, 4KiB or 1MiB")))
    if kind is Bandwidth:
        bits = _number(value, _UNITS_BITS_PER_S, "a bandwidth", "256kbit/s or 6Mbit/s")
        if bits < 8:
            raise ValueError(f"{value!r} is less than a byte a second")
        return Bandwidth(int(bits / 8))
    raise TypeError(f"no quantity: {kind}")


def _number(value: object, units: dict[str, N], what: str, examples: str) -> float:
    match = _PATTERN.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"{value!r} is not {what}; write a number and a unit in quotes, as {examples}")
    return float(match[1]) * units[match[2]]
