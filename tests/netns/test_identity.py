"""Two living nodes with one identity, as after cloning a disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.netns.fleet import Fleet
from tests.netns.hosts import NetHosts


@pytest.mark.timeout(180)
def test_of_two_nodes_with_one_identity_the_newer_goes_on(
    tmp_path: Path, figure: Callable[[str], None]
) -> None:
    with NetHosts(4) as hosts, Fleet(tmp_path, hosts, 3) as fleet:
        older = fleet.nodes[2]
        older.kill()
        copy = fleet.copy_of(older, host=3)
        fleet.start([older])
        fleet.wait_calm()
        try:
            copy.start()
            took = fleet.wait(lambda: not older.process.is_running, 30, "the older one has ended")
            assert older.process.exit_code != 0
            assert "identity_conflict" in older.process.log.read_text()

            def is_known() -> bool:
                views = fleet.views(fleet.nodes[:2]).values()
                return all(view[older.name].addresses == (copy.address,) for view in views)

            fleet.wait(is_known, 10, "the newer one is the one they know")
            assert copy.is_running
        finally:
            copy.kill()
    figure(f"a node and its copy: the older one ended {took:.1f} s after the copy was ready")
