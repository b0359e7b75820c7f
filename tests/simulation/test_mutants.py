"""The simulator finds bugs: each planted one, in a run that is known to show it, and none without it.

After a change of what seeds draw, `python -m tools.mutants --record --write` finds such runs anew.
"""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.data.replica import Replica
from tests.simulation.mutants.catalogue import GROUPS, MUTANTS
from tests.simulation.mutants.hunting import break_of, hunt, load_finds
from tests.simulation.mutants.planting import Mutant, planted

FINDS = load_finds()
RUNS = sorted({(find.world, find.seed, find.nodes, find.minutes) for find in FINDS.values()})


def test_each_planted_bug_has_a_name_of_its_own_and_is_found() -> None:
    assert len(MUTANTS) == sum(map(len, GROUPS.values()))
    assert FINDS.keys() == MUTANTS.keys(), "run 'python -m tools.mutants --record --write'"


@pytest.mark.parametrize("name", FINDS)
def test_a_planted_bug_is_found_by_its_check(name: str) -> None:
    find = FINDS[name]
    again = hunt(MUTANTS[name], [find.seed], nodes=find.nodes, minutes=find.minutes)
    assert again == find, "run 'python -m tools.mutants --record --write' if seeds draw something else now"


@pytest.mark.parametrize(("world", "seed", "nodes", "minutes"), RUNS)
def test_nothing_is_found_where_no_bug_is_planted(
    world: str, seed: int, nodes: tuple[int, int], minutes: float
) -> None:
    assert break_of(world, seed, nodes=nodes, minutes=minutes)[0] == ""


def test_a_bug_is_gone_when_its_block_ends() -> None:
    healthy = Replica.seal.__code__
    with planted(MUTANTS["knowledge_is_durable_at_once"]):
        assert Replica.seal.__code__ is not healthy
    assert Replica.seal.__code__ is healthy


def test_a_bug_that_no_longer_fits_the_core_is_told() -> None:
    stale = Mutant("stale", "It is for an older core.", Replica.seal, "what stood there once", "")
    with pytest.raises(AssertionError, match="stands 0 times"), planted(stale):
        pass
