"""Sweeping beside a working node: now and then, one at a time, no faster than asked."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Final

from bellande_mesh_sync.errors import BellandeMeshError, StorageError
from bellande_mesh_sync.shell.runner import Runner
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.sweeping import Swept, sweep
from bellande_mesh_sync.values import SweepReport

log = logging.getLogger("bellande_mesh_sync")

BYTES_PER_S_MAX: Final = 64 << 20
EVERY_S_MIN: Final = 60.0
EVERY_S_MAX: Final = 3600.0
_STEP_PAUSE_S: Final = 0.001
"""After each step at least: who waits for the interpreter's lock is to have it."""
_S_NS: Final = 1_000_000_000


class Sweeper:
    """Sweeps the chunks of one store that nothing refers to. All calls are made on the loop's thread.

    Args:
        grace_s: a chunk stays for this long after nothing was found to refer to it.
    """

    def __init__(self, store: Store, runner: Runner, grace_s: float) -> None:
        self._store = store
        self._runner = runner
        self._grace_s = grace_s
        self._turn = 0
        self._one_at_a_time = asyncio.Lock()
        self._stopping = threading.Event()
        self._task = asyncio.create_task(self._now_and_then(), name="bms-sweep")

    async def close(self) -> None:
        self._stopping.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        async with self._one_at_a_time:
            pass  # One that a program has asked for ends at its next step.

    async def run(self, grace_s: float | None = None) -> SweepReport:
        """Sweep now; with a grace of 0 twice, so that what the first finds goes with the second.

        Raises:
            CorruptStoreError: something damaged stands in the way; nothing was dropped.
            StorageError: the node is stopping, or the disk is full; what was done stays done.
        """
        grace_s = self._grace_s if grace_s is None else grace_s
        async with self._one_at_a_time:
            report = await self._sweep(grace_s)
            if report.waiting and not grace_s:
                report = _both(report, await self._sweep(grace_s))
            return report

    async def _now_and_then(self) -> None:
        while True:
            await asyncio.sleep(min(max(self._grace_s / 2, EVERY_S_MIN), EVERY_S_MAX))
            if not self._store.counts().chunk_bytes:
                continue
            try:
                await self.run()
            except BellandeMeshError as error:
                self._runner.count("sweeps_failed")
                log.warning("chunks could not be swept: %s", error)

    async def _sweep(self, grace_s: float) -> SweepReport:
        core, condemned = self._runner.core, self._store.condemned
        if damaged := len(core.replica.damage):
            reason = f"{damaged} damaged records: until they are back nobody knows which chunks they need"
            raise StorageError(reason=reason)
        self._turn += 1
        started_s = time.monotonic()
        # Both of one moment: what is under way is in the one or in the other.
        condemned.begin(time.monotonic_ns())
        under_way = core.manifests_under_way()
        pace = _Pace(self._stopping, started_s)

        def work() -> Swept:
            grace_ns = round(grace_s * _S_NS)
            return sweep(self._store, under_way, turn=self._turn, grace_ns=grace_ns, pause=pace.pause)

        # Not cancelled halfway: the thread would go on beside the next one.
        swept = await asyncio.shield(asyncio.to_thread(work))
        core.counters["chunks_swept"] += swept.dropped
        core.counters["chunk_bytes_swept"] += swept.dropped_bytes
        core.counters["chunk_bytes_reclaimed"] += swept.disk_bytes
        return SweepReport(
            seconds=round(time.monotonic() - started_s, 3),
            chunks=swept.chunks,
            chunk_bytes=swept.chunk_bytes,
            swept=swept.dropped,
            swept_bytes=swept.dropped_bytes,
            waiting=condemned.count,
            waiting_bytes=condemned.size_bytes,
            disk_bytes=swept.disk_bytes,
        )


class _Pace:
    """Holds a worker thread back to a rate, and stops it with the node."""

    def __init__(self, stopping: threading.Event, started_s: float) -> None:
        self._stopping = stopping
        self._started_s = started_s
        self._bytes = 0

    def pause(self, size_bytes: int) -> None:
        self._bytes += size_bytes
        ahead_s = self._bytes / BYTES_PER_S_MAX - (time.monotonic() - self._started_s)
        if self._stopping.wait(max(_STEP_PAUSE_S, min(ahead_s, 1.0))):
            raise StorageError(reason="the node is stopping")


def _both(first: SweepReport, second: SweepReport) -> SweepReport:
    return SweepReport(
        seconds=round(first.seconds + second.seconds, 3),
        chunks=first.chunks,
        chunk_bytes=first.chunk_bytes,
        swept=first.swept + second.swept,
        swept_bytes=first.swept_bytes + second.swept_bytes,
        waiting=second.waiting,
        waiting_bytes=second.waiting_bytes,
        disk_bytes=first.disk_bytes + second.disk_bytes,
    )
