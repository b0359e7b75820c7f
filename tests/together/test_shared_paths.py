"""The merge of shared paths: the shorter one wins on all nodes, and what is no path never does."""

from __future__ import annotations

import json

import pytest

from bellande_mesh_sync.shared_paths import decode_path, encode_path, scene_digest, shorter
from bellande_mesh_sync.sim.merge_trial import try_function
from bellande_mesh_sync.sim.mesh_world import MeshWorld

STRAIGHT = encode_path(5.0, [(0.0, 0.0), (3.0, 4.0)])
AROUND = encode_path(7.0, [(0.0, 0.0), (3.0, 0.0), (3.0, 4.0)])
OTHER = encode_path(7.0, [(0.0, 0.0), (0.0, 4.0), (3.0, 4.0)])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"cost": 1}',
        b'{"cost": 5, "points": [[0, 0]]}',
        b'{"cost": 5, "points": [[0, 0], [3, 4, 5]]}',
        b'{"cost": 4, "points": [[0, 0], [3, 4]]}',
        b'{"cost": 0, "points": [[], []], "more": 1}',
        b'{"cost": 1e999, "points": [[0], [1e308], [-1e308]]}',
    ],
)
def test_what_is_no_path_or_lies_about_its_length_is_none(data: bytes) -> None:
    assert decode_path(data) is None


def test_a_path_comes_back_as_it_was() -> None:
    path = decode_path(AROUND)
    assert path is not None
    assert (path.cost, path.points) == (7.0, ((0.0, 0.0), (3.0, 0.0), (3.0, 4.0)))


@pytest.mark.parametrize("values", [[STRAIGHT, AROUND, OTHER, b"junk", b'{"cost":1}'], []])
def test_the_merge_keeps_the_laws_of_merges(values: list[bytes]) -> None:
    assert try_function(shorter, values=values, count=100, seed=1).broken is None


def test_nodes_that_were_apart_all_show_the_shorter_path() -> None:
    with MeshWorld(3, merge={"plans": shorter}) as world:
        meshes = [world.mesh(index) for index in range(3)]
        world.partition([0], [1], [2])
        for mesh, data in zip(meshes, (AROUND, STRAIGHT, OTHER), strict=True):
            world.run(mesh.put("plans/dock", data))
        world.settle()
        assert {world.run(mesh.get("plans/dock")).data for mesh in meshes} == {STRAIGHT}
        world.run(meshes[2].put("plans/dock", STRAIGHT))
        world.settle()
        assert world.run(meshes[0].get("plans/dock")).data == STRAIGHT


def test_equally_long_ones_are_told_apart_the_same_everywhere() -> None:
    with MeshWorld(2, merge={"plans": shorter}) as world:
        world.partition([0], [1])
        world.run(world.mesh(0).put("plans/dock", AROUND))
        world.run(world.mesh(1).put("plans/dock", OTHER))
        world.settle()
        assert {world.run(world.mesh(n).get("plans/dock")).data for n in range(2)} == {min(AROUND, OTHER)}


def test_equal_scenes_have_equal_digests() -> None:
    scene = {"start": [0.0, 1.0], "goal": [2.0, 3.0]}
    assert scene_digest(scene) == scene_digest(json.loads(json.dumps(dict(reversed(scene.items())))))
    assert scene_digest(scene) != scene_digest({**scene, "goal": [2.0, 3.1]})
