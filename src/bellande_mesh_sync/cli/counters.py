"""`bms add`: counters."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.options import CONTEXT_SETTINGS, Command, ack_options
from bellande_mesh_sync.cli.session import Session


@click.command(
    cls=Command,
    section="Data",
    examples=("bms add visits/gate-3 1", "bms add stock/pallets -2 --ack quorum"),
    # Or a negative amount would be taken for an option.
    context_settings={**CONTEXT_SETTINGS, "ignore_unknown_options": True},
)
@click.argument("key")
@click.argument("amount", type=int, default=1)
@ack_options
@click.pass_obj
def add(session: Session, key: str, amount: int, ack: str | None, timeout: float | None) -> None:
    """Add AMOUNT to a counter, 1 if not given; it may be below 0.

    The key's space must be one of counters: conflict = "counter" in its [spaces.NAME]. Nothing is lost or
    counted twice, however many nodes add while they are apart.
    """
    from bellande_mesh_sync.cli.output import shown

    output = session.output()
    with session.client() as client:
        receipt = client.add(key, amount, ack=ack, timeout=timeout)
    if output.is_terminal:
        where = "1 node" if len(receipt.nodes) == 1 else f"{len(receipt.nodes)} nodes"
        output.line(f"added {amount} to {shown(receipt.key)}, on the disk of {where}")
    else:
        output.result(receipt, f"{receipt.key}\t{receipt.version}\t{len(receipt.nodes)}")
