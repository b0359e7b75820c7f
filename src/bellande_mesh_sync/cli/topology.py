"""`bms topology` and `bms why`: who sees whom, and why a member is said to be in its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.cli.durations import TimeoutType
from bellande_mesh_sync.cli.look import ID_LENGTH_SHOWN, loss_text, rtt_text
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.values import Explanation, Topology

_SECTION = "Look"
MATRIX_NODES_MAX = 12
"""A matrix of more does not fit a terminal; then each pair has a line."""


@click.command(cls=Command, section=_SECTION, examples=("bms topology", "bms topology --json | jq .sights"))
@click.option("--timeout", type=TimeoutType(), default=2.0, help="Wait this long for answers.  [default: 2]")
@click.option("--list", "as_list", is_flag=True, help="A line for each pair, also where a matrix would fit.")
@click.pass_obj
def topology(session: Session, timeout: float, as_list: bool) -> None:
    """Show who sees whom, with round trip, loss and route.

    Every member that can be reached is asked. On a terminal a small mesh is a matrix: in its row a node says
    what it sees of the one in the column: the round trip in ms and the share of lost probes over a direct
    link, 'via X' where a third node has links with both, 'none' where nobody has. Otherwise a line for each
    pair: who, whom, route, over whom, round trip in ms, loss.
    """
    output = session.output()
    with session.client() as client:
        found = client.topology(timeout)
    if output.as_json:
        output.result(found, "")
    elif output.is_terminal and not as_list and len(found.nodes) <= MATRIX_NODES_MAX:
        _show_matrix(session, found)
    else:
        _show_list(session, found)
    silent = [node.name for node in found.nodes if not node.answered]
    if silent:
        output.note(f"no answer from {', '.join(silent)}")
    if not found.complete:
        output.note("this mesh is large: only pairs with a link are shown")


@click.command(cls=Command, section=_SECTION, examples=("bms why crane-2", "bms why 9f3c1a --json"))
@click.argument("node")
@click.pass_obj
def why(session: Session, node: str) -> None:
    """Explain why a member is said to be in its state.

    Shows the evidence: probes, what other nodes found, and how well this node is itself. NODE is a node's
    id, the first digits of one, or its name. It is this node's view; ask another one with --api to hear its
    own.
    """
    output = session.output()
    with session.client() as client:
        found = client.why(node)
    if output.as_json:
        output.result(found, "")
        return
    output.pairs("", _facts(found))
    if found.findings:
        rows = (
            (f"{each.ago_s:.1f}", each.what, each.by[:ID_LENGTH_SHOWN], each.text) for each in found.findings
        )
        output.table(("AGO S", "WHAT", "BY", "FINDING"), rows)


def _facts(found: Explanation) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("node", found.node),
        ("name", found.name),
        ("state", found.state),
        ("since_s", f"{found.since_s:.1f}"),
        ("reason", found.reason),
        ("incarnation", found.incarnation),
        ("own_health", _health(found.own_health)),
        ("linked", "yes" if found.linked else "no"),
        ("rtt_ms", rtt_text(found.rtt_ms)),
        ("loss", loss_text(found.loss)),
        ("last_heard_s", _seconds(found.last_heard_s)),
        ("last_ack_s", _seconds(found.last_ack_s)),
    ]
    if found.accusers:
        rows.append(("accused_by", ", ".join(each[:ID_LENGTH_SHOWN] for each in found.accusers)))
    if found.dead_in_s is not None:
        rows.append(("dead_in_s", f"{found.dead_in_s:.1f}"))
    return rows


def _health(score: int | None) -> str:
    if score is None:
        return "-"
    return f"{score} (this node doubts itself)" if score else "0 (well)"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _show_matrix(session: Session, found: Topology) -> None:
    names = {node.node: node.name for node in found.nodes}
    cells = {(sight.source, sight.target): sight for sight in found.sights}

    def cell(source: str, target: str) -> str:
        sight = cells.get((source, target))
        if sight is None:
            return "." if source == target else "?"
        if sight.route == "direct":
            return f"{rtt_text(sight.rtt_ms)} {loss_text(sight.loss)}"
        return f"via {names.get(sight.via, sight.via)}" if sight.route == "via" else "none"

    columns = ("", *(node.name for node in found.nodes))
    rows = ((row.name, *(cell(row.node, column.node) for column in found.nodes)) for row in found.nodes)
    session.output().table(columns, rows)


def _show_list(session: Session, found: Topology) -> None:
    names = {node.node: node.name for node in found.nodes}
    rows = (
        (
            names.get(sight.source, sight.source),
            names.get(sight.target, sight.target),
            sight.route,
            names.get(sight.via, "-"),
            rtt_text(sight.rtt_ms),
            loss_text(sight.loss),
        )
        for sight in found.sights
    )
    session.output().table(("WHO", "WHOM", "ROUTE", "VIA", "RTT MS", "LOSS"), rows)
