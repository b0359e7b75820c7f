"""The nearest members by XOR distance, and keeping their index as members come and go."""

from __future__ import annotations

import heapq
import random
import statistics
import time
from collections.abc import Callable

from bellande_mesh_sync.core.members.nearest import NearestIndex
from bellande_mesh_sync.ids import NodeId
from bench.measure import Report, progress

MEMBERS = 10_000
COUNT = 20
CALLS = 2_000
FLOOR_CALLS = 20
SEED = 7


def run(runs: int) -> Report:
    report = Report("nearest")
    rng = random.Random(SEED)
    nodes = [NodeId(rng.randbytes(32)) for _ in range(MEMBERS)]
    points = [rng.randbytes(32) for _ in range(CALLS)]
    numbers = [int.from_bytes(node, "big") for node in nodes]
    index = NearestIndex(nodes)

    def look_at_all(point: bytes) -> None:
        target = int.from_bytes(point, "big")
        heapq.nsmallest(COUNT, numbers, key=target.__xor__)

    def come_and_go(point: bytes) -> None:
        index.add(NodeId(point))
        index.discard(NodeId(point))

    progress(f"{COUNT} nearest of {MEMBERS:,}")
    of = f"{COUNT} of {MEMBERS:,}"
    report.add(f"{of}, looking at all", "us", _runs(runs, look_at_all, points[:FLOOR_CALLS]), "floor")
    by_index = _runs(runs, lambda point: index.nearest(point, COUNT), points)
    report.add(f"{of}, by the index", "us", by_index, at_most=1000)
    report.add("a member comes and goes", "us", _runs(runs, come_and_go, points))
    report.add("the index, built anew", "us", _runs(runs, lambda _: NearestIndex(nodes), points[:5]))
    return report


def _runs(runs: int, call: Callable[[bytes], object], points: list[bytes]) -> list[float]:
    """The median of the calls' times, in microseconds, for each run."""
    return [statistics.median(_microseconds(call, point) for point in points) for _ in range(runs)]


def _microseconds(call: Callable[[bytes], object], point: bytes) -> float:
    began = time.perf_counter()
    call(point)
    return (time.perf_counter() - began) * 1e6
