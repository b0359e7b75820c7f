"""`bms sweep`: give the disk back what nothing refers to any more."""

from __future__ import annotations

import click

from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session


@click.command(cls=Command, section="Data", examples=("bms sweep", "bms sweep --grace 0 --json"))
@click.option(
    "--grace",
    type=click.FloatRange(0, 365 * 86_400),
    default=None,
    help="Seconds that a part stays at least after it was found; 0: what is found now goes now.  "
    "[default: the node's sweep_grace]",
)
@click.pass_obj
def sweep(session: Session, grace: float | None) -> None:
    """Remove the parts of large values that nothing refers to any more from the node's disk.

    The node does so by itself, about once an hour. What a live record, an old version, a write or a transfer
    under way needs stays. WAITING in the answer is what was found and still has its time of grace.
    """
    from bellande_mesh_sync.cli.output import human_bytes, human_seconds

    output = session.output()
    with session.client() as client:
        report = client.sweep(grace=grace)
    if output.as_json:
        output.result(report, "")
        return
    output.pairs(
        "",
        [
            ("chunks", f"{report.chunks} ({human_bytes(report.chunk_bytes)})"),
            ("swept", f"{report.swept} ({human_bytes(report.swept_bytes)})"),
            ("waiting", f"{report.waiting} ({human_bytes(report.waiting_bytes)})"),
            ("disk won back", human_bytes(report.disk_bytes)),
            ("time", human_seconds(report.seconds)),
        ],
    )
