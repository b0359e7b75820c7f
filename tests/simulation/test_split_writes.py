"""Both sides of a partition write the same 10,000 keys, with clocks that are ten seconds apart."""

from __future__ import annotations

from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.mesh_world import MeshWorld

KEYS = 10_000
AT_ONCE = 1_000
SKEW_S = 5.0
NODES = range(4)
SIDES = {2: ("ahead", SKEW_S), 0: ("behind", -SKEW_S)}
"""Who writes on each side: what, and how far its clock is off. The one that is ahead writes first."""


def key_of(number: int) -> str:
    return f"fleet/plans/{number:05d}"


async def write_all(mesh: SimMesh, side: str) -> None:
    for start in range(0, KEYS, AT_ONCE):
        await mesh.put_many([(key_of(n), f"{side} {n}".encode()) for n in range(start, start + AT_ONCE)])


def test_both_values_of_each_key_are_readable_everywhere_and_the_same_one_wins() -> None:
    with MeshWorld(len(NODES), seed=4) as world:
        world.advance(5)
        world.partition([0, 1], [2, 3])
        for index, (side, offset_s) in SIDES.items():
            world.set_clock(index, offset_s)
            world.run(write_all(world.mesh(index), side))
        world.heal()
        world.settle()
        shown = [world.run(look_at_all(world.mesh(index))) for index in NODES]
        for index in NODES:
            assert world.run(world.mesh(index).conflicts()).cursor, "all are listed as conflicts"
    assert all(each == shown[0] for each in shown)
    for number in range(KEYS):
        winner, siblings = shown[0][number]
        assert siblings == {f"ahead {number}", f"behind {number}"}
        assert winner == f"ahead {number}"


async def look_at_all(mesh: SimMesh) -> list[tuple[str, set[str]]]:
    """Of each key: the value that a plain read gives, and the values of all its siblings."""
    found = []
    for key in map(key_of, range(KEYS)):
        value = await mesh.get(key)
        siblings = (await mesh.siblings(key)).siblings
        values = {(await mesh.get(key, version=each.version)).data.decode() for each in siblings}
        found.append((value.data.decode(), values))
    return found
