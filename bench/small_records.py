"""100,000 records of 100 B, written at one node, until all three nodes have them on disk."""

from __future__ import annotations

import asyncio
import os
import random
import time

from bellande_mesh_sync import Mesh
from bench import floors, redis_peer
from bench.measure import Report, cpu_seconds, progress
from bench.meshes import embedded, fresh_folder, joined_homes, run_as_a_node, wait_for_records

RECORDS = 100_000
VALUE_BYTES = 100
BATCH = 1_000
BATCHES_IN_FLIGHT = 8


def run(runs: int) -> Report:
    report = Report("small_records")
    results = []
    for number in range(runs):
        results.append(run_as_a_node(one_run()))
        progress(f"small records, run {number + 1} of {runs}: {RECORDS / results[-1][0]:,.0f} records/s")
    total, written, cpu = zip(*results, strict=True)
    report.add(
        f"{RECORDS:,} records of {VALUE_BYTES} B to all three disks",
        "records/s",
        [RECORDS / seconds for seconds in total],
    )
    report.add("the same, until on the writer's own disk", "records/s", [RECORDS / s for s in written])
    report.add("CPU of all three nodes and the writer", "us/record", [s / RECORDS * 1e6 for s in cpu])
    floors.sqlite_append(report, runs, RECORDS, VALUE_BYTES)
    redis_peer.replication(report, runs, RECORDS, VALUE_BYTES)
    return report


async def one_run() -> tuple[float, float, float]:
    """Seconds until all had everything, seconds until the writer had, CPU seconds of all processes."""
    rng = random.Random(3)
    items = [(f"bench/small/{number:06d}", rng.randbytes(VALUE_BYTES)) for number in range(RECORDS)]
    with fresh_folder() as root, joined_homes(root, 3) as nodes:
        async with embedded(nodes[0].home, nodes[1:]) as mesh:
            pids = [os.getpid(), *(node.pid for node in nodes[1:])]
            cpu_before = cpu_seconds(pids)
            began = time.perf_counter()
            await write_all(mesh, items)
            written = time.perf_counter() - began
            await wait_for_records(nodes[1:], RECORDS, seconds_max=300.0)
            total = time.perf_counter() - began
            return total, written, cpu_seconds(pids) - cpu_before


async def write_all(mesh: Mesh, items: list[tuple[str, bytes]]) -> None:
    """`put_many` with a few batches on their way at any time, as a busy program would."""
    batches = iter([items[start : start + BATCH] for start in range(0, len(items), BATCH)])

    async def work() -> None:
        for batch in batches:
            await mesh.put_many(batch, ack="local")

    async with asyncio.TaskGroup() as group:
        for _ in range(BATCHES_IN_FLIGHT):
            group.create_task(work())
