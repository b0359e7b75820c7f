"""The commit writer: one thread that makes batches durable, several at once where that saves a sync."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence

from bellande_mesh_sync.core.effects import Batch, Commit
from bellande_mesh_sync.errors import DiskFullError, StorageError, StoreUnavailableError
from bellande_mesh_sync.store.interface import Store

GROUP_RECORDS_MAX = 50_000
"""Records synced together at most, so that one huge group does not make all its callers wait."""


class CommitWriter:
    """Group commit. All callbacks run on the loop's thread.

    While one group is being synced, whatever else arrives gathers and becomes the next group: at
    a low rate every write is synced alone and at once, at a high rate thousands share a sync.

    Args:
        on_committed: the number of the last commit that is durable; it is visible in the store.
        on_refused: the disk (it is full) or the database server (it is away) said a clean no; nothing of
            what was waiting is written.
        on_broken: the disk failed in a way that leaves its contents in doubt.
    """

    def __init__(
        self,
        store: Store,
        on_committed: Callable[[int], None],
        on_refused: Callable[[StorageError], None],
        on_broken: Callable[[StorageError], None],
    ) -> None:
        self._store = store
        self._on_committed = on_committed
        self._on_refused = on_refused
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Commit | None] = queue.SimpleQueue()
        self._resume = threading.Event()
        self._is_broken = False
        """The disk's contents are in doubt: nothing is written any more, and nothing confirmed."""
        self._thread = threading.Thread(target=self._run, name="bms-commits", daemon=True)
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        self._queue.put(commit)

    async def close(self) -> None:
        """Write what is waiting, then end the thread."""
        self._queue.put(None)
        self._resume.set()
        while self._thread.is_alive():
            # The thread reports to this loop, so the loop must go on turning while it ends.
            await asyncio.to_thread(self._thread.join, 1.0)

    # -- the thread

    def _run(self) -> None:
        is_open = True
        while is_open and not self._is_broken:
            group, is_open = self._gather()
            if group and not self._write(group):
                self._resume.wait()
                self._resume.clear()

    def _gather(self) -> tuple[list[Commit], bool]:
        """Wait for a commit, and take along what else is there."""
        group: list[Commit] = []
        count = 0
        while not group or (count < GROUP_RECORDS_MAX and not self._queue.empty()):
            commit = self._queue.get()
            if commit is None:
                return group, False
            group.append(commit)
            count += len(commit.batch.puts)
        return group, True

    def _write(self, group: Sequence[Commit]) -> bool:
        batches = [commit.batch for commit in group]
        try:
            self._store.apply(batches)
        except (DiskFullError, StoreUnavailableError) as error:
            self._call(self._refused, error)
            return False
        except StorageError as error:
            # What waits behind it was built on it. It is dropped: its callers never hear a yes.
            self._is_broken = True
            self._call(self._on_broken, error)
            return True
        self._call(self._committed, group[-1].commit, batches)
        return True

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    # -- the loop

    def _committed(self, number: int, batches: Sequence[Batch]) -> None:
        self._store.publish(batches)
        self._on_committed(number)

    def _refused(self, error: StorageError) -> None:
        """What gathered behind the refused group was built on it, so it falls with it."""
        while not self._queue.empty():
            if self._queue.get() is None:
                self._queue.put(None)
                break
        self._on_refused(error)
        self._resume.set()
