"""Mesh: the object a program holds. One node of a mesh, with its data, its messages and its peers."""

from __future__ import annotations

import asyncio
import builtins
import hmac
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blake3 import blake3

from bellande_mesh_sync.addresses import format_address, parse_address
from bellande_mesh_sync.arguments import (
    ManyItem,
    ack_of,
    bytes_of,
    check_size,
    content_type_of,
    context_of,
    counter_write_of,
    limit_of,
    message_of,
    node_id_of_text,
    timeout_ns_of,
    write_of,
)
from bellande_mesh_sync.config import PORT_OFF, Config, MeshOptions, Settings, resolve
from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, TOMBSTONE, Record
from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ConflictError,
    CorruptStoreError,
    NotFoundError,
    NotRunningError,
    UnauthorizedError,
    UnsupportedError,
    UsageError,
    damaged_key,
)
from bellande_mesh_sync.feeds import Feeds, Subscription
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.keys import check_key, check_prefix, space_of
from bellande_mesh_sync.mesh_certificates import CertificateCalls
from bellande_mesh_sync.mesh_conflicts import ConflictCalls
from bellande_mesh_sync.mesh_history import HistoryCalls
from bellande_mesh_sync.mesh_keys import KeyCalls
from bellande_mesh_sync.mesh_members import MemberCalls
from bellande_mesh_sync.mesh_placement import PlacementCalls, SoughtStream, stream_of
from bellande_mesh_sync.mesh_revocations import RevocationCalls
from bellande_mesh_sync.mesh_sweep import SweepCalls
from bellande_mesh_sync.mesh_verify import VerifyCalls
from bellande_mesh_sync.mesh_watch import WatchCalls
from bellande_mesh_sync.observe import views
from bellande_mesh_sync.observe.conflicts import counts_shown, entry_of_version, to_settle
from bellande_mesh_sync.security.admission import JoinDesk
from bellande_mesh_sync.security.certificates import utc_now
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.shell.assembly import VERSION, Assembly, News
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.shell.value_io import ValueStream, inline_value
from bellande_mesh_sync.store.chunker import WrittenValue
from bellande_mesh_sync.times import Time
from bellande_mesh_sync.values import (
    Entry,
    Listing,
    MeshMessage,
    Receipt,
    Stats,
    Status,
    Value,
)

if TYPE_CHECKING:
    from bellande_mesh_sync.api.servers import HttpServers

log = logging.getLogger("bellande_mesh_sync")


LIST_STEP = 250
"""Entries of a listing that are made in one go."""


