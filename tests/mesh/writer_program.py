"""A node that writes as fast as it can and says which writes were acknowledged. It waits to be killed.

Arguments: home, round number, bootstrap address... WRITER_DB_URL may name another store.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys

from bellande_mesh_sync import BellandeMeshError, Config, Mesh, MeshOptions, init_with_options

AT_ONCE = 32


def say(**facts: object) -> None:
    # One write of one line: a kill leaves it whole or absent.
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def write(mesh: Mesh, level: str, round_number: int, numbers: itertools.count[int]) -> None:
    """Small values, now and then several together, now and then one that needs chunks."""
    for number in numbers:
        keys = [f"load/{level}/{round_number}/{number}"]
        try:
            if number % 50 == 49:
                await mesh.put(keys[0], value_of(keys[0]) * 1000, ack=level, timeout=60)
            elif number % 10 == 9:
                keys = [f"{keys[0]}/{part}" for part in range(20)]
                await mesh.put_many([(key, value_of(key)) for key in keys], ack=level, timeout=60)
            else:
                await mesh.put(keys[0], value_of(keys[0]), ack=level, timeout=60)
        except BellandeMeshError as error:
            say(event="error", code=error.code, text=str(error))
            continue
        say(event="acked", level=level, keys=keys)


def value_of(key: str) -> bytes:
    return f"value of {key} ".encode()


async def main() -> None:
    home, round_number, *bootstrap = sys.argv[1:]
    config = Config(
        listen_address="127.0.0.1:0",
        name="writer",
        bootstrap_nodes=tuple(bootstrap),
        http_port=-1,
        https_port=-1,
        db_url=os.environ.get("WRITER_DB_URL", ""),
    )
    options = MeshOptions(dev_mode=True, enable_persistence=True, persistence_path=home)
    mesh = await init_with_options(config, options)
    await mesh.start()
    say(event="ready", node=mesh.node_id, tcp=(await mesh.status()).tcp)
    while len([view for view in await mesh.nodes() if view.linked]) < len(bootstrap):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    say(event="linked")
    async with asyncio.TaskGroup() as tasks:
        for level in ("local", "all"):
            numbers = itertools.count()
            for _ in range(AT_ONCE):
                tasks.create_task(write(mesh, level, int(round_number), numbers))


if __name__ == "__main__":
    asyncio.run(main())
