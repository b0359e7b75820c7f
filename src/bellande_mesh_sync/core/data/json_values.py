"""JSON as values that are merged: bounded, and written in one way only."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DEPTH_MAX: Final = 32
"""Arrays and objects in each other. A fixed number, for what Python itself can take hangs on who calls: two
nodes would show different things."""


def parse_json(data: bytes) -> Any:
    """The value in this JSON text. ValueError for anything else, and for what is nested too deep."""
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    _check_depth(value, DEPTH_MAX)
    return value


def canonical(value: object) -> bytes:
    """Equal JSON values, and only these, give equal bytes: no spaces, fields sorted."""
    return msgspec.json.encode(value, order="sorted")


def _check_depth(value: Any, left: int) -> None:
    if not isinstance(value, list | dict):
        return
    if left == 0:
        raise ValueError(f"it is nested more than {DEPTH_MAX} deep")
    for each in value if isinstance(value, list) else value.values():
        _check_depth(each, left - 1)