class Mesh(
    PlacementCalls, MemberCalls, RevocationCalls, ConflictCalls, HistoryCalls, VerifyCalls, SweepCalls,
    CertificateCalls, WatchCalls, KeyCalls,
):  # fmt: skip
    """One node. Make it with `init`; use it as `async with`, or call `start` and `stop`.

    All calls belong to the event loop that started it. Node ids and versions are text.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings
        self._state = "stopped"
        self._started_s = 0.0
        self._feeds = Feeds()
        self._node: Assembly | None = None
        self._identity: Identity | None = None
        self._http: HttpServers | None = None
        self._failure: BellandeMeshError | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._changing = asyncio.Lock()

    # -- life

    async def start(self) -> None:
        """Open the store, listen, and become part of the mesh. Starting twice does nothing.

        Raises:
            ConfigError and its kinds: the home is in use, a port is taken, there is no identity.
            StorageError: the store cannot be opened. Nothing is left running in either case.
        """
        async with self._changing:
            if self._state == "stopped":
                await self._start()

    async def _start(self) -> None:
        self._state = "starting"
        self._failure = None
        self._ended.clear()
        try:
            news = News(self._changed, self._arrived, self._member_changed, self._must_stop)
            self._node = await Assembly.open(self.settings, news)
            self._identity = self._node.identity
            self._started_s = time.monotonic()
            await self._start_http()
            self._start_renewal(self._node)
            if self._failure is not None:
                raise self._failure  # It came while there was nothing to stop yet.
        except BaseException:
            await self._tear_down()
            raise
        self._state = "running"
        if self._node.ground.lock is not None:
            self._node.ground.lock.update(node=self.node_id, **self._addresses())

    async def _start_http(self) -> None:
        if self.settings.http_port == PORT_OFF and self.settings.https_port == PORT_OFF:
            return
        # Half a second of start-up and some megabytes that a node without HTTP does not need.
        from bellande_mesh_sync.api.servers import HttpServers

        self._http = HttpServers(self)
        await self._http.start()

    async def stop(self) -> None:
        """Say goodbye to the mesh and close everything; all that was acknowledged is on disk.

        Stopping a stopped node does nothing, and `start` works again afterwards.
        """
        async with self._changing:
            if self._state == "running":
                self._state = "stopping"
                await self._tear_down()

    async def shutdown(self) -> None:
        """As `stop`, which leaves nothing open either."""
        await self.stop()

    async def _tear_down(self) -> None:
        self._feeds.close()
        self._stop_verifying()
        await self._stop_renewal()
        if self._http is not None:
            await self._http.stop()
            self._http = None
        if self._node is not None:
            await self._node.close()
            self._node = None
        self._state = "stopped"
        self._ended.set()

    async def __aenter__(self) -> Mesh:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def is_running(self) -> bool:
        return self._state == "running"

    async def wait_stopped(self) -> None:
        """Wait until the node has stopped; raises what made it stop by itself, if anything did."""
        await self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def _must_stop(self, error: BellandeMeshError) -> None:
        if self._failure is None:
            self._failure = error
            log.critical("the node stops: %s", error)
            self._stopping = asyncio.create_task(self.stop())

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
        """Write a value; return when the ack level is true.

        Args:
            value: text is written as UTF-8.
            ack: `local` (this node's disk), `one` (and one other), `quorum`, `all`; the space's default.
            timeout: seconds to wait for other nodes; if not given 10, and 1 more for each 10 MB.
            context: from an Entry: replace just what its reader saw; "": nothing, so that it stands beside
                what is there. Otherwise all that this node holds.
            if_match: write only if the visible version is this one; "" means if there is none.

        Raises:
            InvalidKeyError, InvalidValueError, ConflictError, ConflictLimitError: nothing was written.
            AckTimeoutError: written here and spreading, but not yet on as many disks as asked for.
            StorageError, BusyError: nothing was written.
        """
        node = self._alive()
        check_key(key)
        if isinstance(value, str) and content_type is None:
            content_type = "text/plain; charset=utf-8"
        content_type = content_type_of(content_type)
        data = bytes_of(value, "a value")
        check_size(key, len(data), node.core.replica.policies)
        with node.io.hold():
            written = await node.io.write_bytes(data)
            return await self._write(node, key, written, content_type, ack, timeout, context, if_match)

    async def put_stream(
        self,
        key: str,
        pieces: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        """As `put`, from a stream that is never held whole. IncompleteValueError if it misses `size`."""
        node = self._alive()
        check_key(key)
        content_type = content_type_of(content_type)
        if if_match is not None:
            self._check_match(key, if_match)  # Before the stream, for what could be a long wait for nothing.
        check_size(key, size, node.core.replica.policies)
        with node.io.hold():
            written = await node.io.write_stream(key, pieces, size)
            return await self._write(node, key, written, content_type, ack, timeout, context, if_match)

    async def put_file(
        self,
        key: str,
        path: str | Path,
        *,
        content_type: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        """As `put`, from a file. UsageError if it cannot be read."""
        node = self._alive()
        check_key(key)
        content_type = content_type_of(content_type)
        with node.io.hold():
            written = await node.io.write_file(Path(path), key)
            return await self._write(node, key, written, content_type, ack, timeout, context, if_match)

    async def put_many(
        self,
        items: Iterable[ManyItem],
        *,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> list[Receipt]:
        """Write many values together: one commit, one answer. The quick way for small ones.

        Args:
            items: (key, value), (key, value, content type), or with context and if_match of `put` beside.

        Raises:
            ConflictError: an `if_match` does not hold; nothing was written.
        """
        node = self._alive()
        wanted = [(check_key(key), bytes(bytes_of(value, "a value")), rest) for key, value, *rest in items]
        for key, value, _ in wanted:
            check_size(key, len(value), node.core.replica.policies)
        with node.io.hold():
            return await self._put_all(node, wanted, ack, timeout)

    async def _put_all(
        self, node: Assembly, wanted: builtins.list[tuple[str, bytes, builtins.list[Any]]],
        ack: str | None, timeout: float | None,
    ) -> builtins.list[Receipt]:  # fmt: skip
        large = [value for _, value, _ in wanted if len(value) > INLINE_BYTES_MAX]
        # Worker threads cut and hash the large ones side by side.
        cut = iter(await asyncio.gather(*map(node.io.write_bytes, large)))
        writes = []
        for key, value, rest in wanted:
            written = next(cut) if len(value) > INLINE_BYTES_MAX else inline_value(value)
            content_type, context, if_match = (*rest, None, None, None)[:3]
            writes.append(write_of(key, written, content_type_of(content_type), context, if_match))
        if not writes:
            return []
        return await self._submit(node, tuple(writes), ack, timeout)

    async def add(
        self, key: str, amount: int = 1, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        """Change a counter by `amount`, also below 0. What other nodes add meanwhile counts as well.

        Raises:
            InvalidValueError: the key's space is no counter's, or the amount is no whole number up to 10**18.
            and what `put` raises.
        """
        node = self._alive()
        write = counter_write_of(check_key(key), amount, node.core.replica.policies)
        return (await self._submit(node, (write,), ack, timeout))[0]

    async def delete(
        self,
        key: str,
        *,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        """Delete a key: a write like any other, acknowledged and spread alike. NotFoundError if none.

        A key that is damaged here can be deleted too: that gives up what was lost of it.
        """
        node = self._alive()
        try:
            await self._seek(key)
        except CorruptStoreError:
            log.warning("key %r is deleted, though it is damaged here", key)
        write = on.Write(key, TOMBSTONE, context=context_of(context), if_match=if_match)
        return (await self._submit(node, (write,), ack, timeout))[0]

    async def _write(
        self, node: Assembly, key: str, written: WrittenValue, content_type: str,
        ack: str | None, timeout: float | None, context: str | None, if_match: str | None,
    ) -> Receipt:  # fmt: skip
        write = write_of(key, written, content_type, context, if_match)
        return (await self._submit(node, (write,), ack, timeout))[0]

    def _check_match(self, key: str, if_match: str) -> None:
        if not self._has_all_of(key):
            return  # It is settled when the write is.
        found = self._entry(self._alive().store.siblings([key])[0], now().wall_ms)
        self._check_sound(key)
        if (found[1].version if found else "") != if_match:
            raise ConflictError(key=key)

    async def _submit(
        self, node: Assembly, writes: tuple[on.Write, ...], ack: str | None, timeout: float | None
    ) -> list[Receipt]:
        level = ack_of(ack, self.settings.policy(space_of(writes[0].key)).ack)
        timeout_ns = timeout_ns_of(timeout, sum(write.size for write in writes))
        known = await self._known([write.key for write in writes])
        receipts = await node.runner.ask(
            lambda request: on.WriteMany(request, writes, level, timeout_ns, known)
        )
        return views.receipts_of(receipts)

    # -- reading

    async def get(self, key: str, *, at: Time | None = None, version: str | None = None) -> Value:
        """The visible value, whole. NotFoundError if there is none; for large ones use `open_value`.

        Args:
            at: as it was at this time, by the stamps of the records: ISO 8601, `2h ago`, milliseconds since
                1970 or a datetime. HistoryGoneError if that is not known here.
            version: this version: one of the siblings, whose entry's context then stands for it alone, or one
                that was replaced. Not together with `at`.
        """
        if at is not None:
            return await self.get_past(key, at=at, version=version)
        with self._alive().io.hold():  # What is brought here to be read is named by no record.
            try:
                record, entry = await self._record(key, version)
            except NotFoundError:
                if version is None:
                    raise
                return await self.get_past(key, version=version)
            if record.inline is not None:
                data = record.inline
            else:
                data = b"".join([piece async for piece in self._alive().io.read(record, 0, record.size)])
        return Value(data, entry.version, entry.author, entry.content_type, entry)

    async def head(self, key: str, *, version: str | None = None) -> Entry:
        """As `get`, without the bytes."""
        return (await self._seek(key, version))[1]

    def open_value(
        self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None
    ) -> ValueStream | SoughtStream:
        """`async with` this, then iterate: the bytes from `start` up to `end`, never held whole.

        A value that other nodes hold is brought to this disk first.
        """
        check_key(key)
        if not self._has_all_of(key):
            return SoughtStream(self, self._alive().io, key, start, end, version)
        return stream_of(self._alive().io, *self._find(key, version), start, end)

    async def list(self, prefix: str = "", *, limit: int = 1000, cursor: str = "") -> Listing:
        """Up to `limit` keys (at most 10,000) with this prefix, in code-point order, after `cursor`."""
        self._alive()
        check_prefix(prefix)
        page = await self._page(prefix, cursor, limit_of(limit))
        wall_ms = now().wall_ms
        damaged = {
            key
            for key in self._alive().core.replica.damage.between(prefix, cursor, page.cursor)
            if self._has_all_of(key)  # What others hold too was had from them.
        }
        damaged.update(page.damaged)
        entries: builtins.list[Entry] = []
        for position, (_, siblings) in enumerate(page.entries, 1):
            found = self._entry(siblings, wall_ms)
            if found is not None and found[1].key not in damaged:
                entries.append(found[1])
            if position % LIST_STEP == 0:
                await asyncio.sleep(0)  # What is merged is made here; a long page must not hold up others.
        return Listing(tuple(entries), page.cursor, tuple(sorted(damaged)))

    async def keys(self, prefix: str = "") -> AsyncIterator[Entry]:
        """All entries with this prefix, a page at a time. CorruptStoreError where one cannot be read."""
        cursor = ""
        while True:
            listing = await self.list(prefix, cursor=cursor)
            for entry in listing.entries:
                yield entry
            if listing.damaged:
                raise damaged_key(listing.damaged[0])
            cursor = listing.cursor
            if not cursor:
                return
            await asyncio.sleep(0)  # A long listing must not hold up everyone else.

    async def digest(self, prefix: str = "", *, deep: bool = False) -> dict[str, Any]:
        """One BLAKE3 over all visible keys and values with this prefix; equal on nodes that agree.

        Args:
            deep: read every byte again and check it, instead of trusting the recorded digests.
        """
        hasher = blake3()
        records = size = 0
        async for entry in self.keys(prefix):
            digest = bytes.fromhex(entry.digest)
            if deep:
                with self._alive().io.hold():
                    digest = await self._alive().io.digest((await self._record(entry.key))[0])
            key = entry.key.encode()
            hasher.update(len(key).to_bytes(4, "big") + key + entry.size.to_bytes(8, "big") + digest)
            records += 1
            size += entry.size
        return {"records": records, "bytes": size, "digest": hasher.hexdigest()}

    def _find(self, key: str, version: str | None = None) -> tuple[Record, Entry]:
        node = self._alive()
        check_key(key)
        siblings = node.store.siblings([key])[0]
        if version is not None:
            try:
                return entry_of_version(node.core, key, siblings, version)
            except NotFoundError:
                self._check_sound(key)  # It may be the one that is damaged.
                raise
        found = self._entry(siblings, now().wall_ms)
        self._check_sound(key)
        if found is None:
            raise NotFoundError(what="key", name=key)
        return found

    def _check_sound(self, key: str) -> None:
        """After its siblings were read: CorruptStoreError if one is missing, for it may be the newest."""
        if self._alive().core.replica.is_damaged(key):
            raise damaged_key(key)

    def _entry(self, siblings: tuple[Record, ...], wall_ms: int) -> tuple[Record, Entry] | None:
        return views.entry_of(self._started().core, siblings, wall_ms)

    # -- listening

    def subscribe(self, pattern: str = "**") -> Subscription:
        """Messages by topic: `*` is one segment, `**` any number of them. Direct ones have topic ""."""
        return self._feeds.subscribe(pattern)

    def _arrived(self, effect: do.Deliver) -> None:
        if self._is_about_certificates(effect):
            return
        delivered = self._feeds.message(MeshMessage(effect.sender.hex(), effect.topic, effect.body))
        self._started().core.counters["notes_delivered" if delivered else "notes_unheard"] += 1

    def _member_changed(self, effect: do.MemberChanged) -> None:
        self._members_moved.set()
        before = effect.old_state or "unknown"
        log.info("%s: %s -> %s (%s)", effect.name, before, effect.new_state, effect.reason)

    # -- messages

    async def send(self, node: str, body: bytes | str, *, topic: str = "", reliable: bool = False) -> None:
        """Send a message to one node, best effort. UnreachableError if no link with it is open."""
        if reliable:
            raise UnsupportedError(what="reliable delivery of messages")
        await self._send(node_id_of_text(node), topic, body)

    async def broadcast(self, body: bytes | str, *, topic: str = "") -> int:
        """Send a message to every linked node, best effort; to how many it went."""
        return await self._send(None, topic, body)

    async def publish(self, topic: str, body: bytes | str) -> int:
        """As `broadcast`, and to this node's own subscribers; the count is of other nodes."""
        content = bytes(bytes_of(body, "a message"))
        count = await self._send(None, topic, content)
        self._feeds.message(MeshMessage(self.node_id, topic, content))
        return count

    async def _send(self, to: NodeId | None, topic: str, body: bytes | str) -> int:
        node = self._alive()
        content = message_of(body, topic, node.core.config.notes_bytes_max)
        identifier = secrets.token_bytes(16)
        count: int = await node.runner.ask(
            lambda request: on.SendNote(request, to, topic, content, identifier)
        )
        return count

    # -- the mesh

    @property
    def identity(self) -> Identity:
        if self._identity is None:
            raise NotRunningError
        return self._identity

    @property
    def node_id(self) -> str:
        return self.identity.node.hex()

    @property
    def admin_token(self) -> str:
        """The token that the HTTP API takes from this node's owner."""
        return self._started().ground.admin_token

    async def invite(
        self, *, role: str = "writer", expires_s: int = 3600, uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """A join token for `bms join`. Only a node that holds the authority's key can make one.

        Args:
            uses: how many nodes may come in with it, up to 10,000.
            labels: what they shall say of themselves, in their settings from then on.
        """
        self._alive()
        if self._http is None or not self._http.https_address:
            raise UsageError(reason="newcomers join over HTTPS, and this node does not serve it")
        _, port = parse_address(self._http.https_address)
        hosts = [parse_address(address)[0] for address in self._started().core.me.addresses]
        addresses = [format_address(host, port) for host in hosts]
        return await asyncio.to_thread(
            self._desk().invite, role=role, expires_s=expires_s, uses=uses, addresses=addresses, labels=labels
        )

    async def handle_join_request(self, body: dict[str, Any], address: str) -> dict[str, Any]:
        """Answer a newcomer's `POST /join`."""
        self._alive()
        return await asyncio.to_thread(self._desk().handle_join_request, body, address)

    def _show_over_https(self, identity: Identity) -> None:
        if self._http is not None:
            self._http.use(identity)

    def _desk(self) -> JoinDesk:
        addresses = self._started().core.me.addresses
        identity_dir, days = self._started().ground.identity_dir, self.settings.certificate_days
        return JoinDesk.open(self.identity, identity_dir, lambda: addresses, days=days)

    def authorize(self, token: str) -> str:
        """The role that an API token gives; UnauthorizedError if it is none of ours. Constant time."""
        if not hmac.compare_digest(token.encode(errors="surrogateescape"), self.admin_token.encode()):
            raise UnauthorizedError(reason="the token is not known here")
        return "admin"

    # -- looking

    async def status(self) -> Status:
        """Who this node is and how it is. Works in every state once it has been started."""
        node = self._node if self.is_running() else None
        counts = node.store.counts() if node else None
        identity = self._identity
        core = node.core if node else None
        return Status(
            node=identity.node.hex() if identity else "",
            name=self.settings.name,
            mesh=identity.mesh_name if identity else "",
            mesh_id=identity.mesh_id.hex() if identity else "",
            state=self._state,
            version=VERSION,
            uptime_s=round(time.monotonic() - self._started_s, 3) if core else 0.0,
            **self._addresses(),
            keys=counts.keys if counts else 0,
            records=counts.records if counts else 0,
            members=views.member_counts(core) if core else {},
            links=len(core.links) if core else 0,
            encrypted=self.settings.encryption,
            conflicts=_conflict_count(node) if node else 0,
        )

    def _addresses(self) -> dict[str, str]:
        return {
            "tcp": self._node.tcp_address if self._node else "",
            "http": self._http.http_address if self._http else "",
            "https": self._http.https_address if self._http else "",
        }

    async def stats(self) -> Stats:
        """Counters since the start, and sizes now."""
        node = self._alive()
        counts = self._alive().store.counts()
        gauges = {
            **views.gauges_of(node.core),
            "keys": counts.keys,
            "records": counts.records,
            "tombstones": counts.deleted,
            "conflicts": _conflict_count(node),
            "disk_bytes": counts.disk_bytes,
            "certificate_left_s": round((self.identity.not_after - utc_now()).total_seconds()),
            "chunk_bytes": counts.chunk_bytes,
            "chunks_unreferenced": node.store.condemned.count,
            "damaged_records": len(node.core.replica.damage),
            "damaged_chunks": node.core.exchange.mending.chunk_count,
        }
        return Stats(
            node=self.node_id,
            uptime_s=round(time.monotonic() - self._started_s, 3),
            counters=dict(sorted(node.core.counters.items())),
            gauges=gauges,
            peers=views.peers_of(node.core, node.runner.links.info()),
            conflicts=counts_shown(to_settle(node.core, node.store.conflict_counts())),
        )

    def health(self) -> dict[str, dict[str, Any]]:
        """Checks by name, each with `ok` and a sentence."""
        if not self.is_running():
            return {"node": {"ok": False, "detail": f"it is {self._state}"}}
        checks = views.health_of(self._started().core, now())
        return {**checks, "certificate": self._certificate_health()}

    def _alive(self) -> Assembly:
        """The node, for calls that programs make."""
        if self._state != "running" or self._node is None:
            raise NotRunningError
        return self._node

    def _started(self) -> Assembly:
        """The node, also while it is starting or stopping."""
        if self._node is None:
            raise NotRunningError
        return self._node


async def init(config: Config) -> Mesh:
    """A node with default options. It is not started yet."""
    return await init_with_options(config, MeshOptions())


async def init_with_options(config: Config, options: MeshOptions) -> Mesh:
    """A node, not started yet. ConfigError if the settings contradict each other."""
    return Mesh(resolve(config, options))


def _conflict_count(node: Assembly) -> int:
    return sum(to_settle(node.core, node.store.conflict_counts()).values())
