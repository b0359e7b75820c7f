"""Reading and writing what other nodes hold: the part of `Mesh` that asks the owners of a key."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import joined
from bellande_mesh_sync.core.placement.questions import KeyFound, ScanFound
from bellande_mesh_sync.core.placement.rendezvous import Candidate
from bellande_mesh_sync.errors import AckTimeoutError, NotFoundError, OwnersUnreachableError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.keys import check_key, space_of
from bellande_mesh_sync.observe import views
from bellande_mesh_sync.observe.conflicts import entry_of_version
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.shell.value_io import ValueIo, ValueStream
from bellande_mesh_sync.store.interface import ScanPage
from bellande_mesh_sync.values import Entry, KeyPlacement, NodeShare, SpacePlacement

READ_TIMEOUT_NS: Final = 5_000_000_000
"""How long owners are asked before a read fails."""
KNOWN_TIMEOUT_NS: Final = 2_000_000_000
"""How long a write waits to learn what it replaces. Then it stands beside what it did not know of."""
KEYS_PER_QUESTION: Final = 1_000
ASK_AGAIN_S: Final = 0.2

Found = tuple[Record, Entry, tuple[NodeId, ...]]
"""What a reader sees, and other nodes that hold it."""


class PlacementCalls(ABC):
    """Any node reads and writes any key, whoever holds it."""

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    def _find(self, key: str, version: str | None = None) -> tuple[Record, Entry]:
        """As held here. NotFoundError if it is not."""

    def _has_all_of(self, key: str) -> bool:
        """Whether what this node holds is all there is of a key, as far as it knows. Cost: a look-up."""
        exchange = self._alive().core.exchange
        return exchange.custody.wholeness.is_whole(exchange.placement.shard_of(key), now())

    # -- one key

    async def _seek(self, key: str, version: str | None = None) -> Found:
        """Wherever it is held. NotFoundError, or OwnersUnreachableError if that cannot be said."""
        check_key(key)
        if self._has_all_of(key):
            return (*self._find(key, version), ())
        found = (await self._ask((key,), READ_TIMEOUT_NS))[0]
        core = self._alive().core
        try:
            if version is not None:
                return (*entry_of_version(core, key, found.siblings, version), found.holders)
            shown = views.entry_of(core, found.siblings, now().wall_ms)
            if shown is None:
                raise NotFoundError(what="key", name=key)
        except NotFoundError:
            if found.is_sure:
                raise
            raise OwnersUnreachableError(what=f"key {key!r}") from None
        return (*shown, found.holders)

    async def _ask(
        self, keys: Sequence[str], timeout_ns: int, *, asks_all: bool = False
    ) -> tuple[KeyFound, ...]:
        node = self._alive()
        found: list[KeyFound] = []
        for start in range(0, len(keys), KEYS_PER_QUESTION):
            part = tuple(keys[start : start + KEYS_PER_QUESTION])
            found += await node.runner.ask(_question(part, timeout_ns, asks_all=asks_all))
        return tuple(found)

    async def _siblings(self, key: str) -> tuple[Record, ...]:
        """All that stands under a key, wherever it is held."""
        if self._has_all_of(check_key(key)):
            return self._alive().store.siblings([key])[0]
        found = (await self._ask((key,), READ_TIMEOUT_NS))[0]
        if not found.siblings and not found.is_sure:
            raise OwnersUnreachableError(what=f"key {key!r}")
        return found.siblings

    async def _bring(self, record: Record, holders: tuple[NodeId, ...]) -> None:
        """Have the chunks of a value on this disk, to be read there. ChunkMissingError if nobody has them."""
        if record.manifest is not None and holders:
            await self._alive().runner.ask(lambda request: on.FetchValue(request, record, holders))

    async def _record(self, key: str, version: str | None = None) -> tuple[Record, Entry]:
        """As `_seek`, ready to be read."""
        record, entry, holders = await self._seek(key, version)
        await self._bring(record, holders)
        return record, entry

    # -- writing

    async def _known(self, keys: Sequence[str]) -> tuple[Record, ...]:
        """What others hold under the keys that are to be written, where this node does not hold it all."""
        node = self._alive()
        if not node.core.exchange.placement.is_used:
            return ()
        elsewhere = [key for key in dict.fromkeys(keys) if not self._has_all_of(key)]
        if not elsewhere:
            return ()
        found = await self._ask(elsewhere, KNOWN_TIMEOUT_NS)
        return tuple(record for each in found for record in each.siblings)

    # -- listing

    async def _page(self, prefix: str, after: str, limit: int) -> ScanPage:
        """As the store's, of all that there is: what owners hold and this node does not, is asked for."""
        node = self._alive()
        placed = [space for space in node.core.exchange.placement.spaces if _may_hold(space, prefix)]
        local = node.store.scan(prefix, after, limit)
        if not placed:
            return local
        found = await asyncio.gather(*(self._scan(space, prefix, after, limit) for space in placed))
        everywhere = [entry for entry in local.entries if space_of(entry[0]) not in placed]
        pages = [ScanPage(tuple(everywhere), local.cursor), *(_page_of(page) for page in found)]
        return _merged(pages, limit)

    async def _scan(self, space: str, prefix: str, after: str, limit: int) -> ScanFound:
        found: ScanFound = await self._alive().runner.ask(
            lambda request: on.ScanKeys(request, space, prefix, after, limit, READ_TIMEOUT_NS)
        )
        if not found.is_sure:
            raise OwnersUnreachableError(what=f"a part of space {space!r}")
        return found

    # -- bringing about

    async def sync_with_peers(self) -> int:
        """Compare what is held with every linked node, now, not at the next `sync_interval`; with how many.

        What either lacks is on its way when this returns, and arrives as by any other comparison.
        """
        count: int = await self._alive().runner.ask(on.SyncNow)
        return count

    async def replicate_data(self, key: str, *, timeout: float = 10.0) -> list[str]:
        """Wait until every node that is to hold a key has it on its disk; the ids of those nodes.

        Raises:
            NotFoundError: no node in reach has anything under the key.
            AckTimeoutError: some have not; it goes on spreading.
        """
        check_key(key)
        deadline = time.monotonic() + timeout
        while True:
            placed = await self.placement_of(key)
            found = (await self._ask((key,), READ_TIMEOUT_NS, asks_all=True))[0]
            if not found.siblings:
                raise NotFoundError(what="key", name=key)
            have = self._having(key, found)
            if have >= set(placed.owners):
                return sorted(placed.owners)
            if time.monotonic() >= deadline:
                owners = set(placed.owners)
                raise AckTimeoutError(
                    level="all", timeout_s=timeout, have=len(have & owners), need=len(owners),
                    nodes=sorted(have & owners), versions=[record.version for record in found.siblings],
                )  # fmt: skip
            await self.sync_with_peers()
            await asyncio.sleep(ASK_AGAIN_S)

    def _having(self, key: str, found: KeyFound) -> set[str]:
        """The nodes that hold all of a key, as ids."""
        node = self._alive()
        dots = {record.dot for record in found.siblings}
        here = {record.dot for record in node.store.siblings([key])[0]}
        own = {node.core.me.node.hex()} if dots <= here else set()
        return own | {holder.hex() for holder in found.holders if found.is_all_there}

    # -- looking

    async def placement(self) -> list[SpacePlacement]:
        """The spaces with a number of replicas, and how many of their shards each member is to hold.

        As this node sees the members. Cost: O(shards * members) when these have changed.
        """
        placement = self._alive().core.exchange.placement
        report: list[SpacePlacement] = []
        for space, placed in placement.spaces.items():
            load: dict[NodeId, int] = {}
            for number, shard in enumerate(placement.shards_of(space)):
                for owner in placement.owners(shard):
                    load[owner] = load.get(owner, 0) + 1
                if number % 256 == 0:
                    await asyncio.sleep(0)
            shares = tuple(self._share(member, load.get(member.node, 0)) for member in placement.members)
            report.append(SpacePlacement(space, placed.replicas, placed.shards, shares))
        return report

    async def placement_of(self, key: str) -> KeyPlacement:
        """Where a key is to be held. In a space that every member holds: by all."""
        core = self._alive().core
        placement = core.exchange.placement
        shard = placement.shard_of(check_key(key))
        if placement.is_placed(shard):
            owners = placement.owners(shard)
        else:
            owners = tuple(sorted(core.directory.owners(now())))
        return KeyPlacement(
            key, shard, placement.is_placed(shard), tuple(owner.hex() for owner in owners),
            tuple(core.directory.name_of(owner) for owner in owners),
        )  # fmt: skip

    def _share(self, member: Candidate, shards: int) -> NodeShare:
        name = self._alive().core.directory.name_of(member.node)
        return NodeShare(member.node.hex(), name, member.capacity, member.zone, shards)


