"""Siblings for people: rows of a table, what is known of a writer's clock, and how the values differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from bellande_mesh_sync.cli.differences import BYTES_MAX, Difference, change_text, difference
from bellande_mesh_sync.cli.output import human_bytes, human_seconds, iso_time, plain, shown
from bellande_mesh_sync.cli.versions import short_version
from bellande_mesh_sync.errors import NotFoundError

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.client import Client
    from bellande_mesh_sync.values import Siblings, SiblingView

COLUMNS: Final = ("", "VERSION", "AUTHOR", "WRITTEN", "WRITER'S CLOCK", "SIZE", "TYPE")
_ID_LENGTH_SHOWN: Final = 12
_CLOSE_MS: Final = 1_000


def show_siblings(output: Output, found: Siblings, *, numbered: bool = False) -> None:
    """One row a sibling; the one that readers see has a star, or all have numbers."""
    rows = []
    for number, view in enumerate(found.siblings, start=1):
        mark = str(number) if numbered else "*" if view.is_winner else ""
        rows.append((mark, *_row(view, is_short=output.is_terminal)))
    output.table(COLUMNS, rows)


def _row(view: SiblingView, *, is_short: bool) -> tuple[object, ...]:
    is_delete = view.kind == "delete"
    size: object = human_bytes(view.size) if is_short else view.size
    return (
        short_version(view.version) if is_short else view.version,
        author_text(view.author, view.author_name),
        iso_time(view.time_ms),
        clock_text(view.ahead_ms_min, view.ahead_ms_max),
        "-" if is_delete else size,
        "deleted" if is_delete else view.content_type,
    )


def author_text(node: str, name: str) -> str:
    return name or node[:_ID_LENGTH_SHOWN]


def clock_text(least_ms: int | None, most_ms: int | None) -> str:
    """How far the writer's clock was off, as far as that is known; against the clock of the node asked."""
    if least_ms is not None and most_ms is not None:
        if max(-least_ms, most_ms) < _CLOSE_MS:
            return "within 1 s"
        if least_ms <= 0 <= most_ms:
            return f"between {_span(-least_ms)} behind and {_span(most_ms)} ahead"
        if least_ms > 0:
            return f"{_span(least_ms)} to {_span(most_ms)} ahead"
        return f"{_span(-most_ms)} to {_span(-least_ms)} behind"
    if least_ms is not None:
        return (
            f"at least {_span(least_ms)} ahead" if least_ms > 0 else f"no more than {_span(-least_ms)} behind"
        )
    if most_ms is not None:
        return f"at least {_span(-most_ms)} behind" if most_ms < 0 else f"no more than {_span(most_ms)} ahead"
    return "unknown"


def _span(milliseconds: int) -> str:
    return human_seconds(milliseconds / 1000)


def differences(client: Client, found: Siblings) -> list[dict[str, Any]]:
    """How each other sibling differs from the winner, as JSON-ready documents."""
    winner, *others = found.siblings
    base = _value_of(client, found.key, winner)
    return [
        {
            "old": winner.version,
            "new": view.version,
            "difference": _compared(base, winner, _value_of(client, found.key, view), view),
        }
        for view in others
    ]


def _value_of(client: Client, key: str, view: SiblingView) -> bytes | None:
    """The bytes; None for a delete, and for what is too large to be compared."""
    if view.kind == "delete" or view.size > BYTES_MAX:
        return None
    try:
        return client.get(key, version=view.version).data
    except NotFoundError as error:
        raise NotFoundError(f"{error}: it was replaced just now; look again", **error.facts) from None


def _compared(
    old: bytes | None, old_view: SiblingView, new: bytes | None, new_view: SiblingView
) -> Difference:
    if old is not None and new is not None:
        return difference(old, new)
    if "delete" in (old_view.kind, new_view.kind):
        return Difference("same" if old_view.kind == new_view.kind else "delete")
    return Difference("same" if old_view.digest == new_view.digest else "large")


def difference_lines(compared: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The same for a screen."""
    for each in compared:
        found: Difference = each["difference"]
        yield ""
        yield f"--- {short_version(each['old'])}"
        yield f"+++ {short_version(each['new'])}"
        yield from _body(found)


def _body(found: Difference) -> Iterator[str]:
    match found.kind:
        case "text":
            yield from found.lines
        case "json" if not found.changes:
            yield "the same JSON, written differently"
        case "json":
            yield from map(change_text, found.changes)
            if not found.complete:
                yield "... and more"
        case "same":
            yield "the same"
        case "delete":
            yield "one of them is a delete"
        case "large":
            yield f"larger than {human_bytes(BYTES_MAX)}, not compared"
        case _:
            yield "not text, not compared"


def show_differences(output: Output, compared: Sequence[dict[str, Any]]) -> None:
    for line in difference_lines(compared):
        output.line(shown(line) if output.is_terminal else plain(line))
