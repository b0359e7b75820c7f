"""Tests on real processes in network namespaces: needed is root on Linux, and iproute2."""

from __future__ import annotations

import pytest

from tests.netns.namespaces import what_is_missing


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    """Skips, with the reason, where no namespaces can be made."""
    if reason := what_is_missing():
        pytest.skip(reason)
