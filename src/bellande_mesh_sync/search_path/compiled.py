"""The one place where functions are given to the compiler. Importing it needs numba, and takes a second.

Compiled code is kept beside the source (or in the user's cache folder), so that only the first call on a
machine compiles. It runs without the interpreter's lock: in a worker thread it holds nobody up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def compiled(function: _F) -> _F:
    return cast(_F, numba.njit(cache=True, nogil=True)(function))
