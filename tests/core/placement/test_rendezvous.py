"""Rendezvous: who owns what follows from the members alone, evenly, and moves as little as it can."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bellande_mesh_sync.core.placement.rendezvous import Candidate, choose_owners
from bellande_mesh_sync.core.placement.shards import placed_shard, shard_index, shard_parts
from bellande_mesh_sync.ids import NodeId, Shard
from tests.core.making import node_of_name


def members(count: int) -> list[Candidate]:
    return [Candidate(node_of_name(f"node {number}")) for number in range(count)]


def shards(count: int) -> list[Shard]:
    return [placed_shard("fleet", count, index) for index in range(count)]


def load_of(candidates: list[Candidate], replicas: int, count: int) -> Counter[NodeId]:
    load: Counter[NodeId] = Counter({each.node: 0 for each in candidates})
    for shard in shards(count):
        load.update(choose_owners(shard, candidates, replicas))
    return load


def test_4096_shards_spread_evenly_over_a_hundred_members() -> None:
    load = load_of(members(100), 3, 4096)
    mean = sum(load.values()) / 100
    assert sum(load.values()) == 3 * 4096
    assert max(load.values()) / mean <= 1.3
    assert min(load.values()) / mean >= 0.7


def test_the_default_of_256_shards_spreads_evenly_over_six_members() -> None:
    load = load_of(members(6), 2, 256)
    assert max(load.values()) / (sum(load.values()) / 6) <= 1.3


def test_keys_spread_evenly_over_shards() -> None:
    found = Counter(shard_index(f"fleet/robot-{number}/pose", 64) for number in range(20_000))
    assert len(found) == 64
    assert max(found.values()) / (20_000 / 64) <= 1.3


def test_twice_the_capacity_holds_twice_as_much() -> None:
    every = members(20)
    heavy = every[3]._replace(capacity=200)
    load = load_of([heavy if each.node == heavy.node else each for each in every], 1, 4096)
    others = [count for node, count in load.items() if node != heavy.node]
    assert 1.6 <= load[heavy.node] / (sum(others) / len(others)) <= 2.4


def test_a_member_without_capacity_holds_nothing_while_there_are_others() -> None:
    full = Candidate(node_of_name("full"), 0)
    assert load_of([*members(3), full], 2, 64)[full.node] == 0
    assert choose_owners(shards(64)[0], [full], 2) == (full.node,)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 4), st.integers(0, 11))
def test_who_comes_or_goes_moves_only_its_own(count: int, replicas: int, which: int) -> None:
    every = members(count)
    leaver = every[which % count]
    left = [each for each in every if each != leaver]
    for shard in shards(64):
        before = choose_owners(shard, every, replicas)
        after = choose_owners(shard, left, replicas)
        # Seen the other way round: who joins takes over shards, and no other member gets any.
        assert set(after) >= set(before) - {leaver.node}
        if leaver.node not in before:
            assert after == before


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["", "north", "south", "west"]), min_size=1, max_size=9), st.integers(1, 4))
def test_no_two_owners_share_a_zone_while_there_are_others(zones: list[str], replicas: int) -> None:
    every = [each._replace(zone=zone) for each, zone in zip(members(len(zones)), zones, strict=True)]
    zone_of = {each.node: each.zone for each in every}
    kinds = len({zone for zone in zones if zone}) + zones.count("")
    for shard in shards(64)[:8]:
        owners = choose_owners(shard, every, replicas)
        assert len(owners) == len(set(owners)) == min(replicas, len(every))
        named = [zone_of[owner] for owner in owners if zone_of[owner]]
        distinct = len(set(named)) + sum(not zone_of[owner] for owner in owners)
        assert distinct == min(replicas, kinds)


def test_a_shards_name_tells_how_its_space_is_cut() -> None:
    assert shard_parts(placed_shard("fleet", 256, 17)) == ("fleet", 256, 17)
    assert shard_parts("a.b/0") == ("a.b", 0, 0)


@pytest.mark.parametrize("name", ["fleet/1", "fleet/256.256", "fleet/256.", "fleet/.3", "fleet/256.03", "fl"])
def test_other_names_are_no_shards(name: str) -> None:
    with pytest.raises(ValueError, match="no shard"):
        shard_parts(name)
