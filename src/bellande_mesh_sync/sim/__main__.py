"""`python -m bellande_mesh_sync.sim`: run many seeds, replay one, or shrink a failure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.sim.command import Request, options, simulate

PROG = "python -m bellande_mesh_sync.sim"


@click.command(PROG)
@options
def command(**values: Any) -> int:
    """Run simulated meshes under faults and check what they promise."""
    try:
        return simulate(Request(**values))
    except BellandeMeshError as error:
        raise click.ClickException(str(error)) from None


def _members(words: Sequence[str], prog: str) -> int:
    from bellande_mesh_sync.sim import members_command

    try:
        return members_command.main(words, f"{prog} members")
    except SystemExit as error:  # It has printed its help, or what is wrong.
        return int(error.code or 0)


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """0 if every promise was kept, 1 if not, 2 for wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["members"]:
        return _members(words[1:], prog)
    try:
        return int(command.main(words, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130


if __name__ == "__main__":
    sys.exit(main())
