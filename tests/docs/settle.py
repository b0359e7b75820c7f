"""`python settle.py HOME...`: wait until a node runs in each home and all of them hold the same.

A reader of the tutorial types slowly enough for that; a test does not.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.home import Home

SECONDS_MAX = 30.0


def is_settled(homes: list[Path]) -> bool:
    digests, members = set(), []
    for path in homes:
        running = Home(path).running()
        if not running or not running.get("http"):
            return False
        with Client(f"http://{running['http']}", Home(path).admin_token()) as client:
            digests.add(client.digest()["digest"])
            members.append(client.status().members.get("alive", 0))
    return len(digests) == 1 and min(members) >= len(homes)


def main() -> int:
    homes = [Path(name) for name in sys.argv[1:]]
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            if is_settled(homes):
                return 0
        except BellandeMeshError:
            pass  # It is just starting.
        time.sleep(0.05)
    print(f"not settled after {SECONDS_MAX:.0f} s: {sys.argv[1:]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
