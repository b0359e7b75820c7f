"""How long one small put takes, one after the other: on the own disk, and on all three nodes' disks."""

from __future__ import annotations

import time

from bellande_mesh_sync import Mesh
from bench import floors
from bench.measure import Report, percentile, progress
from bench.meshes import embedded, fresh_folder, joined_homes, run_as_a_node

PUTS = 2_000
VALUE = bytes(100)
LEVELS = ("local", "all")


def run(runs: int) -> Report:
    report = Report("put_latency")
    samples: dict[str, list[list[float]]] = {level: [] for level in LEVELS}
    for number in range(runs):
        for level, seconds in run_as_a_node(one_run()).items():
            samples[level].append(seconds)
        medians = ", ".join(f"{level} {percentile(samples[level][-1], 0.5) * 1e3:.2f} ms" for level in LEVELS)
        progress(f"put latency, run {number + 1} of {runs}: p50 {medians}")
    for level in LEVELS:
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            values = [percentile(seconds, share) * 1e3 for seconds in samples[level]]
            report.add(f"put of 100 B, ack={level}, {label}", "ms", values)
    floors.synced_append(report, runs, PUTS)
    return report


async def one_run() -> dict[str, list[float]]:
    with fresh_folder() as root, joined_homes(root, 3) as nodes:
        async with embedded(nodes[0].home, nodes[1:]) as mesh:
            return {level: await put_all(mesh, level) for level in LEVELS}


async def put_all(mesh: Mesh, level: str) -> list[float]:
    seconds = []
    for number in range(PUTS):
        began = time.perf_counter()
        await mesh.put(f"bench/latency/{level}/{number:05d}", VALUE, ack=level)
        seconds.append(time.perf_counter() - began)
    return seconds
