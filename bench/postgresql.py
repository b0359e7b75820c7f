"""A node whose records live on a PostgreSQL server on this machine, beside the embedded engine.

Both start empty, get all records from another node, and then take small puts one after the other.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from bellande_mesh_sync import Mesh
from bench.measure import Report, percentile, progress
from bench.meshes import (
    POLL_SECONDS,
    embedded,
    fresh_folder,
    joined_homes,
    results_folder,
    run_as_a_node,
    wait_for_records,
)
from bench.small_records import write_all
from tools.postgres_server import NoServerError, PostgresServer
from tools.processes import NodeProcess

RECORDS = 50_000
VALUE_BYTES = 100
PUTS = 500
SECONDS_MAX = 300.0
ENGINES = ("embedded", "PostgreSQL")

Times = tuple[float, float, list[float]]
"""Seconds of the first sync, of the next start, and of each put."""


def run(runs: int) -> Report:
    report = Report("postgresql")
    found: dict[str, list[Times]] = {engine: [] for engine in ENGINES}
    try:
        server = PostgresServer(results_folder())
    except NoServerError as error:
        report.skipped.append(f"PostgreSQL: {error}")
        return report
    with server:
        for number in range(runs):
            for engine, times in run_as_a_node(one_run(server, f"bench_{number}")).items():
                found[engine].append(times)
            rates = ", ".join(f"{engine} {RECORDS / found[engine][-1][0]:,.0f}" for engine in ENGINES)
            progress(f"postgresql, run {number + 1} of {runs}: {rates} records/s")
    for engine in ENGINES:
        synced, started, puts = zip(*found[engine], strict=True)
        name = f"{RECORDS:,} records of {VALUE_BYTES} B from a peer, {engine}"
        report.add(name, "records/s", [RECORDS / seconds for seconds in synced])
        report.add(f"start with them, {engine}", "s", list(started))
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            values = [percentile(seconds, share) * 1e3 for seconds in puts]
            report.add(f"put of {VALUE_BYTES} B, {label}, {engine}", "ms", values)
    return report


async def one_run(server: PostgresServer, schema: str) -> dict[str, Times]:
    rng = random.Random(3)
    items = [(f"bench/small/{number:06d}", rng.randbytes(VALUE_BYTES)) for number in range(RECORDS)]
    urls = ("sqlite:///bench.db", server.url(schema=schema))
    with fresh_folder() as root, joined_homes(root, 2) as nodes:
        home, others = nodes[0].home, nodes[1:]
        async with embedded(home, others) as mesh:
            await write_all(mesh, items)
            await wait_for_records(others, RECORDS, SECONDS_MAX)
        return {engine: await measure(home, others, url) for engine, url in zip(ENGINES, urls, strict=True)}


async def measure(home: Path, others: list[NodeProcess], url: str) -> Times:
    began = time.perf_counter()
    async with embedded(home, others, url) as mesh:
        await has_all(mesh)
        synced = time.perf_counter() - began
        puts = await put_some(mesh)
    began = time.perf_counter()
    async with embedded(home, others, url):
        return synced, time.perf_counter() - began, puts


async def has_all(mesh: Mesh) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while (await mesh.status()).records < RECORDS:  # noqa: ASYNC110  # the records are counted, not told
            await asyncio.sleep(POLL_SECONDS)


async def put_some(mesh: Mesh) -> list[float]:
    seconds = []
    for number in range(PUTS):
        began = time.perf_counter()
        await mesh.put(f"bench/latency/{number:05d}", bytes(VALUE_BYTES))
        seconds.append(time.perf_counter() - began)
    return seconds
