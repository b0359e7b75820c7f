"""`bms resolve`: settle a conflict by a choice, or by a new value."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli.options import Command, ack_options, context_option
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.client import Client
    from bellande_mesh_sync.values import Receipt, Siblings


@click.command(
    cls=Command,
    section="Data",
    examples=(
        "bms resolve fleet/plans/dock",
        "bms resolve fleet/plans/dock 3f2a9c0d41be.17",
        "bms resolve fleet/plans/dock --newest",
        "bms resolve fleet/plans/dock --file merged.json --ack quorum",
    ),
)
@click.argument("key")
@click.argument("kept", metavar="[VERSION]", required=False)
@click.option("--newest", is_flag=True, help="Keep the version that readers see: that of the latest time.")
@click.option("--file", "path", metavar="F", help="Write a new value from a file; '-' is standard input.")
@click.option("--content-type", metavar="T", help="Its media type.  [default: guessed from F's name]")
@context_option
@ack_options
@click.pass_obj
def resolve(
    session: Session,
    key: str,
    kept: str | None,
    newest: bool,
    path: str | None,
    content_type: str | None,
    context: str | None,
    ack: str | None,
    timeout: float | None,
) -> None:
    """Settle a conflict: keep one of the versions, or write a new value in their place.

    VERSION is one that 'bms conflicts KEY --diff' shows. On a terminal, without a choice, the
    versions are shown and one is asked for. A version that comes meanwhile is not replaced: the key
    then stays in conflict. Exit code 6 if somebody else has settled it, 4 if there is no conflict.
    """
    from bellande_mesh_sync.cli.data import show_receipt

    chosen = sum((kept is not None, newest, path is not None))
    output = session.output()
    may_ask = output.is_terminal and sys.stdin.isatty()
    if chosen > 1 or not (chosen or may_ask):
        raise UsageError(reason="give one of VERSION, --newest or --file F")
    if content_type is not None and path is None:
        raise UsageError(reason="--content-type is for a new value from --file; a kept version keeps its own")
    options: dict[str, Any] = {"ack": ack, "timeout": timeout}
    with session.client() as client:
        found = client.siblings(key)
        # What is replaced is what stood there when it was looked at.
        options["context"] = found.context if context is None else context
        if path is not None:
            receipt = _resolve_file(session, client, key, path, content_type, options)
        else:
            version = _choose(session, client, found, kept, newest=newest)
            if version is None:
                output.note("left as it is")
                return
            receipt = client.resolve(key, version, **options)
    show_receipt(output, "settled", receipt)


def _choose(
    session: Session, client: Client, found: Siblings, kept: str | None, *, newest: bool
) -> str | None:
    from bellande_mesh_sync.cli.versions import full_version

    if kept is not None:
        return full_version(found.key, kept, found.siblings)
    if len(found.siblings) == 1:
        raise NotFoundError(what="conflict under", name=found.key)
    return found.siblings[0].version if newest else _ask(session, client, found)


def _ask(session: Session, client: Client, found: Siblings) -> str | None:
    """The version that the person at the terminal chooses; None to leave it."""
    from bellande_mesh_sync.cli.sibling_views import differences, show_differences, show_siblings

    output = session.output()
    show_siblings(output, found, numbered=True)
    choices = {str(number): view.version for number, view in enumerate(found.siblings, start=1)}
    question = f"Keep which one? 1 to {len(choices)}, d: show how they differ, q: leave it"
    while True:
        answer = click.prompt(question, default="q", show_default=False).strip().lower()
        if answer in choices:
            return choices[answer]
        if answer == "q":
            return None
        if answer == "d":
            show_differences(output, differences(client, found))


def _resolve_file(
    session: Session, client: Client, key: str, path: str, content_type: str | None, options: dict[str, Any]
) -> Receipt:
    from bellande_mesh_sync.cli.progress import bar
    from bellande_mesh_sync.cli.reading import OCTETS, SteadyFile, guess_type, stdin_pieces

    if path == "-":
        pieces = stdin_pieces(lambda files, size: None)
        return client.resolve(key, data=pieces, content_type=content_type or OCTETS, **options)
    with open(path, "rb") as file:
        steady = SteadyFile(file, path)
        with bar("put", as_json=session.json, total_bytes=steady.size) as advance:
            return client.resolve(
                key,
                data=steady.pieces(advance),
                size=steady.size,
                content_type=content_type or guess_type(path),
                **options,
            )
