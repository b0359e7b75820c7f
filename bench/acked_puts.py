"""Puts that one more node has on its disk, one at a time and 500 in flight, beside JetStream KV."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bellande_mesh_sync import Mesh
from bench import nats_peer
from bench.measure import Report, progress
from bench.meshes import embedded, fresh_folder, joined_homes, run_as_a_node
from bench.peers import is_there

ALONE = 1_000
TOGETHER = 20_000
IN_FLIGHT = 500
VALUE = bytes(100)
WAYS = ("one at a time", f"{IN_FLIGHT} in flight", f"{IN_FLIGHT} in flight, as a list")
GOALS = {WAYS[0]: 1.0, WAYS[2]: 4.0}
"""By JetStream's figure for as many in flight. Its clients have no call for a list."""

Put = Callable[[str, bytes], Awaitable[object]]


def run(runs: int) -> Report:
    report = Report("acked_puts")
    has_nats = is_there(report, "nats-server")
    ours: dict[str, list[float]] = {way: [] for way in WAYS}
    theirs: dict[str, list[float]] = {way: [] for way in WAYS[:2]}
    for number in range(runs):
        collect(ours, run_as_a_node(one_run()))
        if has_nats:
            collect(theirs, run_as_a_node(one_nats_run()))
        progress(f"acked puts, run {number + 1} of {runs}: {ours[WAYS[2]][-1]:,.0f} puts/s in lists")
    for way in WAYS:
        report.add(f"put of 100 B, ack=one, {way}", "puts/s", ours[way])
        beside = theirs[way if way in theirs else WAYS[1]]
        if beside and way in theirs:
            report.add(f"JetStream KV (TLS, no sync), {way}", "puts/s", beside, "peer")
        report.add_ratio("  by JetStream", ours[way], beside, at_least=GOALS.get(way))
    return report


def collect(found: dict[str, list[float]], rates: dict[str, float]) -> None:
    for way, rate in rates.items():
        found[way].append(rate)


async def one_run() -> dict[str, float]:
    with fresh_folder() as root, joined_homes(root, 2) as nodes:
        async with embedded(nodes[0].home, nodes[1:]) as mesh:

            async def put(key: str, value: bytes) -> None:
                await mesh.put(f"bench/{key}", value, ack="one")

            rates = await both_ways(put)
            return {**rates, WAYS[2]: await in_lists(mesh)}


async def one_nats_run() -> dict[str, float]:
    with fresh_folder() as root:
        async with nats_peer.bucket(root) as jet:
            return await both_ways(jet.put)


async def both_ways(put: Put) -> dict[str, float]:
    """Puts a second, one after the other, and by as many tasks as there may be in flight."""
    began = time.perf_counter()
    for number in range(ALONE):
        await put(f"alone{number}", VALUE)
    alone = ALONE / (time.perf_counter() - began)
    numbers = iter(range(TOGETHER))

    async def work() -> None:
        for number in numbers:
            await put(f"together{number}", VALUE)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    return {WAYS[0]: alone, WAYS[1]: TOGETHER / (time.perf_counter() - began)}


async def in_lists(mesh: Mesh) -> float:
    """The same, five lists of a hundred at any time."""
    size = IN_FLIGHT // 5
    starts = iter(range(0, TOGETHER, size))

    async def work() -> None:
        for start in starts:
            items = [(f"bench/listed{number}", VALUE) for number in range(start, start + size)]
            await mesh.put_many(items, ack="one")

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(work())
    return TOGETHER / (time.perf_counter() - began)
