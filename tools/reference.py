"""The pages of docs/reference, written from the code so that they cannot drift from it.

`python -m tools.reference` writes them; `--check` compares and names those that are out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tools.reference_cli import cli_page
from tools.reference_config import config_page
from tools.reference_errors import errors_page
from tools.reference_http import http_page

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "config.md": config_page,
    "errors.md": errors_page,
    "http.md": http_page,
}


def outdated() -> list[str]:
    """Names of the pages that differ from what the code says."""
    return [name for name, make in PAGES.items() if _read(FOLDER / name) != make()]


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main() -> int:
    if "--check" not in sys.argv[1:]:
        write()
        return 0
    old = outdated()
    for name in old:
        print(f"docs/reference/{name} is out of date: run 'make docs'")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
