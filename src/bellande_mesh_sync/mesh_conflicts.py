"""The calls of `Mesh` about conflicts: listing, reading and settling them."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from bellande_mesh_sync.arguments import (
    CONFLICTS_LIMIT,
    CONFLICTS_LIMIT_MAX,
    bytes_of,
    choice_of,
    context_of,
    limit_of,
    value_type_of,
    write_of,
)
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.settling import settle, write_again
from bellande_mesh_sync.errors import NotFoundError
from bellande_mesh_sync.keys import check_key, check_prefix, space_of
from bellande_mesh_sync.observe.conflicts import conflict_of, siblings_of
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.values import Conflict, Conflicts, Entry, Receipt, Siblings

LAST_CHARACTER: Final = chr(0x10FFFF)
READ_KEYS: Final = 100
"""Read in one go; 17 ms if all their versions are as large as a record can be."""


class ConflictCalls(ABC):
    """What a program asks and says about keys under which several versions stand."""

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    async def _siblings(self, key: str) -> tuple[Record, ...]:
        """All that stands under a key, wherever it is held."""

    @abstractmethod
    async def _record(self, key: str, version: str | None = None) -> tuple[Record, Entry]:
        """A value, wherever it is held, ready to be read."""

    @abstractmethod
    async def _submit(
        self, node: Assembly, writes: tuple[on.Write, ...], ack: str | None, timeout: float | None
    ) -> list[Receipt]:
        """Commit writes and wait for their ack level."""

    async def conflicts(
        self, prefix: str = "", *, limit: int = CONFLICTS_LIMIT, cursor: str = ""
    ) -> Conflicts:
        """Up to `limit` keys in conflict (at most 1,000) with this prefix, in order, after `cursor`.

        A key is in conflict while several versions stand under it whose writers did not know of each
        other's write, at least one of them a value. In a space that merges there is nothing to settle, so
        none of its keys is. Cost: that of reading those on the page.
        """
        node = self._alive()
        check_prefix(prefix)
        limit_of(limit, CONFLICTS_LIMIT_MAX)
        found: list[Conflict] = []
        while True:
            page = node.store.scan_conflicts(prefix, cursor, min(limit - len(found), READ_KEYS))
            policies, cursor = node.core.replica.policies, page.cursor
            for key, siblings in page.entries:
                if not policies.of(key).merges:
                    found.append(conflict_of(node.core, key, siblings))
                elif cursor:
                    cursor = max(
                        cursor, f"{space_of(key)}/{LAST_CHARACTER}"
                    )  # All others of it are merged too.
            if not cursor or len(found) == limit:
                return Conflicts(tuple(found), cursor)
            await asyncio.sleep(0)  # A long page must not hold up everyone else.
            node = self._alive()

    async def siblings(self, key: str) -> Siblings:
        """All that stands under a key, deletes beside values too. NotFoundError if no value does."""
        held = await self._siblings(key)
        return siblings_of(self._alive().core, key, held)

    async def resolve(
        self,
        key: str,
        version: str | None = None,
        *,
        data: bytes | bytearray | memoryview | str | AsyncIterator[bytes] | None = None,
        size: int | None = None,
        content_type: str | None = None,
        context: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        """Settle a conflict: write one of the siblings again, or a new value, in place of those seen.

        What the caller has not seen is not replaced: a sibling that came meanwhile stays beside the new
        version, and the key stays in conflict.

        Args:
            version: the sibling to keep. If that is a delete, the key is deleted.
            data: or this new value. Text is written as UTF-8; pieces of a large one may come as a stream.
            size: for a stream: refuse it if it has another length.
            context: from `siblings` or an Entry: what the caller had read. Otherwise what is there now.
            ack, timeout: as for `put`.

        Raises:
            NotFoundError: there is no conflict, or no such version; nothing was written.
            ConflictError: of what was read nothing is left, somebody else settled it; nothing was written.
            AckTimeoutError, StorageError, BusyError: as for `put`.
        """
        node = self._alive()
        check_key(key)
        choice_of(version, data, content_type)
        if node.core.replica.policies.of(key).merges:
            raise NotFoundError(what=f"conflict, as space {space_of(key)} merges, under", name=key)
        # The context is fixed now, before the value is written: what arrives from here on has not been seen.
        settlement = settle(
            key,
            await self._siblings(key),
            version=version,
            read=context_of(context),
            contiguous=node.core.replica.shard(node.core.replica.shard_of(key)).committed.contiguous,
        )
        kept = settlement.kept
        with node.io.hold():
            if kept is not None:
                if kept.manifest is not None:
                    await self._record(key, kept.version)  # Its chunks may be elsewhere.
                await node.io.check_whole(kept)
                write = write_again(kept, settlement.context)
            else:
                assert data is not None, "one of the two was given"
                write = await self._new_value(node, key, data, size, content_type, settlement.context)
            return (await self._submit(node, (write,), ack, timeout))[0]

    async def _new_value(
        self, node: Assembly, key: str, data: bytes | bytearray | memoryview | str | AsyncIterator[bytes],
        size: int | None, content_type: str | None, seen: Context,
    ) -> on.Write:  # fmt: skip
        content_type = value_type_of(data, content_type)
        if isinstance(data, AsyncIterator):
            written = await node.io.write_stream(key, data, size)
        else:
            written = await node.io.write_bytes(bytes_of(data, "a value"))
        return msgspec.structs.replace(write_of(key, written, content_type), context=seen)
