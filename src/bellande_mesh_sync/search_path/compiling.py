"""Compiled loops where there is a compiler; it is loaded when the first of them is wanted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """`function` compiled by Numba, or None where that is not installed.

    The first call costs a second, for loading the compiler; what it compiled is kept beside the
    source, or in the user's cache, for the next process.
    """
    try:
        import numba
    except ImportError:
        return None
    try:
        made: Callable[..., Any] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # Neither of the two places can be written.
        made = numba.njit(nogil=True)(function)
    return made