class SoughtStream:
    """An open value that has to be found first: `async with` gives the stream."""

    def __init__(
        self, calls: PlacementCalls, io: ValueIo, key: str, start: int, end: int | None, version: str | None
    ) -> None:
        self._calls = calls
        self._io = io
        self._key = key
        self._start = start
        self._end = end
        self._version = version
        self._stream: ValueStream | None = None

    async def __aenter__(self) -> ValueStream:
        with self._io.hold():  # No record on this disk names the chunks that are brought here.
            record, entry = await self._calls._record(self._key, self._version)
            self._stream = stream_of(self._io, record, entry, self._start, self._end)
        return await self._stream.__aenter__()

    async def __aexit__(self, *error: object) -> None:
        if self._stream is not None:
            await self._stream.__aexit__(*error)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with self as stream:
            async for piece in stream:
                yield piece


def stream_of(io: ValueIo, record: Record, entry: Entry, start: int, end: int | None) -> ValueStream:
    stop = record.size if end is None else min(end, record.size)
    return ValueStream(io, record, entry, min(start, stop), stop)


def _question(keys: tuple[str, ...], timeout_ns: int, *, asks_all: bool) -> Callable[[int], on.ReadKeys]:
    return lambda request: on.ReadKeys(request, keys, timeout_ns, asks_all)


def _may_hold(space: str, prefix: str) -> bool:
    """Whether keys of the space can start with this prefix."""
    return space_of(prefix) == space if "/" in prefix else space.startswith(prefix)


def _page_of(found: ScanFound) -> ScanPage:
    return ScanPage(found.entries, found.cursor, found.damaged)


def _merged(pages: Sequence[ScanPage], limit: int) -> ScanPage:
    """One page of several, in order; no further than each of them goes."""
    last = min((page.cursor for page in pages if page.cursor), default="")
    held: dict[str, list[tuple[Record, ...]]] = {}
    for page in pages:
        for key, siblings in page.entries:
            held.setdefault(key, []).append(siblings)
    keys = sorted(key for key in held if not last or key <= last)
    if len(keys) > limit:
        keys, last = keys[:limit], keys[limit - 1]
    damaged = {key for page in pages for key in page.damaged if not last or key <= last}
    return ScanPage(tuple((key, joined(held[key])) for key in keys), last, tuple(sorted(damaged)))
