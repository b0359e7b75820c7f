"""A large value comes from all who have it at once: how long that takes on virtual time."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.sim.links import LinkClass
from bellande_mesh_sync.sim.mesh_world import MeshWorld

RADIO = LinkClass(5, 1, 0.0, 1_000_000)
"""A megabyte a second between any two."""
KIB = 1024
SIZE = 12_000_000
FROM_ONE = CoreConfig(fetch_window_bytes=512 * KIB, share_bytes=1 << 40)
FROM_ALL = replace(FROM_ONE, share_bytes=256 * KIB)


def seconds_to_catch_up(core: CoreConfig, nodes: int) -> float:
    """How long the last node, which was off, takes to get what all the others have."""
    body = random.Random(1).randbytes(SIZE)
    with MeshWorld(nodes, link=RADIO, core=core) as world:
        last = nodes - 1
        world.settle()
        world.kill(last)
        world.run(world.mesh(0).put("maps/site", body, ack="local"))
        world.advance(2.5 * SIZE / 1e6)
        world.restart(last)
        started_s = world.now_s
        world.settle(within=120.0)
        return world.now_s - started_s


@pytest.mark.parametrize(("nodes", "share"), [(3, 0.7), (5, 0.4)])
def test_a_value_comes_quicker_the_more_have_it(nodes: int, share: float) -> None:
    from_one = seconds_to_catch_up(FROM_ONE, nodes)
    from_all = seconds_to_catch_up(FROM_ALL, nodes)
    assert from_all < share * from_one, (from_all, from_one)
