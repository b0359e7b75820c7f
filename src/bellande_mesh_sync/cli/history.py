"""`bms history`, `diff`, `restore`: the past of keys, and how to get it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli.options import Command, ack_options
from bellande_mesh_sync.cli.session import Session
from bellande_mesh_sync.cli.times import TimeType
from bellande_mesh_sync.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.values import Difference, RestorePage, Version

_SECTION = "Data"
_MARKS = {"added": "+", "changed": "~", "deleted": "-", "unknown": "?"}
_PAGE_KEYS = 1000
FAILED = 1


@click.command(cls=Command, section=_SECTION, examples=("bms history fleet/plans/dock",))
@click.argument("key")
@click.pass_obj
def history(session: Session, key: str) -> None:
    """Show the versions of KEY, the latest first.

    Columns: current, sibling or replaced; time of the write; put or delete; size in bytes; author; version.
    How many old versions a node keeps is set by space, under 'history' and 'history_for'.
    """
    output = session.output()
    with session.client() as client:
        found = client.history(key)
    if output.as_json:
        output.result(found, "")
        return
    rows = (_version_row(version, is_short=output.is_terminal) for version in found.versions)
    output.table(("STATE", "WRITTEN", "KIND", "SIZE", "AUTHOR", "VERSION"), rows)
    if not found.complete:
        output.note("there were further versions that are not kept on this node")


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms diff fleet/ --from '2h ago'",
        "bms diff maps/ --from 2026-05-01 --to 2026-05-02T12:00:00Z",
    ),
)
@click.argument("prefix", default="")
@click.option("--from", "from_ms", type=TimeType(), required=True, metavar="TIME", help="The first moment.")
@click.option("--to", "to_ms", type=TimeType(), metavar="TIME", help="The second one.  [default: now]")
@click.pass_obj
def diff(session: Session, prefix: str, from_ms: int, to_ms: int | None) -> None:
    """Show which keys that start with PREFIX differ between two moments.

    Marks: + added, ~ changed, - deleted, ? not known, for the history of this node does not reach back to one
    of them. Columns: mark, key, size before, size after, time of the second version. TIME is ISO 8601 (UTC if
    it names no zone) or '2h ago', and is compared with the clocks of those who wrote.
    """
    output = session.output()
    with session.client() as client:
        found = client.diff(prefix, str(from_ms), "now" if to_ms is None else str(to_ms), page=_PAGE_KEYS)
        if output.as_json:
            for difference in found:
                output.event(difference, "")
        else:
            output.table(("", "KEY", "BEFORE", "AFTER", "WRITTEN"), map(_difference_row, found))


@click.command(
    cls=Command,
    section=_SECTION,
    examples=(
        "bms restore fleet/plans/ --at '2h ago' --dry-run",
        "bms restore fleet/plans/ --at 2026-05-01T12:00:00Z",
        "bms restore fleet/plans/dock --version 3f...c1.2",
    ),
)
@click.argument("prefix", metavar="PREFIX")
@click.option("--at", "at_ms", type=TimeType(), metavar="TIME", help="Bring back what was visible then.")
@click.option("--version", "version", metavar="V", help="PREFIX is a key: write this version of it again.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@ack_options
@click.pass_obj
def restore(
    session: Session, prefix: str, at_ms: int | None, version: str | None, dry_run: bool, ack: str | None,
    timeout: float | None,
) -> int | None:  # fmt: skip
    """Bring keys that start with PREFIX back to what they were.

    Nothing is destroyed: each key gets a new version, which can be undone in the same way. Keys that the
    history does not reach back for stay as they are, are named, and make the command end with 1. TIME is ISO
    8601 (UTC if it names no zone) or '2h ago', and is compared with the clocks of those who wrote.
    """
    if (at_ms is None) == (version is None):
        raise UsageError(reason="give either --at TIME or --version V")
    output = session.output()
    options: dict[str, Any] = {"ack": ack, "timeout": timeout}
    if version is not None:
        _restore_version(session, prefix, version, dry_run, options)
        return None
    with session.client() as client:
        pages = client.restore(prefix, str(at_ms), dry_run=dry_run, **options)
        if output.as_json:
            return _restore_json(output, pages, dry_run)
        return _restore_text(output, pages, dry_run)


def _restore_version(
    session: Session, key: str, version: str, dry_run: bool, options: dict[str, Any]
) -> None:
    if dry_run:
        raise UsageError(reason="--dry-run goes with --at; 'bms get KEY --version V' shows a version")
    with session.client() as client:
        receipt = client.restore_version(key, version, **options)
    text = f"{receipt.key}\t{receipt.version}\t{len(receipt.nodes)}"
    session.output().result(receipt, text)


def _restore_json(output: Output, pages: Iterable[RestorePage], dry_run: bool) -> int:
    total = _Total(dry_run)
    for page in pages:
        total.add(page)
        for change in page.changes:
            output.event(change, "")
        for key in page.gone:
            output.event({"key": key, "kind": "unknown", "before": None, "after": None}, "")
    output.event(total.document(), "")
    return total.exit_code


def _restore_text(output: Output, pages: Iterable[RestorePage], dry_run: bool) -> int:
    total = _Total(dry_run)

    def rows() -> Iterator[tuple[object, ...]]:
        for page in pages:
            total.add(page)
            yield from map(_difference_row, page.changes)
            yield from (("?", key, "", "", "") for key in page.gone)

    output.table(("", "KEY", "BEFORE", "AFTER", "WRITTEN"), rows())
    output.note(total.sentence())
    return total.exit_code


class _Total:
    """What a restore came to."""

    def __init__(self, dry_run: bool) -> None:
        self.dry_run = dry_run
        self.changed = self.unchanged = self.gone = self.at_ms = 0

    def add(self, page: RestorePage) -> None:
        self.changed += len(page.changes)
        self.unchanged += page.unchanged
        self.gone += len(page.gone)
        self.at_ms = page.at_ms

    @property
    def exit_code(self) -> int:
        return FAILED if self.gone else 0

    def document(self) -> dict[str, object]:
        return {
            "at_ms": self.at_ms,
            "dry_run": self.dry_run,
            "changed": self.changed,
            "unchanged": self.unchanged,
            "gone": self.gone,
        }

    def sentence(self) -> str:
        verb = "would be written" if self.dry_run else "written"
        text = f"{self.changed} {verb}, {self.unchanged} unchanged"
        return f"{text}, {self.gone} not known and left as they are" if self.gone else text


def _version_row(version: Version, *, is_short: bool) -> tuple[object, ...]:
    from bellande_mesh_sync.cli.output import human_bytes, iso_time

    written = iso_time(version.time_ms)
    if is_short:
        size = human_bytes(version.size)
        # The version in full: it is what `restore --version` takes.
        return (version.state, written, version.kind, size, version.author[:12], version.version)
    return (version.state, written, version.kind, version.size, version.author, version.version)


def _difference_row(difference: Difference) -> tuple[object, ...]:
    from bellande_mesh_sync.cli.output import iso_time

    before, after = difference.before, difference.after
    return (
        _MARKS[difference.kind],
        difference.key,
        "" if before is None else before.size,
        "" if after is None else after.size,
        "" if after is None else iso_time(after.time_ms),
    )
