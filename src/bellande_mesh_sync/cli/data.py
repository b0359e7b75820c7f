"""`bms put`, `get`, `delete`, `list`, `watch`: values, one at a time."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from bellande_mesh_sync.cli.options import Command, ack_options, context_option, if_version_option
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.cli.times import TimeType
from bellande_mesh_sync.cli.versions import full_version, short_version
from bellande_mesh_sync.errors import UsageError

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.client import Client
    from bellande_mesh_sync.values import Change, Entry, Receipt

_SECTION = "Data"
_PAGE_KEYS = 1000
_TEXT_TYPE = "text/plain; charset=utf-8"


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms put fleet/plans/dock 'berth 4'",
        "bms put maps/hall-3 --file hall-3.pgm --ack quorum",
        "tar c logs | bms put backups/logs.tar --file -",
        "bms put fleet/leader crane-1 --if-version ''",
    ),
)
@click.argument("key")
@click.argument("value", required=False)
@click.option("--file", "path", metavar="F", help="Take the value from a file; '-' is standard input.")
@click.option("--content-type", metavar="T", help="Its media type.  [default: guessed from F's name]")
@ack_options
@if_version_option
@context_option
@click.pass_obj
def put(
    session: Session,
    key: str,
    value: str | None,
    path: str | None,
    content_type: str | None,
    ack: str | None,
    timeout: float | None,
    if_version: str | None,
    context: str | None,
) -> None:
    """Write a value: VALUE, a file, or standard input.

    Exactly one of VALUE and --file. The value appears under KEY when all of it has arrived, or not
    at all.
    """
    if (value is None) == (path is None):
        raise UsageError(reason="give either VALUE or --file F ('--file -' reads standard input)")
    options: dict[str, Any] = {"ack": ack, "timeout": timeout, "if_match": if_version, "context": context}
    if path is not None:
        receipt = _put_file(session, key, path, content_type, options)
    else:
        # As it was typed: an argument that is not UTF-8 arrives with surrogates in it.
        body = (value or "").encode("utf-8", "surrogateescape")
        with session.client() as client:
            receipt = client.put(key, body, content_type=content_type or _TEXT_TYPE, **options)
    show_receipt(session.output(), "put", receipt)


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms get fleet/plans/dock",
        "bms get maps/hall-3 -o hall-3.pgm",
        "bms get fleet/plans/dock --at '2h ago'",
    ),
)
@click.argument("key")
@click.option("-o", "--output", "path", metavar="F", help="Write a file: whole, or not at all.")
@click.option("--at", "at_ms", type=TimeType(), metavar="TIME", help="As it was then.")
@click.option(
    "--version",
    metavar="V",
    help="This version: one of those in conflict, or a replaced one, as 'bms history KEY' lists them.",
)
@click.pass_obj
def get(session: Session, key: str, path: str | None, at_ms: int | None, version: str | None) -> None:
    """Read a value: its bytes, as they are.

    With --json they come as text if they are UTF-8, else in Base64, beside the version and author. TIME
    is ISO 8601 (UTC if it names no zone) or '2h ago', and is compared with the clocks of those who wrote.
    """
    if at_ms is not None and version is not None:
        raise UsageError(reason="give either --at TIME or --version V")
    output = session.output()
    at = None if at_ms is None else str(at_ms)
    with session.client() as client, _opened(client, key, at, version) as (entry, pieces):
        if entry.siblings > 1 and version is None and at is None:
            output.note(f"{entry.siblings} versions are in conflict: see 'bms conflicts {key} --diff'")
        if path is not None and path != "-":
            _save(entry, pieces, path, output)
            size = entry.size
            output.result(
                {"entry": entry, "file": path}, f"{path}\t{size}" if not output.is_terminal else path
            )
        elif output.as_json:
            output.result({"entry": entry, **_readable(b"".join(pieces))}, "")
        elif output.is_terminal:
            _show_text(pieces)
        else:
            _copy(pieces)


@click.command(cls=Command, section=_SECTION, examples=("bms delete fleet/plans/dock --ack quorum",))
@click.argument("key")
@ack_options
@if_version_option
@context_option
@click.pass_obj
def delete(
    session: Session,
    key: str,
    ack: str | None,
    timeout: float | None,
    if_version: str | None,
    context: str | None,
) -> None:
    """Delete a key, on every node."""
    with session.client() as client:
        receipt = client.delete(key, ack=ack, timeout=timeout, if_match=if_version, context=context)
    show_receipt(session.output(), "deleted", receipt)


@click.command(
    "list",
    cls=Command,
    section=_SECTION,
    examples=("bms list", "bms list fleet/plans/ --limit 20", "bms list logs/ | cut -f1"),
)
@click.argument("prefix", default="")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most this many.  [default: all]")
@click.pass_obj
def list_keys(session: Session, prefix: str, limit: int | None) -> None:
    """List the keys that start with PREFIX, in order.

    Columns: key, size in bytes, time of the write, content type, version.
    """
    output = session.output()
    with session.client() as client:
        entries = islice(client.list(prefix, page=min(limit or _PAGE_KEYS, _PAGE_KEYS)), limit)
        if output.as_json:
            _list_json(output, entries)
        else:
            while page := list(islice(entries, _PAGE_KEYS)):
                rows = (_entry_row(entry, is_short=output.is_terminal) for entry in page)
                output.table(("KEY", "SIZE", "WRITTEN", "TYPE", "VERSION"), rows)


@click.command(
    cls=Command,
    section=_SECTION,
    examples=("bms watch fleet/", "bms watch --json | jq -r .key", "bms watch fleet/ --cursor-file seen"),
)
@click.argument("prefix", default="")
@click.option(
    "--cursor",
    metavar="CURSOR",
    help="Go on from where another watch was: what changed since comes first. An empty one is the beginning.",
)
@click.option(
    "--cursor-file",
    type=click.Path(dir_okay=False),
    help="Keep the cursor in this file, and go on from it if it is there.",
)
@click.pass_obj
def watch(session: Session, prefix: str, cursor: str | None, cursor_file: str | None) -> None:
    """Show changes of keys that start with PREFIX, as they happen, until Ctrl-C.

    Columns: put or delete, key, size in bytes, version.

    A cursor is good at every node of the mesh. A key that was written several times meanwhile is shown once,
    as it is now; what came in the last second before the end may be shown again.
    """
    from bellande_mesh_sync.cli.cursor_file import CursorFile
    from bellande_mesh_sync.cli.streams import interrupted_when_unread

    output = session.output()
    kept = CursorFile(cursor_file) if cursor_file is not None else None
    if kept is not None and cursor is None:
        cursor = kept.read()
    with contextlib.suppress(KeyboardInterrupt), session.client() as client, interrupted_when_unread():
        ready = lambda: output.note("watching; Ctrl-C ends it")  # noqa: E731
        on_cursor = kept.write if kept is not None else None
        for change in client.watch(prefix, cursor=cursor, on_ready=ready, on_cursor=on_cursor):
            output.event(change, _change_line(change, output))


def _opened(
    client: Client, key: str, at: str | None, version: str | None
) -> contextlib.AbstractContextManager[tuple[Entry, Iterator[bytes]]]:
    if version is not None:
        version = full_version(key, version, client.history(key).versions)
    return client.open(key, at=at, version=version)


def _put_file(
    session: Session, key: str, path: str, content_type: str | None, options: dict[str, Any]
) -> Receipt:
    from bellande_mesh_sync.cli.progress import bar
    from bellande_mesh_sync.cli.reading import OCTETS, SteadyFile, guess_type, stdin_pieces

    if path == "-":
        with session.client() as client:
            pieces = stdin_pieces(lambda files, size: None)
            return client.put(key, pieces, content_type=content_type or OCTETS, **options)
    with open(path, "rb") as file:
        content_type = content_type or guess_type(path)
        steady = SteadyFile(file, path)
        with (
            session.client() as client,
            bar("put", as_json=session.json, total_bytes=steady.size) as advance,
        ):
            pieces = steady.pieces(advance)
            return client.put(key, pieces, size=steady.size, content_type=content_type, **options)


def show_receipt(output: Output, verb: str, receipt: Receipt) -> None:
    from bellande_mesh_sync.cli.output import shown

    count = len(receipt.nodes)
    if output.is_terminal:
        where = "1 node" if count == 1 else f"{count} nodes"
        output.line(f"{verb} {shown(receipt.key)}, on the disk of {where}; version {receipt.version}")
    else:
        output.result(receipt, f"{receipt.key}\t{receipt.version}\t{count}")


def _save(entry: Entry, pieces: Iterator[bytes], path: str, output: Output) -> None:
    from bellande_mesh_sync.cli.progress import bar

    with bar("get", as_json=output.as_json, total_bytes=entry.size) as advance, _destination(path) as file:
        for piece in pieces:
            file.write(piece)
            advance(0, len(piece))


def _destination(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    """A file that appears whole or not at all. A pipe or device is written to: it must stay what it is."""
    from pathlib import Path

    from bellande_mesh_sync.client_transfers import replaced

    target = Path(path)
    return target.open("wb") if target.exists() and not target.is_file() else replaced(target)


def _readable(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        import base64

        return {"base64": base64.b64encode(data).decode()}


def _show_text(pieces: Iterable[bytes]) -> None:
    """Text for a person. Anything else could change the terminal, so it is refused."""
    import codecs
    import re

    controls = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]")
    decoder = codecs.getincrementaldecoder("utf-8")()
    last = "\n"
    try:
        for piece in chain(pieces, [b""]):
            text = decoder.decode(piece, final=not piece)
            if controls.search(text):
                raise ValueError("a control character")
            sys.stdout.write(text)
            last = text[-1:] or last
    except ValueError:
        hint = "the value is not plain text; save it with -o FILE, or pipe it into a program"
        raise UsageError(reason=hint) from None
    if last != "\n":
        sys.stdout.write("\n")


def _copy(pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def _list_json(output: Output, entries: Iterator[Entry]) -> None:
    """One document, written as the pages come: a mesh may hold more keys than this machine has memory."""
    from bellande_mesh_sync.cli.output import json_text

    separator = '{"entries":['
    for entry in entries:
        sys.stdout.write(separator + json_text(entry))
        separator = ","
    output.line("]}" if separator == "," else '{"entries":[]}')


def _entry_row(entry: Entry, *, is_short: bool) -> tuple[object, ...]:
    from bellande_mesh_sync.cli.output import human_bytes, iso_time

    written = iso_time(entry.time_ms)
    if is_short:
        return (entry.key, human_bytes(entry.size), written, entry.content_type, short_version(entry.version))
    return (entry.key, entry.size, written, entry.content_type, entry.version)


def _change_line(change: Change, output: Output) -> str:
    from bellande_mesh_sync.cli.output import human_bytes, plain, shown

    size = None if change.entry is None else change.entry.size
    if output.is_terminal:
        amount = "" if size is None else human_bytes(size)
        return f"{change.kind:<7} {shown(change.key)}  {amount}  {short_version(change.version)}"
    return f"{change.kind}\t{plain(change.key)}\t{'-' if size is None else size}\t{change.version}"
