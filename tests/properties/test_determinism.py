"""The same events give the same effects, also where strings hash differently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.core.making import write
from tests.core.shuttle import World

ROOT = Path(__file__).parents[2]


def story() -> str:
    """What three nodes decide while they write to many spaces, are cut off and meet again."""
    names = ["alice", "bob", "carol"]
    world = World(*names, seed=7)
    world.is_dialling = True
    for number in range(120):
        if number % 20 == 0:
            for a, b in (("alice", "bob"), ("bob", "carol"), ("carol", "alice")):
                (world.cut if number % 40 else world.connect)(a, b)
        writes = [write(f"space-{(number + n) % 9}/{number % 5}", b"%d" % number) for n in range(3)]
        world.nodes[names[number % 3]].submit(*writes, ack="all")
        world.nodes[names[number % 3]].is_disk_slow = number % 7 > 2
        if number % 10 == 0:
            world.pass_time(3)
    for node in world.nodes.values():
        node.is_disk_slow = False
    world.pass_time(100)
    world.assert_converged()
    return "\n".join(repr(effect) for node in world.nodes.values() for effect in node.effects)


def test_what_nodes_decide_does_not_depend_on_how_strings_hash() -> None:
    code = "import hashlib; from tests.properties.test_determinism import story; "
    code += "print(hashlib.sha256(story().encode()).hexdigest())"
    digests = set()
    for seed in ("1", "2", "3"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    assert len(digests) == 1
