"""Reading history beside a busy event loop: what is live at once, what was replaced in a worker thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from typing import Final, TypeVar

from bellande_mesh_sync.core.data.history import KeyStory
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.store.interface import OldVersions, Store

R = TypeVar("R")

KEYS_AT_ONCE: Final = 256
"""Keys whose live versions are read in one turn of the loop: about a millisecond."""
HISTORY_BYTES_AT_ONCE: Final = 8 << 20


class HistoryReader:
    """Call it on the loop's thread."""

    def __init__(self, store: Store, executor: Executor) -> None:
        self._store = store
        self._executor = executor

    async def story(self, key: str) -> KeyStory:
        """All versions of one key. Raises StorageError."""
        return (await self._stories([key]))[0]

    async def walk(
        self, prefix: str, after: str, keys_max: int, wants: Callable[[tuple[Record, ...]], bool]
    ) -> AsyncIterator[KeyStory]:
        """The first `keys_max` keys with this prefix above `after`, in code-point order; also deleted ones.

        Args:
            wants: whether the history of a key with these live versions is needed. Without it a story
                has the live ones alone, and costs no read of the history.
        """
        while keys_max > 0:
            keys = self._store.scan_keys(prefix, after, min(keys_max, KEYS_AT_ONCE))
            if not keys:
                return
            for story in await self._stories(keys, wants):
                yield story
            after = keys[-1]
            keys_max -= len(keys)
            await asyncio.sleep(0)  # A long walk must not hold up everyone else.

    async def has_chunks(self, record: Record) -> bool:
        """Whether all bytes of its value are on this disk."""
        if record.manifest is None:
            return True
        missing, _ = await self._work(self._store.missing_chunks, record.manifest)
        return not missing

    async def _stories(
        self, keys: Sequence[str], wants: Callable[[tuple[Record, ...]], bool] = lambda live: True
    ) -> list[KeyStory]:
        live = dict(zip(keys, self._store.siblings(keys), strict=True))  # Before the history: then no
        wanted = [key for key in keys if wants(live[key])]  # version can fall between the two reads.
        old: dict[str, OldVersions] = {}
        while wanted:
            found = await self._work(self._store.old_versions, wanted, HISTORY_BYTES_AT_ONCE)
            old.update(zip(wanted, found, strict=False))
            wanted = wanted[len(found) :]
        return [KeyStory(key, live[key], old.get(key, ())) for key in keys]

    async def _work(self, function: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
