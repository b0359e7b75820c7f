"""Small formulas written as text: numbers, `i`, `n`, + - * / **, parentheses and named functions.

They are parsed by this grammar and nothing else; no text is ever run as Python.

    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/") signed }
    signed  = ("+" | "-") signed | power
    power   = atom [ "**" signed ]
    atom    = number | name | name "(" sum { "," sum } ")" | "(" sum ")"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import numpy as np

from bellande_mesh_sync.errors import InvalidExpressionError
from bellande_mesh_sync.search_path.arrays import FloatArray

TEXT_MAX: Final = 1000
DEPTH_MAX: Final = 50

Formula: TypeAlias = Callable[[dict[str, Any]], Any]

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/(),]))"
)
_CONSTANTS: Final = {"pi": np.pi, "e": np.e}
_VARIABLES: Final = ("i", "n")
_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Any]]]] = {
    "abs": (1, np.abs),
    "ceil": (1, np.ceil),
    "cos": (1, np.cos),
    "exp": (1, np.exp),
    "floor": (1, np.floor),
    "log": (1, np.log),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "pow": (2, np.power),
    "sin": (1, np.sin),
    "sqrt": (1, np.sqrt),
    "tan": (1, np.tan),
    "tanh": (1, np.tanh),
}


class Expression:
    """A formula of i (the axis) and n (how many axes there are)."""

    def __init__(self, text: str) -> None:
        """Raises InvalidExpressionError with the place of what cannot be read."""
        if len(text) > TEXT_MAX:
            raise InvalidExpressionError(text="", reason=f"a text of at most {TEXT_MAX} characters is needed")
        self.text = text
        self._formula = _Reader(text).whole()

    def at(self, i: FloatArray, n: int) -> FloatArray:
        """The value for each i. Raises InvalidExpressionError where that is no finite number."""
        with np.errstate(all="ignore"):
            found = np.broadcast_to(self._formula({"i": i, "n": float(n)}), i.shape)
        if not np.isfinite(found).all():
            first = float(i[~np.isfinite(found)][0])
            raise InvalidExpressionError(text=self.text, reason=f"it has no finite value for i = {first:g}")
        return np.asarray(found, dtype=np.float64)


class _Reader:
    """One pass over a text, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0
        self._depth = 0
        self._token = ""
        self._kind = ""
        self._next()

    def whole(self) -> Formula:
        formula = self._sum()
        if self._kind != "end":
            raise self._wrong("an operator was expected")
        return formula

    def _next(self) -> None:
        found = _TOKEN.match(self._text, self._place)
        if found is None:
            if self._text[self._place :].strip():
                raise self._wrong("this is not part of a formula")
            self._token, self._kind = "the end", "end"
            return
        self._place = found.end()
        self._token = found[found.lastindex or 0]
        self._kind = ("", "number", "name", "sign")[found.lastindex or 0]

    def _wrong(self, reason: str) -> InvalidExpressionError:
        return InvalidExpressionError(text=self._text, reason=f"near character {self._place}: {reason}")

    def _takes(self, *signs: str) -> str:
        """The next token if it is one of these, taken; else nothing."""
        if self._kind != "sign" or self._token not in signs:
            return ""
        taken = self._token
        self._next()
        return taken

    def _sum(self) -> Formula:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(f"it is nested deeper than {DEPTH_MAX}")
        formula = self._product()
        while sign := self._takes("+", "-"):
            formula = _joined(np.add if sign == "+" else np.subtract, formula, self._product())
        self._depth -= 1
        return formula

    def _product(self) -> Formula:
        formula = self._signed()
        while sign := self._takes("*", "/"):
            formula = _joined(np.multiply if sign == "*" else np.divide, formula, self._signed())
        return formula

    def _signed(self) -> Formula:
        negative = False
        while sign := self._takes("+", "-"):
            negative ^= sign == "-"
        formula = self._power()
        return _joined(np.negative, formula) if negative else formula

    def _power(self) -> Formula:
        base = self._atom()
        if not self._takes("**"):
            return base
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong(f"it is nested deeper than {DEPTH_MAX}")
        formula = _joined(np.power, base, self._signed())
        self._depth -= 1
        return formula

    def _atom(self) -> Formula:
        token, kind = self._token, self._kind
        if self._takes("("):
            formula = self._sum()
            self._close()
            return formula
        if kind == "number":
            self._next()
            return _constant(float(token))
        if kind == "name":
            self._next()
            return self._named(token)
        raise self._wrong(f"a number, a name or '(' was expected, not {token}")

    def _named(self, name: str) -> Formula:
        if name in _FUNCTIONS:
            return self._call(name)
        if name in _CONSTANTS:
            return _constant(_CONSTANTS[name])
        if name in _VARIABLES:
            return lambda values: values[name]
        known = ", ".join([*_VARIABLES, *_CONSTANTS, *_FUNCTIONS])
        raise self._wrong(f"{name} is not known; there are {known}")

    def _call(self, name: str) -> Formula:
        count, function = _FUNCTIONS[name]
        if not self._takes("("):
            raise self._wrong(f"{name} needs its arguments in parentheses")
        arguments = [self._sum()]
        while self._takes(","):
            arguments.append(self._sum())
        self._close()
        if len(arguments) != count:
            raise self._wrong(f"{name} takes {count} arguments, not {len(arguments)}")
        return _joined(function, *arguments)

    def _close(self) -> None:
        if not self._takes(")"):
            raise self._wrong("')' was expected")


def _constant(number: float) -> Formula:
    return lambda values: np.float64(number)


def _joined(function: Callable[..., Any], *parts: Formula) -> Formula:
    return lambda values: function(*(part(values) for part in parts))
