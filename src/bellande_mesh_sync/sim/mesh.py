"""SimMesh: the object a program holds, for a simulated node. Calls, arguments and errors are Mesh's."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import islice

import msgspec

from bellande_mesh_sync.arguments import (
    CONFLICTS_LIMIT,
    CONFLICTS_LIMIT_MAX,
    ManyItem,
    ack_of,
    bytes_of,
    choice_of,
    content_type_of,
    context_of,
    counter_write_of,
    limit_of,
    message_of,
    node_id_of_text,
    timeout_ns_of,
    value_type_of,
    write_of,
)
from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import TOMBSTONE
from bellande_mesh_sync.core.data.settling import is_conflict, settle, write_again
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import IncompleteValueError, NotFoundError, NotRunningError, UnsupportedError
from bellande_mesh_sync.feeds import Subscription, Watch
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.keys import check_key, check_prefix, shard_of
from bellande_mesh_sync.observe import past, views
from bellande_mesh_sync.observe.conflicts import conflict_of, entry_of_version, siblings_of
from bellande_mesh_sync.sim.desk import Desk
from bellande_mesh_sync.times import Time
from bellande_mesh_sync.values import (
    Conflicts,
    Entry,
    History,
    Listing,
    MeshMessage,
    NodeView,
    Receipt,
    Siblings,
    Value,
)


class SimMesh:
    """One simulated node, as the programs on it see it. `Mesh` says what each call does.

    In a space with a merge function a key with siblings shows what that function makes of them; the
    entry's context stands for all of them, so writing the value back with it settles the conflict.
    """

    def __init__(self, desk: Desk, boot: int | None = None) -> None:
        """
        Args:
            boot: the run of the node that this belongs to; None: whichever there is when it is called.
        """
        self._desk = desk
        self._boot = boot

    def is_running(self) -> bool:
        return self._desk.is_running(self._boot)

    @property
    def node_id(self) -> str:
        return self._desk.node.node.hex()

    @property
    def name(self) -> str:
        return self._desk.node.name

    # -- writing

    async def put(
        self,
        key: str,
        value: bytes | bytearray | memoryview | str,
        *,
        content_type: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        self._alive()
        check_key(key)
        if isinstance(value, str) and content_type is None:
            content_type = "text/plain; charset=utf-8"
        content_type = content_type_of(content_type)
        written = self._desk.values.write(bytes_of(value, "a value"))
        write = write_of(key, written, content_type, context, if_match)
        return (await self._submit((write,), ack, timeout))[0]

    async def put_many(
        self,
        items: Iterable[ManyItem],
        *,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> builtins.list[Receipt]:
        self._alive()
        wanted = [(check_key(key), bytes(bytes_of(value, "a value")), rest) for key, value, *rest in items]
        writes = []
        for key, value, rest in wanted:
            content_type, context, if_match = (*rest, None, None, None)[:3]
            written = self._desk.values.write(value)
            writes.append(write_of(key, written, content_type_of(content_type), context, if_match))
        return await self._submit(tuple(writes), ack, timeout) if writes else []

    async def add(
        self, key: str, amount: int = 1, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        self._alive()
        write = counter_write_of(check_key(key), amount, self._desk.core.replica.policies)
        return (await self._submit((write,), ack, timeout))[0]

    async def delete(
        self,
        key: str,
        *,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        self._find(key)
        write = Write(key, TOMBSTONE, context=context_of(context), if_match=if_match)
        return (await self._submit((write,), ack, timeout))[0]

    async def _submit(
        self, writes: tuple[Write, ...], ack: str | None, timeout: float | None
    ) -> builtins.list[Receipt]:
        level = ack_of(ack, self._desk.policy(writes[0].key).ack)
        timeout_ns = timeout_ns_of(timeout, sum(write.size for write in writes))
        return views.receipts_of(await self._desk.write(self._boot, writes, level, timeout_ns))

    # -- reading

    async def get(self, key: str, *, at: Time | None = None, version: str | None = None) -> Value:
        """Of the past, a space with a merge function shows the latest sibling, not what it makes of them."""
        try:
            if at is not None:
                raise NotFoundError(what="value of that time yet of", name=key)
            entry, read = self._find(key, version)
        except NotFoundError:
            if at is None and version is None:
                raise
            entry, read = self._desk.find_past(check_key(key), at, version)
        return Value(read(), entry.version, entry.author, entry.content_type, entry)

    async def head(self, key: str, *, version: str | None = None) -> Entry:
        return self._find(key, version)[0]

    async def list(self, prefix: str = "", *, limit: int = 1000, cursor: str = "") -> Listing:
        self._alive()
        check_prefix(prefix)
        limit = limit_of(limit)
        disk = self._desk.node.disk
        keys = sorted(key for key in disk.visible_keys() if key.startswith(prefix) and key > cursor)
        page = keys[:limit]
        found = (self._desk.entry_of(siblings) for siblings in map(disk.shown, page))
        entries = tuple(each[0] for each in found if each is not None)
        return Listing(entries, page[-1] if len(keys) > limit else "")

    async def keys(self, prefix: str = "") -> AsyncIterator[Entry]:
        cursor = ""
        while True:
            listing = await self.list(prefix, cursor=cursor)
            for entry in listing.entries:
                yield entry
            cursor = listing.cursor
            if not cursor:
                return
            await asyncio.sleep(0)

    async def history(self, key: str) -> History:
        self._alive()
        story = self._desk.story(check_key(key))
        if not story.live:
            raise NotFoundError(what="key", name=key)
        return past.history_of(story)

    def _find(self, key: str, version: str | None = None) -> tuple[Entry, Callable[[], bytes]]:
        self._alive()
        check_key(key)
        if version is not None:
            siblings = self._desk.node.disk.shown(key)
            record, entry = entry_of_version(self._desk.core, key, siblings, version)
            return entry, lambda: self._desk.values.read(record)
        found = self._desk.find(key)
        if found is None:
            raise NotFoundError(what="key", name=key)
        return found

    # -- conflicts

    async def conflicts(
        self, prefix: str = "", *, limit: int = CONFLICTS_LIMIT, cursor: str = ""
    ) -> Conflicts:
        self._alive()
        check_prefix(prefix)
        limit = limit_of(limit, CONFLICTS_LIMIT_MAX)
        disk = self._desk.node.disk
        policies = self._desk.core.replica.policies
        above = (key for key in sorted(disk.visible_keys()) if key.startswith(prefix) and key > cursor)
        above = (key for key in above if not policies.of(key).merges)
        keys = list(islice((key for key in above if is_conflict(disk.shown(key))), limit + 1))
        found = tuple(conflict_of(self._desk.core, key, disk.shown(key)) for key in keys[:limit])
        return Conflicts(found, found[-1].key if len(keys) > limit else "")

    async def siblings(self, key: str) -> Siblings:
        self._alive()
        return siblings_of(self._desk.core, key, self._desk.node.disk.shown(check_key(key)))

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
        self._alive()
        check_key(key)
        choice_of(version, data, content_type)
        settlement = settle(
            key,
            self._desk.node.disk.shown(key),
            version=version,
            read=context_of(context),
            contiguous=self._desk.core.replica.shard(shard_of(key)).committed.contiguous,
        )
        if settlement.kept is not None:
            self._desk.values.read(settlement.kept)  # Raises unless all of its chunks are here.
            write = write_again(settlement.kept, settlement.context)
        else:
            if isinstance(data, AsyncIterator):
                data = b"".join([piece async for piece in data])
                if size not in (None, len(data)):
                    raise IncompleteValueError(key=key)
            write = self._new_value(key, data, content_type, settlement.context)
        return (await self._submit((write,), ack, timeout))[0]

    def _new_value(self, key: str, data: object, content_type: str | None, seen: Context) -> Write:
        written = self._desk.values.write(bytes_of(data, "a value"))
        return msgspec.structs.replace(
            write_of(key, written, value_type_of(data, content_type)), context=seen
        )

    # -- listening

    def watch(self, prefix: str = "", *, cursor: str | None = None) -> Watch:
        if cursor is not None:
            raise UnsupportedError(what="a watch that goes on from a cursor")
        self._alive()
        return self._desk.feeds.watch(check_prefix(prefix))

    def subscribe(self, pattern: str = "**") -> Subscription:
        self._alive()
        return self._desk.feeds.subscribe(pattern)

    # -- messages

    async def send(self, node: str, body: bytes | str, *, topic: str = "", reliable: bool = False) -> None:
        if reliable:
            raise UnsupportedError(what="reliable delivery of messages")
        await self._send(node_id_of_text(node), topic, body)

    async def broadcast(self, body: bytes | str, *, topic: str = "") -> int:
        return await self._send(None, topic, body)

    async def publish(self, topic: str, body: bytes | str) -> int:
        content = bytes(bytes_of(body, "a message"))
        count = await self._send(None, topic, content)
        self._desk.feeds.message(MeshMessage(self.node_id, topic, content))
        return count

    async def _send(self, to: NodeId | None, topic: str, body: bytes | str) -> int:
        self._alive()
        content = message_of(body, topic, self._desk.core.config.notes_bytes_max)
        count: int = await self._desk.send_note(self._boot, to, topic, content)
        return count

    # -- the mesh

    async def nodes(self, state: str | None = None) -> builtins.list[NodeView]:
        self._alive()
        found = views.node_views(self._desk.core, self._desk.node.clock.now())
        return [view for view in found if state is None or view.state == state]

    def _alive(self) -> None:
        if not self.is_running():
            raise NotRunningError
