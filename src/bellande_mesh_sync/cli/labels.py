"""Labels as people type them: `model=gantry`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    # Older versions of click, which are good enough, do not have it as a generic class.
    _PairType = click.ParamType[tuple[str, str]]
else:
    _PairType = click.ParamType


class LabelType(_PairType):
    """A name and a value; the value may be empty, and may hold further `=`."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, separator, text = str(value).partition("=")
        if not name or not separator:
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, text
