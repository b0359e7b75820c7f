"""10,000 values of 1 KiB to an empty node; then 100 of them changed while it was away. Beside rsync.

Node A is a process. Node B runs in this one; it is timed from its link with A on, until it has committed
everything. rsync gets the same as files and is timed as a whole: it has no link that stays.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from bellande_mesh_sync import Config, Mesh, MeshOptions, init_with_options
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import NotFoundError
from bench.filling import fill_home, keys_of
from bench.measure import Report, progress
from bench.meshes import fresh_folder, run_as_a_node
from bench.peers import is_there
from bench.rsync_peer import LABEL, Rsync, rsync
from tools.processes import NodeProcess, all_stopped, join_mesh

RECORDS = 10_000
CHANGED = 100
VALUE_BYTES = 1024
FOLDERS = 100
LOOK_SECONDS = 0.0005
SECONDS_MAX = 120.0
EMPTY_SHARE = 0.4
CHANGED_SHARE = 0.2

Question = Callable[[Mesh], Coroutine[None, None, bool]]


@dataclass(slots=True)
class Times:
    """Seconds, a value for each run."""

    empty: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)


def run(runs: int) -> Report:
    report = Report("catching_up")
    has_rsync = is_there(report, "rsync")
    ours, theirs = Times(), Times()
    for number in range(runs):
        run_as_a_node(one_run(ours))
        if has_rsync:
            rsync_run(theirs)
        seconds = f"{ours.empty[-1]:.3f} s and {ours.changed[-1]:.4f} s"
        progress(f"catching up, run {number + 1} of {runs}: {seconds}")
    size = f"{VALUE_BYTES:,} B"
    for name, our_s, their_s, share in (
        (f"{RECORDS:,} values of {size} to an empty node", ours.empty, theirs.empty, EMPTY_SHARE),
        (f"{CHANGED} of {RECORDS:,} changed while apart", ours.changed, theirs.changed, CHANGED_SHARE),
    ):
        report.add(f"{name}, from the link on", "s", our_s)
        if their_s:
            report.add(f"  {LABEL}", "s", their_s, "peer")
        report.add_ratio("  by rsync", our_s, their_s, at_most=share)
    return report


async def one_run(times: Times) -> None:
    with fresh_folder() as root:
        nodes = join_mesh(root, ["node1", "node2"], mesh="bench")
        nodes[0].stop()
        fill_home(nodes[0].home, RECORDS, VALUE_BYTES)
        with all_stopped([nodes[0]]):
            nodes[0].start()

            async def has_all(mesh: Mesh) -> bool:
                return (await mesh.status()).records >= RECORDS

            times.empty.append(await meet(nodes[1].home, nodes[0], has_all))
            values = await asyncio.to_thread(change_some, nodes[0])
            times.changed.append(await meet(nodes[1].home, nodes[0], holds(values)))


async def meet(home: Path, other: NodeProcess, is_done: Question) -> float:
    """Start the node of `home`; seconds from its link with the other until it is done."""
    config = Config(
        listen_address="127.0.0.1:0",
        bootstrap_nodes=(str(other.ready["tcp"]),),
        http_port=-1,
        https_port=-1,
    )
    mesh = await init_with_options(config, MeshOptions(persistence_path=str(home)))
    async with mesh, asyncio.timeout(SECONDS_MAX):

        async def is_linked(mesh: Mesh) -> bool:
            return await mesh.is_node_connected(str(other.ready["node"]))

        await until(mesh, is_linked)
        began = time.perf_counter()
        await until(mesh, is_done)
        seconds = time.perf_counter() - began
        with Client(other.http_url, other.admin_token()) as client:
            theirs = await asyncio.to_thread(client.digest)
        if theirs != await mesh.digest():
            raise RuntimeError("the two nodes do not hold the same")
        return seconds


async def until(mesh: Mesh, question: Question) -> None:
    while not await question(mesh):  # noqa: ASYNC110  # a look is cheap, and no event may be missed
        await asyncio.sleep(LOOK_SECONDS)


def holds(values: dict[str, bytes]) -> Question:
    """Whether all these values are there; what was there once is not looked at again."""
    missing = dict(values)

    async def look(mesh: Mesh) -> bool:
        while missing:
            key = next(iter(missing))
            try:
                if (await mesh.get(key)).data != missing[key]:
                    return False
            except NotFoundError:
                return False
            del missing[key]
        return True

    return look


def change_some(node: NodeProcess) -> dict[str, bytes]:
    keys = random.Random(7).sample(keys_of(RECORDS), CHANGED)
    values = {key: os.urandom(VALUE_BYTES + 1) for key in keys}
    with Client(node.http_url, node.admin_token()) as client:
        for key, value in values.items():
            client.put(key, value)
    return values


def rsync_run(times: Times) -> None:
    with rsync() as pair:
        for number in range(FOLDERS):
            (pair.source / f"{number:02d}").mkdir()
        for number in range(RECORDS):
            path_of(pair, number).write_bytes(os.urandom(VALUE_BYTES))
        os.sync()
        times.empty.append(pair.bring())
        for number in random.Random(7).sample(range(RECORDS), CHANGED):
            # A byte longer, so that it is seen to have changed whatever the clock says.
            path_of(pair, number).write_bytes(os.urandom(VALUE_BYTES + 1))
        os.sync()
        times.changed.append(pair.bring())
        shutil.rmtree(pair.source)


def path_of(pair: Rsync, number: int) -> Path:
    return pair.source / f"{number % FOLDERS:02d}" / f"{number:05d}"
