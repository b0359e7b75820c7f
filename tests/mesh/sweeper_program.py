"""A node that overwrites large values and sweeps all the while, until killed. Arguments: home, round."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import NoReturn

from bellande_mesh_sync import Config, Mesh, MeshOptions, SpacePolicy, init_with_options

KEYS = 4


def say(**facts: object) -> None:
    # One write of one line: a kill leaves it whole or absent.
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def write(mesh: Mesh, number: int) -> NoReturn:
    shared = b"the same in every round and of every key " * 5_000
    while True:
        key = f"load/{number}"
        receipt = await mesh.put(key, os.urandom(150_000) + shared)
        say(event="acked", key=key, digest=receipt.version)


async def sweep(mesh: Mesh) -> NoReturn:
    while True:
        report = await mesh.cleanup_data(grace=0)
        say(event="swept", swept=report.swept)


async def main() -> None:
    home, _ = sys.argv[1:]
    config = Config(
        listen_address="127.0.0.1:0",
        http_port=-1,
        https_port=-1,
        spaces={"load": SpacePolicy(history=0)},
    )
    options = MeshOptions(dev_mode=True, enable_persistence=True, persistence_path=home)
    mesh = await init_with_options(config, options)
    await mesh.start()
    say(event="ready")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sweep(mesh))
        for number in range(KEYS):
            tasks.create_task(write(mesh, number))


if __name__ == "__main__":
    asyncio.run(main())
