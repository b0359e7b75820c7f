"""Three nodes under seeded chaos: what is on disk stays accounted for, and in the end all agree."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core.config import CoreConfig
from tests.core.making import deletion, large_write, write
from tests.core.shuttle import World

NAMES = ["alice", "bob", "carol"]
PAIRS = [("alice", "bob"), ("bob", "carol"), ("carol", "alice")]
SMALL = CoreConfig(credit_bytes=6000, page_bytes=900, streams_max=2)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_no_dot_is_claimed_without_its_record_and_all_agree_in_the_end(seed: int) -> None:
    rng = random.Random(seed)
    world = World(*NAMES, config=SMALL, seed=seed)
    for _ in range(150):
        _disturb(world, rng)
        for _ in range(rng.randrange(12)):
            world.step()
        world.check()
    _heal(world)
    world.assert_converged()
    _check_acks(world)


def _disturb(world: World, rng: random.Random) -> None:
    node = world.nodes[rng.choice(NAMES)]
    a, b = rng.choice(PAIRS)
    match rng.randrange(12):
        case 0 | 1 | 2 | 3 | 4:
            key = f"fleet/{rng.randrange(12)}"
            made = deletion(key) if rng.random() < 0.2 else write(key, rng.randbytes(rng.randrange(300)))
            node.submit(made, ack=rng.choice(["local", "one", "all"]))
        case 5:
            chunk = rng.randbytes(50)
            node.store.add_chunks([(blake3(chunk).digest(), chunk)])
            node.submit(large_write(f"fleet/large{rng.randrange(3)}", [chunk]))
        case 6 | 7:
            world.cut(a, b)
        case 8 | 9:
            world.connect(*rng.sample([a, b], 2))
        case 10:
            node.is_disk_full = not node.is_disk_full
        case 11:
            node.is_disk_slow = not node.is_disk_slow


def _heal(world: World) -> None:
    for node in world.nodes.values():
        node.is_disk_full = node.is_disk_slow = False
    world.rng = None
    world.run()
    for a, b in PAIRS:
        world.cut(a, b)
        world.connect(a, b)
    world.pass_time(240)


def _check_acks(world: World) -> None:
    """What was acknowledged was written, under the number that the receipt names."""
    versions = {record.version for record in world.written.values()}
    for node in world.nodes.values():
        for answer in node.answers.values():
            if isinstance(answer, do.Resolve):
                assert all(receipt.version in versions for receipt in answer.result)
