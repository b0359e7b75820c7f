"""The page on guarantees names tests that would fail; they are there."""

from __future__ import annotations

import re

import pytest

from bench.__main__ import BENCHMARKS
from tests.docs.examples import ROOT

_PROMISED = (ROOT / "docs" / "explanation" / "guarantees.md").read_text(encoding="utf-8")
_FIGURES = (ROOT / "docs" / "explanation" / "figures.md").read_text(encoding="utf-8")
_TEST = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")


@pytest.mark.parametrize("page", [_PROMISED, _FIGURES])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    named = _TEST.findall(page)
    assert named
    for path, name in named:
        source = (ROOT / path).read_text(encoding="utf-8")
        assert not name or re.search(rf"^def {name}\(", source, re.MULTILINE), f"{path} has no {name}"


def test_each_of_the_first_five_promises_has_tests_of_its_own() -> None:
    section = _PROMISED.partition("## What would fail")[2].partition("\n## ")[0]
    tests: dict[str, int] = {}
    promise = ""
    for row in section.splitlines():
        if not row.startswith("| "):
            continue
        promise = row.split("|")[1].strip() or promise
        tests[promise] = tests.get(promise, 0) + len(_TEST.findall(row))
    assert all(tests.get(str(number), 0) >= 2 for number in range(1, 6)), tests


def test_every_benchmark_that_the_figures_come_from_exists() -> None:
    named = {name for line in re.findall(r"`python -m bench ([\w ]+)`", _FIGURES) for name in line.split()}
    assert named
    assert named <= set(BENCHMARKS)
