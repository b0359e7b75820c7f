"""Tests on real processes in network namespaces: needed is root on Linux, and iproute2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.fleet import Fleet
from tests.netns.hosts import NetHosts
from tests.netns.namespaces import what_is_missing

FLEET_SIZE = 8
_figures: list[str] = []


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    """Skips, with the reason, where no namespaces can be made."""
    if reason := what_is_missing():
        pytest.skip(reason)


@pytest.fixture
def figure() -> Callable[[str], None]:
    """Takes a sentence with what was measured; all are printed at the end of the run."""
    return _figures.append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _figures:
        terminalreporter.section("measured in network namespaces")
        for sentence in _figures:
            terminalreporter.write_line(sentence)


@pytest.fixture(scope="module")
def _shared_fleet(_namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder: Path = tmp_path_factory.mktemp("fleet")
    with NetHosts(FLEET_SIZE) as hosts, Fleet(folder, hosts, FLEET_SIZE) as fleet:
        yield fleet


@pytest.fixture
def fleet(_shared_fleet: Fleet) -> Fleet:
    """Eight nodes, running and of one mind, whatever the test before has done to them."""
    _shared_fleet.mend()
    return _shared_fleet
