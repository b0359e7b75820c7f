"""`bms placement`, `bms replicate`: who is to hold what, and whether they have it."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.durations import TimeoutType
from bellande_mesh_sync.cli.look import ID_LENGTH_SHOWN
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session


@click.command(
    cls=Command, section="Look", examples=("bms placement", "bms placement fleet/plans/dock --json")
)
@click.argument("key", required=False)
@click.pass_obj
def placement(session: Session, key: str | None) -> None:
    """Show which members are to hold a KEY; without one, how much each holds of which space.

    Without KEY only spaces with a number of replicas are shown; every other one is on every member. Columns:
    space, member, zone, capacity, how many shards of the space it is to hold, and their share of all copies.
    """
    if key is not None:
        _show_key(session, key)
        return
    output = session.output()
    with session.client() as client:
        spaces = client.placement()
    if output.as_json:
        output.result({"spaces": spaces}, "")
        return
    rows = [
        (
            each.space,
            share.name or share.node[:ID_LENGTH_SHOWN],
            share.zone,
            str(share.capacity),
            str(share.shards),
            f"{share.shards / max(1, sum(other.shards for other in each.nodes)):.1%}",
        )
        for each in spaces
        for share in each.nodes
    ]
    output.table(("SPACE", "MEMBER", "ZONE", "CAPACITY", "SHARDS", "SHARE"), rows)


def _show_key(session: Session, key: str) -> None:
    output = session.output()
    with session.client() as client:
        found = client.placement_of(key)
    if output.as_json:
        output.result(found, "")
        return
    length = ID_LENGTH_SHOWN if output.is_terminal else None
    rows = [(node[:length], name) for node, name in zip(found.owners, found.names, strict=True)]
    output.table(("OWNER", "NAME"), rows)


@click.command(cls=Command, section="Data", examples=("bms replicate fleet/plans/dock --timeout 30s",))
@click.argument("key")
@click.option("--timeout", type=TimeoutType(), default=10.0, help="Give up after this long.  [default: 10]")
@click.pass_obj
def replicate(session: Session, key: str, timeout: float) -> None:
    """Wait until every member that is to hold KEY has it on its disk.

    Exit code 7 if some have not in time; it goes on spreading.
    """
    with session.client() as client:
        nodes = client.replicate(key, timeout=timeout)
    session.output().result({"key": key, "nodes": nodes}, f"{key} is on the disks of {len(nodes)} nodes")
