"""`bms status`, `nodes`, `stats`, `health`: look at a node and at the mesh through its eyes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.values import NodeView, Stats

STATES = ("alive", "suspect", "asleep", "dead", "left", "revoked")

_SECTION = "Look"
ID_LENGTH_SHOWN = 12


@click.command(
    cls=Command, section=_SECTION, examples=("bms status", "bms status --api 10.0.0.5:8001 --json")
)
@click.pass_obj
def status(session: Session) -> None:
    """Show who a node is, where it listens and what it holds."""
    from bellande_mesh_sync.cli.output import human_seconds

    output = session.output()
    with session.client() as client:
        found = client.status()
    if output.as_json:
        output.result(found, "")
        return
    members = ", ".join(f"{count} {state}" for state, count in found.members.items() if count)
    rows = [
        ("node", found.node),
        ("name", found.name),
        ("mesh", f"{found.mesh} ({found.mesh_id})"),
        ("state", found.state),
        ("version", found.version),
        ("uptime", human_seconds(found.uptime_s)),
        ("tcp", found.tcp or "off"),
        ("http", found.http or "off"),
        ("https", found.https or "off"),
        ("keys", str(found.keys)),
        ("records", str(found.records)),
        ("conflicts", str(found.conflicts)),
        ("members", members),
        ("links", str(found.links)),
        ("encrypted", "yes" if found.encrypted else "no"),
    ]
    output.pairs("", rows)


@click.command(cls=Command, section=_SECTION, examples=("bms nodes", "bms nodes --state alive --json"))
@click.option(
    "--state",
    type=click.Choice(STATES),
    help="Only those in this state.",
)
@click.pass_obj
def nodes(session: Session, state: str | None) -> None:
    """List the members of the mesh, as this node sees them.

    Columns: name, id, state, seconds in this state, address, round trip in ms, share of lost probes,
    zone, version, and the reason unless it is alive.
    """
    output = session.output()
    with session.client() as client:
        found = client.nodes(state)
    if output.as_json:
        output.result({"nodes": found}, "")
        return
    columns = ("NAME", "ID", "STATE", "SINCE S", "ADDRESS", "RTT MS", "LOSS", "ZONE", "VERSION", "REASON")
    output.table(columns, (_node_row(node, is_short=output.is_terminal) for node in found))


@click.command(cls=Command, section=_SECTION, examples=("bms stats", "bms stats --json | jq .counters"))
@click.pass_obj
def stats(session: Session) -> None:
    """Show a node's counters since its start, its sizes now, and its links."""
    output = session.output()
    with session.client() as client:
        found = client.stats()
    if output.as_json:
        output.result(found, "")
        return
    output.pairs("", [("node", found.node), ("uptime_s", f"{found.uptime_s:.1f}")])
    output.pairs("Counters", sorted(found.counters.items()))
    output.pairs("Sizes", [(name, _gauge(name, value)) for name, value in sorted(found.gauges.items())])
    if found.conflicts:
        # A key path is no name of a counter, so a pipe's reader can tell them apart.
        output.pairs("Conflicts", [(f"conflicts/{name}", count) for name, count in found.conflicts.items()])
    if found.peers:
        _show_peers(session, found)


@click.command(cls=Command, section=_SECTION, examples=("bms health", "bms health --json || alert"))
@click.pass_obj
def health(session: Session) -> int:
    """Show each of a node's own checks. Exit code 1 if one fails."""
    output = session.output()
    with session.client() as client:
        found = client.health()
    if output.as_json:
        output.result(found, "")
    else:
        checks = found["checks"].items()
        rows = ((name, _result_of(check), check["detail"]) for name, check in checks)
        output.table(("CHECK", "RESULT", "DETAIL"), rows)
    return exits.DONE if found["ok"] else exits.FAILED


def _node_row(node: NodeView, *, is_short: bool) -> tuple[object, ...]:
    return (
        node.name,
        node.node[:ID_LENGTH_SHOWN] if is_short else node.node,
        node.state,
        f"{node.since_s:.0f}",
        node.addresses[0] if node.addresses else "-",
        rtt_text(node.rtt_ms),
        loss_text(node.loss),
        node.zone or "-",
        node.software.rpartition(" ")[2] or "-",
        "this node" if node.is_local else "" if node.state == "alive" else node.reason,
    )


def rtt_text(rtt_ms: float | None) -> str:
    return "-" if rtt_ms is None else f"{rtt_ms:.1f}"


def loss_text(loss: float | None) -> str:
    return "-" if loss is None else f"{loss:.1%}"


def _show_peers(session: Session, found: Stats) -> None:
    output = session.output()
    columns = sorted({name for peer in found.peers.values() for name in peer})
    rows = []
    for node, peer in sorted(found.peers.items()):
        shown = node[:ID_LENGTH_SHOWN] if output.is_terminal else node
        rows.append((shown, *(_figure(peer.get(name)) for name in columns)))
    output.table(("PEER", *(name.upper() for name in columns)), rows)


def _gauge(name: str, value: float) -> str:
    from bellande_mesh_sync.cli.output import human_bytes

    text = _figure(value)
    return f"{text} ({human_bytes(value)})" if name.endswith("_bytes") and value >= 1024 else text


def _figure(value: object) -> str:
    if value is None:
        return "-"
    return (
        f"{value:g}" if isinstance(value, float) and not value.is_integer() else str(value).removesuffix(".0")
    )


def _result_of(check: dict[str, Any]) -> str:
    if not check["ok"]:
        return "FAILED"
    return "warning" if check.get("warning") else "ok"
