"""Formulas are read by their grammar, and nothing else is."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import InvalidExpressionError
from bellande_mesh_sync.search_path import Expression


def value(text: str, i: float = 0.0, n: int = 3) -> float:
    return float(Expression(text).at(np.array([i]), n)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i * 0.5", 1.0),
        ("1 + i * 0.1", 1.2),
        ("2 ** 3 ** 2", 512.0),
        ("-2 ** 2", -4.0),
        ("2 ** -1", 0.5),
        ("7 - 4 - 2", 1.0),
        ("8 / 4 / 2", 1.0),
        ("-(1 + 2) * --3", -9.0),
        ("min(i, n) + max(1, 5)", 7.0),
        ("sqrt(16) + exp(0) + log(e) + cos(2 * pi)", 7.0),
        ("  .5e1\n", 5.0),
        ("pow(2, 10) + abs(-1) + floor(1.9) + ceil(0.1)", 1027.0),
    ],
)
def test_a_formula_means_what_it_does_on_paper(text: str, expected: float) -> None:
    assert value(text, i=2.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a number, a name or"),
        ("1 +", "a number, a name or"),
        ("1 2", "an operator was expected"),
        ("(1", r"'\)' was expected"),
        ("1)", "an operator was expected"),
        ("x + 1", "x is not known"),
        ("__import__('os')", "not known"),
        ("i.real", "not part of a formula"),
        ("i[0]", "not part of a formula"),
        ("i if i else 1", "an operator was expected"),
        ("lambda: 1", "not part of a formula"),
        ("sqrt", "needs its arguments"),
        ("sqrt()", "a number, a name or"),
        ("sqrt(1, 2)", "takes 1 arguments, not 2"),
        ("(" * 60 + "1" + ")" * 60, "nested deeper"),
        ("2**" * 60 + "1", "nested deeper"),
        ("1" * 1001, "at most 1000 characters"),
        ("1 \N{MULTIPLICATION SIGN} 2", "not part of a formula"),
    ],
)
def test_what_is_no_formula_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidExpressionError, match=words):
        Expression(text)


@pytest.mark.parametrize("text", ["1 / i", "log(i)", "sqrt(-1)", "10 ** 400", "9e999"])
def test_what_has_no_finite_value_is_refused_with_its_axis(text: str) -> None:
    with pytest.raises(InvalidExpressionError, match="no finite value for i = 0"):
        value(text)


@given(st.text(alphabet="0123456789.+-*/() ,ineabpxsqrt", max_size=40))
def test_any_text_is_a_number_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(InvalidExpressionError):
        assert math.isfinite(value(text))
