"""Replaying: what a watcher has missed, read beside a working node a page at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Shard
from bellande_mesh_sync.store.interface import Page, Store
from bellande_mesh_sync.values import Change

PAGE_BYTES: Final = 64 * 1024
"""Some hundred records: what they show is looked up in one turn of the loop."""


class Replay:
    """The live records among some dots, as changes. Each page is read by itself: nothing is held open.

    Args:
        missed: the dots by shard.
        show: what these records' keys show now, on the loop's thread.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        missed: Sequence[tuple[Shard, Delta]],
        show: Callable[[Sequence[Record]], list[Change]],
    ) -> None:
        self._store = store
        self._executor = executor
        self._missed = list(missed)
        self._show = show
        self._reading: asyncio.Future[Page] | None = None

    async def page(self) -> list[Change]:
        """The next changes; none at the end. Who is cancelled may call again, and misses nothing."""
        while self._missed:
            shard, dots = self._missed[0]
            if self._reading is None:
                loop = asyncio.get_running_loop()
                self._reading = loop.run_in_executor(self._executor, self._read, shard, dots)
            try:
                page = await asyncio.shield(self._reading)
            finally:
                if self._reading.done():
                    self._reading = None
            if page.is_last or not page.records:
                del self._missed[0]
            else:
                self._missed[0] = (shard, _behind(dots, page.records[-1]))
            if changes := self._show(page.records):
                return changes
        return []

    def _read(self, shard: Shard, dots: Delta) -> Page:
        view = self._store.open_changes(shard, dots)
        try:
            return view.read_page(PAGE_BYTES)
        finally:
            view.close()


def _behind(dots: Delta, last: Record) -> Delta:
    """What of these dots comes after this record: authors in their order, numbers in theirs."""
    position = next(index for index, (author, _) in enumerate(dots) if author == last.author)
    left = tuple(
        (max(low, last.sequence + 1), high) for low, high in dots[position][1] if high > last.sequence
    )
    return ((last.author, left), *dots[position + 1 :]) if left else dots[position + 1 :]
