"""`bms share`: a folder and a prefix of keys are kept the same, both ways."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.share.options import Event
    from bellande_mesh_sync.share.planner import Mode

_NOTES = frozenset({"waiting", "not_watching", "settled"})
"""What a person is told beside what happens to the files."""


@click.command(
    cls=Command,
    section="Folders",
    examples=(
        "bms share ~/plans --as fleet/plans",
        "bms share /srv/maps --as fleet/maps --once --dry-run",
        "bms share /var/lib/robot/maps --as fleet/maps --receive-only",
    ),
)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False))
@click.option("--as", "prefix", metavar="PREFIX", required=True, help="Keys are PREFIX/path/below/DIR.")
@click.option("--once", is_flag=True, help="Bring both to the same and end, rather than go on until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, once, and do nothing.")
@click.option("--read-only", is_flag=True, help="Only read DIR: its changes go to the mesh, none come back.")
@click.option("--receive-only", is_flag=True, help="Only read the mesh: its changes come to DIR.")
@click.option("--allow-empty", is_flag=True, help="Go on although DIR or the mesh has lost all of its files.")
@click.option(
    "--start-over", is_flag=True, help="Forget what was agreed; merge what both have, and delete nothing."
)
@click.pass_obj
def share(
    session: Session,
    folder: str,
    prefix: str,
    once: bool,
    dry_run: bool,
    read_only: bool,
    receive_only: bool,
    allow_empty: bool,
    start_over: bool,
) -> int:
    """Keep DIR and the keys below PREFIX the same, both ways, until Ctrl-C.

    One line is printed for each file that goes one way or the other. Symbolic links are not followed, and
    what cannot be shared is named. The file .bmsignore in DIR says what to leave out, as .gitignore would.
    When both sides changed one file, both versions are kept: the other one appears beside it as
    "NAME (conflict NODE DATE).EXT"; delete that, or move it over the file, to settle it.
    """
    from bellande_mesh_sync.keys import check_prefix
    from bellande_mesh_sync.share.options import Options

    if read_only and receive_only:
        raise UsageError(reason="--read-only and --receive-only exclude each other")
    if not check_prefix(prefix).strip("/"):
        raise UsageError(reason="--as needs a prefix of at least one segment")
    mode: Mode = "read-only" if read_only else "receive-only" if receive_only else "both"
    options = Options(mode=mode, dry_run=dry_run, allow_empty=allow_empty, start_over=start_over)
    tell = _teller(session.output())
    home = session.open_home().path
    if not once and not dry_run:
        from bellande_mesh_sync.cli.streams import interrupted_when_unread
        from bellande_mesh_sync.share.runner import share_live

        with contextlib.suppress(KeyboardInterrupt), interrupted_when_unread():
            share_live(folder, prefix, home, session.client, options, tell)
        return exits.DONE
    from bellande_mesh_sync.share.runner import share_once

    outcome = share_once(folder, prefix, home, session.client, options, tell)
    return exits.FAILED if outcome.failed or outcome.busy else exits.DONE


def _teller(output: Output) -> Callable[[Event], None]:
    """JSON lines for a program; for a person a line a file, and the rest beside it."""

    def tell(event: Event) -> None:
        if output.as_json:
            output.event(event.document(), "")
        elif event.event in _NOTES:
            output.note(_note_of(event))
        elif event.event in ("failed", "not_shared", "held"):
            facts = event.facts or {}
            output.note(f"{event.event.replace('_', ' ')}: {event.path}: {facts.get('reason', '')}")
        else:
            from bellande_mesh_sync.cli.output import plain

            output.event(None, f"{event.event}\t{plain(event.path)}")

    return tell


def _note_of(event: Event) -> str:
    facts = event.facts or {}
    if event.event == "settled":
        failed = facts.get("failed", 0)
        return (
            f"both sides are the same, but for {failed} that failed" if failed else "both sides are the same"
        )
    if event.event == "waiting":
        return f"waiting {facts['seconds']:g} s for the node: {facts['reason']}"
    return str(facts["reason"])
