"""`python -m bellande_mesh_sync.sim`: run many seeds, replay one, or shrink a failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.sim.command import Request, options, simulate


@click.command("python -m bellande_mesh_sync.sim")
@options
def command(**values: Any) -> int:
    """Run simulated meshes under faults and check what they promise."""
    try:
        return simulate(Request(**values))
    except BellandeMeshError as error:
        raise click.ClickException(str(error)) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every promise was kept, 1 if not, 2 for wrong usage."""
    try:
        return int(command.main(arguments, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130


if __name__ == "__main__":
    sys.exit(main())
