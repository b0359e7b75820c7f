"""Meshes to measure: one node in this process, the others as `bms start` processes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from bellande_mesh_sync import Config, Mesh, MeshOptions, init_with_options
from bellande_mesh_sync.client import Client
from tools.processes import NodeProcess, all_stopped, join_mesh

T = TypeVar("T")

LINK_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02


def run_as_a_node(main: Coroutine[Any, Any, T]) -> T:
    """Run on the event loop that `bms start` takes: uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


def results_folder() -> Path:
    """On the disk of the checkout: /tmp is memory on many machines, and a sync there costs nothing."""
    folder = Path(__file__).resolve().parent / "results"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def fresh_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=results_folder()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def joined_homes(root: Path, count: int) -> Iterator[list[NodeProcess]]:
    """Homes of `count` members of one new mesh; all but the first are running."""
    nodes = join_mesh(root, [f"node{number}" for number in range(1, count + 1)], mesh="bench")
    with all_stopped(nodes):
        nodes[0].stop()
        for node in nodes[1:]:
            node.start()
        yield nodes


@contextlib.asynccontextmanager
async def embedded(home: Path, others: list[NodeProcess], db_url: str = "") -> AsyncIterator[Mesh]:
    """Run the node of `home` in this process, linked with all the others."""
    addresses = [str(node.ready["tcp"]) for node in others]
    config = Config(
        listen_address="127.0.0.1:0",
        bootstrap_nodes=tuple(addresses),
        http_port=-1,
        https_port=-1,
        db_url=db_url,
    )
    mesh = await init_with_options(config, MeshOptions(persistence_path=str(home)))
    async with mesh:
        deadline = time.monotonic() + LINK_SECONDS_MAX
        while sum(node.linked for node in await mesh.nodes()) < len(others):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not linked with all others within {LINK_SECONDS_MAX:.0f} s")
            await asyncio.sleep(POLL_SECONDS)
        yield mesh


async def wait_for_records(nodes: list[NodeProcess], count: int, seconds_max: float) -> None:
    """Return when each of the nodes has committed `count` records."""
    deadline = time.monotonic() + seconds_max
    with contextlib.ExitStack() as open_clients:
        clients = [open_clients.enter_context(Client(node.http_url, node.admin_token())) for node in nodes]
        waiting = list(clients)
        while waiting:
            statuses = [await asyncio.to_thread(client.status) for client in waiting]
            waiting = [
                client for client, status in zip(waiting, statuses, strict=True) if status.records < count
            ]
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(waiting)} nodes lack records after {seconds_max:.0f} s")
            if waiting:
                await asyncio.sleep(POLL_SECONDS)
