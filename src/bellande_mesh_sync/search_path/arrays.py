"""Points as arrays: what a caller gives is checked here, once, before anything is computed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bellande_mesh_sync.errors import DimensionMismatchError, InvalidNumberError

FloatArray: TypeAlias = NDArray[np.float64]
IndexArray: TypeAlias = NDArray[np.int64]
BoolArray: TypeAlias = NDArray[np.bool_]

LARGEST = 1e150
"""Above this a square, or a sum of some, may be beyond what a float holds."""

BLOCK_NUMBERS = 49_152
"""Work is cut into blocks of this many numbers (384 KiB), so that what is between two steps stays in the
processor's cache: 50 million pairs/s against 17 million with blocks four times as large."""


def numbers_of(what: str, value: ArrayLike) -> FloatArray:
    """`value` as float64, of any shape; may hold infinities and NaN.

    Raises InvalidNumberError for texts, booleans, ragged lists, and integers no float can hold.
    """
    wanted = "numbers, in lists of one length"
    try:
        found = np.asarray(value)
        # What is no array of numbers may still be one of integers too long for 64 bits.
        is_long = found.dtype.kind == "O" and all(isinstance(each, int | float) for each in found.flat)
        if found.size and found.dtype.kind not in "iuf" and not is_long:
            raise InvalidNumberError(what=what, wanted=wanted)
        return found.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise InvalidNumberError(what=what, wanted=wanted) from None
    except OverflowError:
        raise InvalidNumberError(what=what, wanted="numbers below 1.8e308") from None


def finite_numbers(what: str, value: ArrayLike) -> FloatArray:
    """Like `numbers_of`, and refuses infinities, NaN, and what is beyond 1e150."""
    found = numbers_of(what, value)
    # Two passes without an array between them; NaN fails both.
    if found.size and not (found.max() <= LARGEST and found.min() >= -LARGEST):
        raise InvalidNumberError(what=what, wanted="finite numbers, 1e150 at most")
    return found


def points_of(what: str, value: ArrayLike, dimensions: int | None = None) -> FloatArray:
    """`value` as one finite point (n,) or many (m, n); with `dimensions`, n must be that many."""
    found = finite_numbers(what, value)
    check_points(what, found, dimensions)
    if found.ndim > 2:  # Two lists of lists would be paired all with all: few bytes, and no end of work.
        raise InvalidNumberError(what=what, wanted="a point or a list of points")
    return found


def check_points(what: str, found: FloatArray, dimensions: int | None = None) -> None:
    """Raises DimensionMismatchError unless the last axis of `found` has `dimensions` entries."""
    if found.ndim == 0:
        raise InvalidNumberError(what=what, wanted="a point, which is a list of numbers")
    if dimensions is not None and found.shape[-1] != dimensions:
        raise DimensionMismatchError(what=what, have=found.shape[-1], need=dimensions)


def point_of(what: str, value: ArrayLike, dimensions: int | None = None) -> FloatArray:
    """One point, shape (n,)."""
    found = points_of(what, value, dimensions)
    if found.ndim != 1:
        raise InvalidNumberError(what=what, wanted="one point, which is a list of numbers")
    return found


def path_of(what: str, value: ArrayLike, dimensions: int | None = None) -> FloatArray:
    """A list of points, shape (m, n), m >= 1."""
    found = points_of(what, value, dimensions)
    if found.ndim != 2 or not len(found):
        raise InvalidNumberError(what=what, wanted="a list of points, with one at least")
    return found


def positive(what: str, value: float, *, or_zero: bool = False) -> float:
    """`value` if it is a finite number above 0 (or 0 itself, with `or_zero`)."""
    number = one_number(what, value)
    if number < 0 or (number == 0 and not or_zero):
        raise InvalidNumberError(what=what, wanted=f"a number {'>=' if or_zero else '>'} 0")
    return number


def one_number(what: str, value: float) -> float:
    """`value` as a finite float."""
    found = finite_numbers(what, value)
    if found.ndim:
        raise InvalidNumberError(what=what, wanted="one number")
    return float(found)


def whole(what: str, value: int, least: int, most: int) -> int:
    """`value` if it is an integer from `least` to `most`."""
    found = finite_numbers(what, value)
    if found.ndim or not least <= found <= most or found != np.floor(found):
        raise InvalidNumberError(what=what, wanted=f"an integer from {least} to {most}")
    return int(found)


def joint_shape(what: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that all of them broadcast to; DimensionMismatchError names `what` if there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise InvalidNumberError(what=what, wanted=f"lists that go together, not {shapes}") from None


def lengths(vectors: FloatArray) -> FloatArray:
    """The length of each vector, shape (...,) for (..., n).

    A plain sum of squares, in order, as the published programs do it; numpy's own norm adds in
    another order and differs in the last digit.
    """
    total = np.zeros(vectors.shape[:-1])
    with np.errstate(over="ignore", under="ignore"):
        for axis in range(vectors.shape[-1]):
            total += vectors[..., axis] * vectors[..., axis]
    return np.sqrt(total)
