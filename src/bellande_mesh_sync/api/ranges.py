"""Range and precondition headers (RFC 9110, sections 13 and 14), as pure functions of their text."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from bellande_mesh_sync.errors import InvalidRangeError

# 19 digits hold every size there is; a longer number would only cost time to convert.
_SINGLE_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})", re.IGNORECASE)
_TAG: Final = re.compile(r'\s*(W/)?"([^"]*)"\s*(?:,|$)')


class Span(NamedTuple):
    """Bytes from `start` up to, and not with, `end`."""

    start: int
    end: int


def parse_range(header: str, size: int) -> Span | None:
    """The one range asked for, or None where the whole value is the right answer.

    A header that is malformed, in another unit or for several ranges counts as absent, as the RFC
    allows. Raises InvalidRangeError for a range that holds no byte of the value.
    """
    match = _SINGLE_RANGE.fullmatch(header.strip())
    if not match:
        return None
    first, last = match.groups()
    if first:
        start, end = int(first), int(last) + 1 if last else size
        if end <= start:
            # `5-4` is malformed; `9-` of a value with 9 bytes is well formed and holds nothing.
            if last:
                return None
            raise InvalidRangeError(range=header, size=size)
    elif last:
        start, end = max(0, size - int(last)), size
    else:
        return None
    if start >= size or start >= end:
        raise InvalidRangeError(range=header, size=size)
    return Span(start, min(end, size))


def etag(version: str) -> str:
    return f'"{version}"'


class Tags(NamedTuple):
    """The entity tags a condition names."""

    anything: bool
    """The header was `*`."""
    strong: frozenset[str]
    weak: frozenset[str]

    def name(self, version: str) -> bool:
        """Whether they name this version, by the strong comparison."""
        return self.anything or version in self.strong

    def name_weakly(self, version: str) -> bool:
        return self.anything or version in self.strong or version in self.weak


def parse_tags(header: str) -> Tags:
    """The tags in `If-Match`, `If-None-Match` or `If-Range`. Text that is no tag names nothing."""
    if header.strip() == "*":
        return Tags(True, frozenset(), frozenset())
    strong: set[str] = set()
    weak: set[str] = set()
    position = 0
    while match := _TAG.match(header, position):
        (weak if match[1] else strong).add(match[2])
        position = match.end()
    return Tags(False, frozenset(strong), frozenset(weak))
