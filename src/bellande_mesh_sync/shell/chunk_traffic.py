"""Chunks in and out: read, verified and stored in worker threads, a bounded number in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from blake3 import blake3

from bellande_mesh_sync.core.events import ChunkRefused, ChunksStored
from bellande_mesh_sync.core.messages import ChunkMissing
from bellande_mesh_sync.errors import BellandeMeshError, ChunkMissingError, CorruptStoreError
from bellande_mesh_sync.shell.links import Links
from bellande_mesh_sync.store.interface import Store

log = logging.getLogger(__name__)

STORE_BYTES_MAX = 4 * 1024 * 1024
"""Chunks verified and stored in one go."""
STORERS = 2
"""Batches at work at once: one is checked while the other is being written."""
READ_AHEAD = 4
"""Chunks of one link read ahead of the one being sent."""
ASKED_CHUNKS_MAX = 4096
"""Chunks a peer may have asked for and not got; what it asks beyond is dropped, and it asks again."""


class ChunkSender:
    """One queue and one task for each link that chunks were asked over."""

    def __init__(self, store: Store, links: Links, executor: Executor) -> None:
        self._store = store
        self._links = links
        self._executor = executor
        self._queues: dict[int, asyncio.Queue[bytes]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def send(self, link: int, hashes: Sequence[bytes]) -> None:
        queue = self._queues.get(link)
        if queue is None:
            queue = self._queues[link] = asyncio.Queue(ASKED_CHUNKS_MAX)
            self._tasks[link] = asyncio.create_task(self._run(link, queue), name=f"bms-chunks-{link}")
        for chunk_hash in hashes:
            if not queue.full():
                queue.put_nowait(chunk_hash)

    def link_closed(self, link: int) -> None:
        self._queues.pop(link, None)
        task = self._tasks.pop(link, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for link in list(self._tasks):
            self.link_closed(link)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, link: int, queue: asyncio.Queue[bytes]) -> None:
        """Send in the order of asking; the next few chunks are read while one is on its way."""
        reading: deque[tuple[bytes, asyncio.Future[bytes]]] = deque()
        while True:
            if not reading:
                reading.append(self._start_reading(await queue.get()))
            while len(reading) < READ_AHEAD and not queue.empty():
                reading.append(self._start_reading(queue.get_nowait()))
            chunk_hash, future = reading.popleft()
            body = await self._read(link, chunk_hash, future)
            if body is not None:
                await self._links.send_chunk(link, chunk_hash, body)

    def _start_reading(self, chunk_hash: bytes) -> tuple[bytes, asyncio.Future[bytes]]:
        loop = asyncio.get_running_loop()
        return chunk_hash, loop.run_in_executor(self._executor, self._store.read_chunk, chunk_hash)

    async def _read(self, link: int, chunk_hash: bytes, reading: asyncio.Future[bytes]) -> bytes | None:
        try:
            return await reading
        except (ChunkMissingError, CorruptStoreError) as error:
            # Damaged is as good as missing for the asker: it must try another source.
            log.warning("chunk %s cannot be given: %s", chunk_hash.hex(), error)
        except BellandeMeshError as error:
            log.error("chunk %s cannot be read: %s", chunk_hash.hex(), error)
        self._links.send(link, ChunkMissing((chunk_hash,)))
        return None


class ChunkReceiver:
    """Whole chunks from links: verified and stored in batches, then reported."""

    def __init__(
        self,
        store: Store,
        executor: Executor,
        report: Callable[[ChunksStored | ChunkRefused], None],
        done: Callable[[int, memoryview], None],
    ) -> None:
        self._store = store
        self._executor = executor
        self._report = report
        self._done = done
        """What is dealt with goes back to the link, which may then read on."""
        self._waiting: list[tuple[int, bytes, memoryview]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, link: int, chunk_hash: bytes, body: memoryview) -> None:
        self._waiting.append((link, chunk_hash, body))
        if len(self._tasks) < STORERS:
            task = asyncio.create_task(self._drain(), name="bms-chunk-store")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch()
            good, refusals = await loop.run_in_executor(self._executor, self._store_all, batch)
            for link, _, body in batch:
                self._done(link, body)
            for link, hashes in good.items():
                self._report(ChunksStored(link, tuple(hashes)))
            for refusal in refusals:
                self._report(refusal)

    def _next_batch(self) -> list[tuple[int, bytes, memoryview]]:
        total = count = 0
        for count, (_, _, body) in enumerate(self._waiting, 1):  # noqa: B007
            total += len(body)
            if total >= STORE_BYTES_MAX:
                break
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _store_all(
        self, batch: Sequence[tuple[int, bytes, memoryview]]
    ) -> tuple[dict[int, list[bytes]], list[ChunkRefused]]:
        """In a worker thread: check every chunk against its name, then store the good ones."""
        good: dict[int, list[bytes]] = {}
        refusals: list[ChunkRefused] = []
        chunks: list[tuple[bytes, bytes | memoryview]] = []
        for link, chunk_hash, body in batch:
            if blake3(body).digest() == chunk_hash:
                good.setdefault(link, []).append(chunk_hash)
                chunks.append((chunk_hash, body))
            else:
                refusals.append(ChunkRefused(link, chunk_hash, "bad_chunk"))
        try:
            self._store.add_chunks(chunks)
        except BellandeMeshError as error:
            log.error("chunks cannot be stored: %s", error)
            refusals += [ChunkRefused(link, h, error.code) for link, hashes in good.items() for h in hashes]
            good = {}
        return good, refusals
