"""`bms conflicts`: the keys under which several versions stand, and how these differ."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.values import Conflict

_PAGE_KEYS = 100


@click.command(
    cls=Command,
    section="Data",
    examples=(
        "bms conflicts",
        "bms conflicts fleet/plans/ --limit 20",
        "bms conflicts fleet/plans/dock --diff",
    ),
)
@click.argument("prefix", default="")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most this many.  [default: all]")
@click.option("--diff", is_flag=True, help="Show the versions of the key PREFIX, and how they differ.")
@click.pass_obj
def conflicts(session: Session, prefix: str, limit: int | None, diff: bool) -> None:
    """List the keys in conflict that start with PREFIX, in order.

    A key is in conflict while several versions stand under it whose writers did not know of each
    other's write. Columns: key, how many versions, who wrote them, time of the newest by its
    writer's clock.
    """
    output = session.output()
    if diff:
        _show_diff(session, output, prefix)
        return
    with session.client() as client:
        found = islice(client.conflicts(prefix, page=min(limit or _PAGE_KEYS, _PAGE_KEYS)), limit)
        if output.as_json:
            _list_json(output, found)
            return
        count = 0
        while page := list(islice(found, _PAGE_KEYS)):
            output.table(("KEY", "VERSIONS", "AUTHORS", "NEWEST"), map(_row, page))
            count += len(page)
        if not count:
            output.note("there are no conflicts")


def _show_diff(session: Session, output: Output, key: str) -> None:
    from bellande_mesh_sync.cli.sibling_views import differences, show_differences, show_siblings

    with session.client() as client:
        found = client.siblings(key)
        compared = differences(client, found)
    if output.as_json:
        document = {
            "key": found.key,
            "context": found.context,
            "siblings": found.siblings,
            "differences": compared,
        }
        output.result(document, "")
        return
    show_siblings(output, found)
    show_differences(output, compared)
    if not compared:
        output.note("this is the only version: there is no conflict")


def _row(found: Conflict) -> tuple[object, ...]:
    from bellande_mesh_sync.cli.output import iso_time
    from bellande_mesh_sync.cli.sibling_views import author_text

    names = map(author_text, found.authors, found.author_names)
    return (found.key, found.siblings, ", ".join(names), iso_time(found.newest_ms))


def _list_json(output: Output, found: Iterator[Conflict]) -> None:
    """One document, written as the pages come."""
    from bellande_mesh_sync.cli.output import json_text

    separator = '{"conflicts":['
    for each in found:
        sys.stdout.write(separator + json_text(each))
        separator = ","
    output.line("]}" if separator == "," else '{"conflicts":[]}')
