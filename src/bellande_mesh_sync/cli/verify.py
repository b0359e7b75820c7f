"""`bms verify`, `repair`: a node reads all it holds again; and what to do when its database will not open."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.durations import TimeoutType
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.progress import is_shown
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.values import VerifyProgress, VerifyReport


@click.command(cls=Command, section="Data", examples=("bms verify", "bms verify --deep --json"))
@click.option("--deep", is_flag=True, help="Hash every value and every chunk again, not only records.")
@click.option(
    "--rate", type=click.FloatRange(0.1, 1e6), default=256.0, help="MiB a second at most.  [default: 256]"
)
@click.option(
    "--timeout",
    type=TimeoutType(),
    default=10.0,
    help="Wait this long for other nodes to bring what is damaged.  [default: 10]",
)
@click.pass_obj
def verify(session: Session, deep: bool, rate: float, timeout: float) -> int:
    """Read all that the node has on disk again; what is damaged is brought by other nodes.

    Every record is compared with its checksum, and all of them with the fingerprint of their space; the
    chunks of every value must be there. Damage is set aside in data/damaged and never given out. Exit code
    0 if nothing was found, 1 if something was, repaired or not.
    """
    output = session.output()
    with session.client() as client, _told(output.as_json) as tell:
        report = client.verify(
            deep=deep, bytes_per_s=rate * (1 << 20), repair_timeout=timeout, on_progress=tell
        )
    if output.as_json:
        output.result(report, "")
    else:
        _show(session, report)
    return exits.DONE if report.ok else exits.FAILED


@click.command(cls=Command, section="Data", examples=("bms repair", "bms repair --home /srv/crane-1 --json"))
@click.pass_obj
def repair(session: Session) -> None:
    """Make a new database of what can be read of a damaged one, for a node that does not start.

    The node must be stopped. What is sound is taken over; the damaged files are kept in data/damaged. The
    node writes as a new author then, and has what is missing from the others as soon as it is started. Its
    large values are looked for anew at that start, which reads all of chunks/.
    """
    from bellande_mesh_sync.store.salvage import salvage
    from bellande_mesh_sync.store.sqlite import DATABASE_NAME

    output = session.output()
    home = session.open_home()
    with home.lock():
        found = salvage(home.data_dir / DATABASE_NAME, home.data_dir / "damaged")
    if output.as_json:
        output.result(found, "")
        return
    output.pairs(
        "",
        [
            ("records saved", found.records),
            ("records damaged", found.damaged),
            ("unreadable stretches", found.gaps),
            ("members saved", found.members),
            ("damaged files in", found.kept_in),
        ],
    )


@contextlib.contextmanager
def _told(as_json: bool) -> Iterator[Callable[[VerifyProgress], None]]:
    """What a person at a terminal sees meanwhile: how much is to come nobody knows."""
    if not is_shown(as_json):
        yield lambda progress: None
        return
    from bellande_mesh_sync.cli.output import human_bytes

    def tell(progress: VerifyProgress) -> None:
        counts = f"{progress.records} records, {progress.chunks} chunks, {human_bytes(progress.bytes)}"
        sys.stderr.write(f"\r\x1b[K{counts}, {progress.damaged} damaged")
        sys.stderr.flush()

    try:
        yield tell
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def _show(session: Session, report: VerifyReport) -> None:
    from bellande_mesh_sync.cli.output import human_bytes, human_seconds

    output = session.output()
    rows = [
        ("result", "clean" if report.ok else "damaged"),
        ("records", str(report.records)),
        ("chunks", str(report.chunks)),
        ("read", human_bytes(report.bytes)),
        ("time", human_seconds(report.seconds)),
    ]
    if not report.ok:
        rows += [(f"found {kind}", str(count)) for kind, count in report.found.items()]
        rows += [("repaired", str(report.repaired)), ("unrepaired", str(report.unrepaired))]
    if report.database:
        rows.append(("database", report.database))
    output.pairs("", rows)
    if report.damaged:
        shown = ((each.kind, "repaired" if each.repaired else "DAMAGED", each.key) for each in report.damaged)
        output.table(("KIND", "NOW", "KEY"), shown)
