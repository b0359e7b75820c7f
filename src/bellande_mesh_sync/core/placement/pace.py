"""The pace of rebalancing: how quickly this node reads shards for others, so that other work goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Effect, NextPage, SetTimer
from bellande_mesh_sync.core.spreading.weight import weight_of
from bellande_mesh_sync.core.timers import PageDue
from bellande_mesh_sync.ids import Now

SECOND_NS = 1_000_000_000


class Pace:
    """A bucket that fills by so many bytes a second, up to those of one second; a page may overdraw it."""

    def __init__(self, bytes_per_s: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._filled_bytes = float(bytes_per_s)
        self._at_ns: int | None = None

    def took(self, records: Sequence[Record], now: Now) -> None:
        """A page was read; the chunks that its records name will be asked for."""
        self._fill(now)
        for record in records:
            self._filled_bytes -= weight_of(record) + (record.size if record.manifest is not None else 0)

    def slowed(self, effects: list[Effect], is_slowed: Callable[[int], bool], now: Now) -> list[Effect]:
        """The same effects, but further pages only when there is room for them."""
        self._fill(now)
        if self._filled_bytes >= 0:
            return effects
        due_ns = now.mono_ns + round(-self._filled_bytes / self._bytes_per_s * SECOND_NS)
        return [
            SetTimer(PageDue(effect.reading), due_ns)
            if isinstance(effect, NextPage) and is_slowed(effect.reading)
            else effect
            for effect in effects
        ]

    def _fill(self, now: Now) -> None:
        passed_ns = 0 if self._at_ns is None else now.mono_ns - self._at_ns
        self._at_ns = now.mono_ns
        room = self._filled_bytes + passed_ns / SECOND_NS * self._bytes_per_s
        self._filled_bytes = min(room, float(self._bytes_per_s))
