"""`module:function`: a function of the user's makes one value of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bellande_mesh_sync.core.data.merging import Sibling, siblings_of
from bellande_mesh_sync.core.data.policy import Merging, Shown, as_shown, newest_of, version_of
from bellande_mesh_sync.core.data.record import Record

BoundedMerge = Callable[[Sequence[Sibling]], bytes | None]
"""A merge function made safe to call: None where the user's function failed."""


class Merged(Merging):
    """Called where there are two values or more. Where it fails, or one of them lies in chunks, the latest
    value is shown."""

    def __init__(self, merge: BoundedMerge) -> None:
        self._merge = merge

    def shown(self, siblings: Sequence[Record], wall_ms: int) -> Shown | None:
        newest = newest_of(siblings)
        values = _values(siblings)
        if newest is None or not values:
            return None if newest is None else Shown(newest, newest.version)
        data = self._merge(siblings_of(values, lambda record: record.inline or b""))
        version = version_of(newest, values)
        return Shown(newest if data is None else as_shown(newest, newest.content_type, data), version)

    def version(self, siblings: Sequence[Record], wall_ms: int) -> str:
        newest = newest_of(siblings)
        values = _values(siblings)
        if newest is None or not values:
            return "" if newest is None else newest.version
        return version_of(newest, values)


def _values(siblings: Sequence[Record]) -> list[Record]:
    """What there is to merge; nothing if the function cannot be asked, or need not be."""
    values = [record for record in siblings if not record.is_tombstone]
    is_possible = len(values) > 1 and all(record.inline is not None for record in values)
    return values if is_possible else []
