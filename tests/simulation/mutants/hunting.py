"""The hunt for a planted bug: seed after seed until a check finds it; and the record of finds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bellande_mesh_sync.sim import member_campaign
from bellande_mesh_sync.sim.simulation import run
from bellande_mesh_sync.sim.swarm import draw
from tests.simulation.mutants.planting import MEMBERS, MESH, Mutant, planted

FOUND_FILE: Final = Path(__file__).with_name("found.json")


class Find(Struct, frozen=True, omit_defaults=True):
    """A run that finds a bug."""

    seed: int
    nodes: tuple[int, int]
    minutes: float
    check: str
    """The check that caught it."""
    virtual_s: float
    """How far the run had come."""
    world: str = MESH


def break_of(world: str, seed: int, *, nodes: tuple[int, int], minutes: float) -> tuple[str, float]:
    """What the run of this seed breaks, if anything, and how far it came in virtual seconds."""
    if world == MEMBERS:
        members = member_campaign.run_seed(seed, minutes).outcome
        return members.violation, members.virtual_s
    outcome = run(draw(seed, nodes=nodes, minutes=minutes))
    return outcome.violation, outcome.virtual_s


def hunt(mutant: Mutant, seeds: Iterable[int], *, nodes: tuple[int, int], minutes: float) -> Find | None:
    """The first of the seeds whose run breaks a promise with the bug planted.

    `nodes`: of a whole mesh. How many members a world of members alone has, its seed says.
    """
    nodes = member_campaign.NODES if mutant.world == MEMBERS else nodes
    with planted(mutant):
        for seed in seeds:
            violation, virtual_s = break_of(mutant.world, seed, nodes=nodes, minutes=minutes)
            if violation:
                check = violation.partition(":")[0]
                return Find(seed, nodes, minutes, check, round(virtual_s, 1), mutant.world)
    return None


def load_finds() -> dict[str, Find]:
    """By the bug's name; nothing before the first record."""
    text = FOUND_FILE.read_bytes() if FOUND_FILE.exists() else b"{}"
    return msgspec.json.decode(text, type=dict[str, Find])


def save_finds(finds: dict[str, Find]) -> None:
    lines = [f"  {_encode(name)}: {_encode(finds[name])}" for name in sorted(finds)]
    FOUND_FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _encode(value: object) -> str:
    return msgspec.json.encode(value).decode()
