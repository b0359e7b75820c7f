"""`bms revoke`, `revocations`: expel a node for good, and see who was."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.look import ID_LENGTH_SHOWN
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

_SECTION = "Members"


@click.command(cls=Command, section=_SECTION, examples=("bms revoke crane-2 --reason stolen",))
@click.argument("node")
@click.option("--reason", metavar="TEXT", default="", help="Shown to everybody, the node itself among them.")
@click.pass_obj
def revoke(session: Session, node: str, reason: str) -> None:
    """Expel a node for good.

    NODE is a node's id, the first digits of one, or its name; of a node that is no member, the whole id.
    Every member closes its links with it and takes nothing of it any more; what it wrote so far stays, as
    far as the node that is asked knows it. There is no way back: the machine would need a new identity.
    Works on a node that holds the authority's key, or whose certificate has the role admin.
    """
    with session.client() as client:
        found = client.revoke(node, reason=reason)
    session.output().result(found, f"revoked {found.name or found.node} ({found.node})")


@click.command(cls=Command, section=_SECTION, examples=("bms revocations --json",))
@click.pass_obj
def revocations(session: Session) -> None:
    """List the nodes that were revoked, with what was refused of them.

    Columns: id, name, links and records refused since the node started, writes set aside, reason.
    """
    output = session.output()
    with session.client() as client:
        found = client.revocations()
    if output.as_json:
        output.result({"revocations": found}, "")
        return
    length = ID_LENGTH_SHOWN if output.is_terminal else None
    output.table(
        ("ID", "NAME", "LINKS", "RECORDS", "ASIDE", "REASON"),
        (
            (
                each.node[:length],
                each.name,
                each.refused_links,
                each.refused_records,
                each.set_aside,
                each.reason,
            )
            for each in found
        ),
    )
