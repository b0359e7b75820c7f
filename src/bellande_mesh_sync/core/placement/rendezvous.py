"""Rendezvous: which of the members hold a shard. The same on every node that knows the same members.

Each member draws a number for each shard, from a hash of both; those with the highest scores hold it. Who
comes or goes moves only what it takes or had. (Thaler and Ravishankar, "Using name-based mappings to increase
hit rates", 1998; weights by -w / ln(u), Schindelhauer and Schomaker, 2005.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from blake3 import blake3

from bellande_mesh_sync.ids import NodeId, Shard

_SCALE = 1 << 64


class Candidate(NamedTuple):
    """A member that may hold shards."""

    node: NodeId
    capacity: int = 100
    """0: it holds nothing, as long as there is anybody else."""
    zone: str = ""
    """Members of one zone fail together; "" shares its zone with nobody."""


def score(shard: Shard, candidate: Candidate) -> float:
    """Higher is better. Twice the capacity is twice the chance to be the highest."""
    drawn = int.from_bytes(blake3(shard.encode() + candidate.node).digest(8), "big")
    return -max(candidate.capacity, 1) / math.log((drawn + 0.5) / _SCALE)


def choose_owners(shard: Shard, candidates: Iterable[Candidate], replicas: int) -> tuple[NodeId, ...]:
    """The owners, best first: as many as asked for, or as there are. No two of one zone if others are left.

    Cost: O(candidates), about a microsecond each.
    """
    every = list(candidates)
    able = [candidate for candidate in every if candidate.capacity] or every
    ranked = sorted(able, key=lambda each: (score(shard, each), each.node), reverse=True)
    return tuple(candidate.node for candidate in _spread_over_zones(ranked, replicas))


def _spread_over_zones(ranked: Sequence[Candidate], replicas: int) -> list[Candidate]:
    chosen: list[Candidate] = []
    passed_over: list[Candidate] = []
    zones: set[str] = set()
    for candidate in ranked:
        if len(chosen) == replicas:
            return chosen
        if candidate.zone and candidate.zone in zones:
            passed_over.append(candidate)
            continue
        zones.add(candidate.zone)
        chosen.append(candidate)
    # Fewer zones than replicas: a second copy in a zone is better than none.
    return chosen + passed_over[: replicas - len(chosen)]
