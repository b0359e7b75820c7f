"""Moments as people type them: `2026-05-01T12:00:00Z`, `2026-05-01`, `2h ago`, `now`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.times import time_ms_of

if TYPE_CHECKING:
    # Older versions of click, which are good enough, do not have it as a generic class.
    _MomentType = click.ParamType[int]
else:
    _MomentType = click.ParamType


class TimeType(_MomentType):
    """Milliseconds since 1970; `2h ago` is before this machine's time."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return time_ms_of(value, time.time_ns() // 1_000_000)
        except ValueError as error:
            self.fail(str(error), param, ctx)
