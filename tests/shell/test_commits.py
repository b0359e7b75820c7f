"""Group commit: what the disk refused, and what it broke, is never confirmed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core.effects import Batch, Commit
from bellande_mesh_sync.errors import DiskFullError, StorageError, StoreUnavailableError
from bellande_mesh_sync.shell.commits import CommitWriter
from bellande_mesh_sync.store.memory import MemoryStore


class Disk(MemoryStore):
    """Waits to be let go, then fails once with `failure`."""

    def __init__(self, failure: StorageError) -> None:
        super().__init__(new_epoch=lambda: b"epoch-01")
        self.failure: StorageError | None = failure
        self.let_go = threading.Event()
        self.applied: list[int] = []

    def apply(self, batches: Sequence[Batch]) -> None:
        self.let_go.wait(10)
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        super().apply(batches)
        self.applied += [batch.clock for batch in batches]


class Story:
    """What the writer said, and the disk under it."""

    def __init__(self, failure: StorageError) -> None:
        self.disk = Disk(failure)
        self.committed: list[int] = []
        self.refused: list[StorageError] = []
        self.broken: list[StorageError] = []

    async def play(self) -> None:
        writer = CommitWriter(self.disk, self.committed.append, self.refused.append, self.broken.append)
        writer.submit(Commit(1, Batch(clock=1)))
        while not writer._queue.empty():  # noqa: ASYNC110  # Until the thread has taken the first.
            await asyncio.sleep(0.001)
        writer.submit(Commit(2, Batch(clock=2)))
        self.disk.let_go.set()
        while not (self.refused or self.broken):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        writer.submit(Commit(3, Batch(clock=3)))
        await writer.close()
        await asyncio.sleep(0)


def test_after_a_broken_disk_nothing_more_is_written_or_confirmed() -> None:
    story = Story(StorageError(reason="sync failed"))
    asyncio.run(story.play())
    assert (story.committed, story.disk.applied) == ([], [])
    assert [str(error) for error in story.broken] == ["sync failed"]


@pytest.mark.parametrize(
    "no", [DiskFullError(path="/x"), StoreUnavailableError(server="postgresql://x", reason="away")]
)
def test_after_a_clean_no_what_waited_falls_and_what_comes_later_is_written(no: StorageError) -> None:
    story = Story(no)
    asyncio.run(story.play())
    assert (story.committed, story.disk.applied) == ([3], [3])
    assert len(story.refused) == 1
