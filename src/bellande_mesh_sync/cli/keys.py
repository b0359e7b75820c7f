"""`bms keys`: the keys of a node."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.groups import CommandGroup
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

keys = CommandGroup(
    "keys",
    section="Members",
    help="Look after the keys of a node.",
    members={"rotate": "keys:rotate"},
    examples=("bms keys rotate",),
)


@click.command(cls=Command, section="Members", examples=("bms keys rotate",))
@click.option(
    "--what", type=click.Choice(("udp",)), default="udp", help="The key of its datagrams.  [default: udp]"
)
@click.pass_obj
def rotate(session: Session, what: str) -> None:
    """Make a new key now.

    It changes by itself once a day and with each start. All members are told of the new one; it is used
    from five minutes later on, and the old one is good for ten, so nothing is lost.
    """
    with session.client() as client:
        found = client.rotate_keys(what)
    minutes = found.old_until_s // 60
    session.output().result(found, f"a new key is told to all members; the old one is good for {minutes} min")
