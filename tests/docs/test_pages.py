"""The pages hang together: links lead somewhere, and generated pages are what the code says."""

from __future__ import annotations

import re

import pytest

from tests.docs.examples import ROOT, pages
from tools.reference import FOLDER, PAGES

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def test_every_relative_link_leads_to_a_file() -> None:
    broken = []
    for page in [*pages(), ROOT / "CHANGELOG.md", ROOT / "changelog.d" / "README.md"]:
        for target in _LINK.findall(page.read_text(encoding="utf-8")):
            path = target.partition("#")[0]
            if path and "://" not in target and not (page.parent / path).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    seen, waiting = set(), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in seen or page.suffix != ".md" or not page.exists():
            continue
        seen.add(page)
        targets = _LINK.findall(page.read_text(encoding="utf-8"))
        waiting += [page.parent / target.partition("#")[0] for target in targets if "://" not in target]
    assert {page for page in pages() if page.is_relative_to(ROOT / "docs")} <= seen


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_generated_page_says_what_the_code_says(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run 'make docs'"


def test_every_error_code_is_in_the_reference_once() -> None:
    page = (FOLDER / "errors.md").read_text(encoding="utf-8")
    codes = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert len(codes) == len(set(codes))
    assert {"home_in_use", "invalid_key", "ack_timeout", "not_found"} <= set(codes)
