"""The table of planted bugs, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants.catalogue import ESCAPED, MUTANTS
from tests.simulation.mutants.hunting import Find
from tools.mutants import BEGIN, END, PAGE, table, write_page

FIND = Find(7, (3, 4), 0.5, "sibling", 12.3)


def test_the_table_tells_seed_time_and_check_of_each_bug_in_its_group() -> None:
    lines = table({"quorum_is_one_short": FIND, "repair_happens_once": None})
    assert lines[2] == "| **how records get around** | | | | |"
    assert lines[3].endswith("| not found |  |  |")
    assert lines[5].startswith(f"| {MUTANTS['quorum_is_one_short'].bug} | `core/spreading/acks.py need_of` |")
    assert lines[5].endswith("| 7 | 12 s | `sibling` |")


def test_the_page_keeps_what_stands_around_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_page(page, {"quorum_is_one_short": FIND}, "All were found.")
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{BEGIN}\n\nAll were found.\n\n| bug |")
    assert text.endswith(f")\n\n{END}\nafter\n")
    assert all(mutant.bug in text for mutant in ESCAPED.values())
    assert "stale" not in text


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no marks\n", encoding="utf-8")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_page(page, {}, "")


def test_the_page_has_every_planted_bug() -> None:
    text = PAGE.read_text(encoding="utf-8")
    missing = [mutant.name for mutant in MUTANTS.values() if f"| {mutant.bug} |" not in text]
    assert missing == [], "run 'python -m tools.mutants --write'"
