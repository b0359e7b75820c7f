"""A node's discovery alone, as a process: `python -m tests.shell.lan_node HOST PORT MESH NODE`.

It says on standard output whom it found and where, logs warnings, and ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import logging
import sys

from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell.discovery import Discovery
from bellande_mesh_sync.shell.own_addresses import AddressWatch, reached_at


def say(found: Found) -> None:
    assert found.node is not None
    print(found.node.hex(), *found.addresses, flush=True)


async def main(host: str, port: int, mesh: bytes, node: NodeId) -> None:
    def addresses() -> tuple[str, ...]:
        return reached_at(host, port)

    discovery = Discovery(mesh_id=mesh, node=node, addresses=addresses(), on_found=say)
    watch = AddressWatch(addresses_now=addresses, on_changed=discovery.update, interval_s=0.2)
    await discovery.start()
    watch.start()
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await watch.close()
    await discovery.close()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), NodeId(bytes.fromhex(sys.argv[4])))
    )
