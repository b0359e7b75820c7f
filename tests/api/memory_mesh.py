"""A mesh of one node in memory, with faults on demand: the double behind the HTTP tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from blake3 import blake3

from bellande_mesh_sync.api.needs import ValueStream
from bellande_mesh_sync.errors import (
    BusyError,
    ConflictError,
    IncompleteValueError,
    InvalidTokenError,
    NotFoundError,
    UnauthorizedError,
)
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.observe.lookup import the_one
from bellande_mesh_sync.values import (
    CertificateCheck,
    CertificateView,
    Change,
    Conflict,
    Conflicts,
    DamagedValue,
    Entry,
    Explanation,
    Finding,
    KeyPlacement,
    KeyRotation,
    Listing,
    NodeShare,
    NodeView,
    Receipt,
    RevocationView,
    Siblings,
    SiblingView,
    Sight,
    SpacePlacement,
    Stats,
    Status,
    SweepReport,
    Topology,
    TopologyNode,
    VerifyProgress,
    VerifyReport,
)
from tests.api.memory_past import MemoryPast

CERTIFICATE = CertificateView(
    of="this node",
    name="crane-1",
    node="00" * 32,
    role="admin",
    serial="1f",
    issued_by="harbour",
    not_before="2026-01-01T00:00:00+00:00",
    not_after="2026-01-31T00:00:00+00:00",
    left_s=864_000.0,
    standing="good",
    renewed=True,
)

NODE = "ab" * 32
TOKENS = {f"{role}-token": role for role in ("observer", "reader", "writer", "admin")}
PIECE_BYTES = 256 * 1024


def node_view(node: str, name: str, state: str = "alive") -> NodeView:
    return NodeView(node, name, state, ("127.0.0.1:1",), "writer", "t", node == NODE, True, 0.1, 0.1, "told")


@dataclass
class MemoryStream:
    entry: Entry
    data: bytes
    fail_after: int | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), PIECE_BYTES):
            if self.fail_after is not None and start >= self.fail_after:
                raise BusyError(what="the disk", limit=1)
            yield self.data[start : start + PIECE_BYTES]


class MemoryWatch:
    def __init__(self, mesh: MemoryMesh, prefix: str, begins: str | None = None) -> None:
        self.begins = begins
        self.cursor = "c0"
        self.mesh = mesh
        self.prefix = prefix
        self.queue: asyncio.Queue[Change | Exception] = asyncio.Queue(1000)

    async def __aiter__(self) -> AsyncIterator[Change]:
        while True:
            change = await self.queue.get()
            if isinstance(change, Exception):
                raise change
            yield change

    def close(self) -> None:
        self.mesh.watches.remove(self)


@dataclass
class MemoryMesh(MemoryPast):
    """Answers as a mesh would. `faults` maps a method's name to the error it raises."""

    values: dict[str, tuple[bytes, Entry]] = field(default_factory=dict)
    faults: dict[str, BaseException] = field(default_factory=dict)
    watches: list[MemoryWatch] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    revoked: list[RevocationView] = field(default_factory=list)
    written: int = 0
    running: bool = True
    checks: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"disk": {"ok": True, "detail": "fine"}}
    )
    node_id: str = NODE
    settings: Any = field(
        default_factory=lambda: SimpleNamespace(
            http_host="127.0.0.1", http_port=0, https_host="127.0.0.1", https_port=-1
        )
    )
    identity: Any = None
    stall: asyncio.Event | None = None
    """When set, `stats` waits for it."""
    fail_reads_after: int | None = None

    def is_running(self) -> bool:
        return self.running

    def health(self) -> Mapping[str, Mapping[str, Any]]:
        return self.checks

    def authorize(self, token: str) -> str:
        if token not in TOKENS:
            raise UnauthorizedError(reason="this token is not known")
        return TOKENS[token]

    def _fail(self, method: str) -> None:
        if method in self.faults:
            raise self.faults[method]

    async def status(self) -> Status:
        self._fail("status")
        return Status(
            NODE,
            "alone",
            "m",
            "00",
            "running",
            "1",
            1.0,
            "",
            "",
            "",
            len(self.values),
            0,
            {"alive": 1},
            0,
            True,
        )

    async def stats(self) -> Stats:
        if self.stall is not None:
            await self.stall.wait()
        self._fail("stats")
        return Stats(NODE, 1.0, {"puts": self.written}, {}, {})

    async def digest(self, prefix: str = "") -> Mapping[str, Any]:
        hasher = blake3()
        found = [(k, v[0]) for k, v in sorted(self.values.items()) if k.startswith(prefix)]
        for key, data in found:
            hasher.update(key.encode() + data)
        size = sum(len(data) for _, data in found)
        return {"records": len(found), "bytes": size, "digest": hasher.hexdigest()}

    async def nodes(self, state: str | None = None) -> Sequence[NodeView]:
        views = [
            node_view(NODE, "alone"),
            node_view("cd" * 32, "twin", "dead"),
            node_view("cdcd" + "00" * 30, "other"),
        ]
        return [view for view in views if state in (None, view.state)]

    async def nodes_page(self, state: str | None, offset: int, limit: int) -> tuple[Sequence[NodeView], int]:
        found = sorted(await self.nodes(state), key=lambda view: view.node)
        return found[offset : offset + limit], len(found)

    async def find_node(self, text: str) -> NodeView:
        members = [(NodeId(bytes.fromhex(view.node)), view.name) for view in await self.nodes()]
        return await self.node(the_one(members, text).hex())

    async def node(self, node: str) -> NodeView:
        return next(view for view in await self.nodes() if view.node == node)

    async def find_nearest_nodes(self, point: str, count: int = 20) -> Sequence[NodeView]:
        self.calls.append(("nearest", point, count))
        return (await self.nodes("alive"))[:count]

    async def topology(self, timeout: float = 2.0) -> Topology:
        self.calls.append(("topology", timeout))
        sight = Sight(NODE, "cd" * 32, True, 0.5, 0.25, "direct", "")
        nodes = tuple(TopologyNode(view.node, view.name, view.state, "", True) for view in await self.nodes())
        return Topology(NODE, nodes, (sight,), True)

    async def why(self, node: str) -> Explanation:
        view = await self.node(node)
        finding = Finding(2.5, "no_answer", NODE, "no answer to a ping")
        return Explanation(
            node, view.name, view.state, 1.0, "told", 3, 1, True, 0.5, 0.25, 0.1, None, (NODE,), 4.0,
            (finding,),
        )  # fmt: skip

    async def register_node(self, address: str, *, timeout: float = 10.0) -> NodeView:
        self._fail("register_node")
        self.calls.append(("register", address, timeout))
        return await self.node("cd" * 32)

    async def remove_node(self, node: str) -> bool:
        self._fail("remove_node")
        self.calls.append(("remove", node))
        return True

    async def restore_nodes(self, *, timeout: float = 5.0) -> Sequence[NodeView]:
        self.calls.append(("restore", timeout))
        return [await self.node("cd" * 32)]

    async def cleanup_dead_nodes(self, older_than: float | None = None) -> Sequence[str]:
        self.calls.append(("cleanup", older_than))
        return ["cd" * 32]

    async def broadcast_new_node(self) -> None:
        self.calls.append(("announce",))

    async def update_node(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        capacity: int | None = None,
        zone: str | None = None,
    ) -> NodeView:
        self.calls.append(("update", labels, capacity, zone))
        return await self.node(NODE)

    async def set_max_connections(self, count: int) -> None:
        self.calls.append(("max_connections", count))

    async def sleep(self, seconds: float) -> None:
        self.calls.append(("sleep", seconds))

    async def wake(self) -> bool:
        self.calls.append(("wake",))
        return False

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        content_type: str = "application/octet-stream",
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        check_key(key)
        self.calls.append(("put", key, ack, timeout, context, if_match))
        if if_match is not None and if_match != self._version(key):
            raise ConflictError(key=key)
        self._fail("put")
        self.written += 1
        version = f"{NODE}.{'00' * 8}.{self.written}"
        digest = blake3(value).hexdigest()
        entry = Entry(key, version, len(value), content_type, NODE, 1_700_000_000_000, digest, 1, "ctx")
        self.values[key] = (value, entry)
        self._tell(Change(key, "put", version, NODE, entry))
        return Receipt(key, version, (NODE,), ack or "local")

    async def put_stream(
        self, key: str, pieces: AsyncIterator[bytes], *, size: int | None = None, **options: Any
    ) -> Receipt:
        check_key(key)
        self._fail("put_stream")
        value = b"".join([piece async for piece in pieces])
        if size is not None and size != len(value):
            raise IncompleteValueError(key=key)
        return await self.put(key, value, **options)

    async def put_many(
        self,
        items: Iterable[
            tuple[str, bytes] | tuple[str, bytes, str] | tuple[str, bytes, str, str | None, str | None]
        ],
        *,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> Sequence[Receipt]:
        self._fail("put_many")
        taken = list(items)
        self.calls.append(("put_many", len(taken)))
        rest = [(*item[2:], *("application/octet-stream", None, None)[len(item) - 2 :]) for item in taken]
        for item, (_, _, if_match) in zip(taken, rest, strict=True):
            if if_match is not None and if_match != self._version(item[0]):
                raise ConflictError(key=item[0])
        return [
            await self.put(
                item[0],
                item[1],
                content_type=content_type or "application/octet-stream",
                ack=ack,
                timeout=timeout,
                context=context,
                if_match=if_match,
            )
            for item, (content_type, context, if_match) in zip(taken, rest, strict=True)
        ]

    async def add(
        self, key: str, amount: int = 1, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        self.calls.append(("add", key, amount, ack, timeout))
        return Receipt(key, f"{NODE}.{'00' * 8}.1", (NODE,), ack or "local")

    async def head(self, key: str, *, version: str | None = None) -> Entry:
        self._fail("head")
        return self._head(key, version)

    def _head(self, key: str, version: str | None) -> Entry:
        if key not in self.values:
            raise NotFoundError(what="key", name=key)
        if version not in (None, self._version(key)):
            raise NotFoundError(what="version", name=version)
        return self.values[key][1]

    def open_value(
        self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[ValueStream]:
        self._fail("open_value")
        return self._stream(self._head(key, version), self.values[key][0][start:end])

    @asynccontextmanager
    async def _stream(self, entry: Entry, data: bytes) -> AsyncIterator[ValueStream]:
        yield MemoryStream(entry, data, self.fail_reads_after)

    async def delete(self, key: str, *, if_match: str | None = None, **options: Any) -> Receipt:
        await self.head(key)
        if if_match is not None and if_match != self._version(key):
            raise ConflictError(key=key)
        self.written += 1
        del self.values[key]
        version = f"{NODE}.{'00' * 8}.{self.written}"
        self._tell(Change(key, "delete", version, NODE, None))
        return Receipt(key, version, (NODE,), "local")

    async def list(self, prefix: str = "", *, limit: int = 1000, cursor: str = "") -> Listing:
        found = [e for k, (_, e) in sorted(self.values.items()) if k.startswith(prefix) and k > cursor]
        page = tuple(found[:limit])
        return Listing(page, page[-1].key if len(found) > limit else "")

    async def keys(self, prefix: str = "") -> AsyncIterator[Entry]:
        for entry in (await self.list(prefix, limit=1_000_000)).entries:
            yield entry

    async def conflicts(self, prefix: str = "", *, limit: int = 100, cursor: str = "") -> Conflicts:
        self.calls.append(("conflicts", prefix, limit, cursor))
        found = [key for key in sorted(self.values) if key.startswith(prefix) and key > cursor]
        page = tuple(Conflict(key, 2, (NODE,), ("alone",), self._version(key), 1) for key in found[:limit])
        return Conflicts(page, page[-1].key if len(found) > limit else "")

    async def siblings(self, key: str) -> Siblings:
        entry = await self.head(key)
        view = SiblingView(
            entry.version, True, "put", entry.size, entry.content_type, entry.digest, NODE, "alone",
            entry.time_ms, 7, None, -7,
        )  # fmt: skip
        return Siblings(key, "ctx", (view,))

    async def resolve(
        self,
        key: str,
        version: str | None = None,
        *,
        data: bytes | AsyncIterator[bytes] | None = None,
        size: int | None = None,
        content_type: str | None = None,
        context: str | None = None,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> Receipt:
        self._fail("resolve")
        if isinstance(data, AsyncIterator):
            data = b"".join([piece async for piece in data])
        self.calls.append(("resolve", key, version, data, content_type, context, ack, timeout))
        return Receipt(key, f"{NODE}.{'00' * 8}.9", (NODE,), ack or "local")

    async def revoke(self, node: str, *, reason: str = "") -> RevocationView:
        self.calls.append(("revoke", node, reason))
        self._fail("revoke")
        self.revoked.append(RevocationView(NODE, node, reason, NODE, 1, 2, 3, 4, 5, None))
        return self.revoked[-1]

    async def rotate_keys(self, what: str = "udp") -> KeyRotation:
        self.calls.append(("rotate_keys", what))
        return KeyRotation(what, 300, 600)

    async def revocations(self) -> Sequence[RevocationView]:
        return self.revoked

    async def verify(
        self,
        *,
        deep: bool = False,
        bytes_per_s: float = 1.0,
        repair_timeout: float = 1.0,
        on_progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport:
        self.calls.append(("verify", deep, bytes_per_s, repair_timeout))
        self._fail("verify")
        if on_progress is not None:
            on_progress(VerifyProgress(0.1, 5, 1, 0, 0))
        if self.stall is not None:
            await self.stall.wait()
        damaged = (DamagedValue("fleet/x", "record", repaired=False),)
        return VerifyReport(False, deep, 1.0, 10, 2, 3, {"record": 1}, 0, 1, damaged, "")

    async def placement(self) -> Sequence[SpacePlacement]:
        shares = (NodeShare("aa" * 32, "alpha", 100, "north", 40), NodeShare("bb" * 32, "beta", 50, "", 24))
        return [SpacePlacement("maps", 1, 64, shares)]

    async def placement_of(self, key: str) -> KeyPlacement:
        self.calls.append(("placement_of", key))
        return KeyPlacement(key, "maps/64.7", True, ("aa" * 32,), ("alpha",))

    async def replicate_data(self, key: str, *, timeout: float = 10.0) -> Sequence[str]:
        self.calls.append(("replicate_data", key, timeout))
        self._fail("replicate_data")
        return ["aa" * 32]

    async def sync_with_peers(self) -> int:
        self.calls.append(("sync_with_peers",))
        return 3

    async def cleanup_data(self, *, grace: float | None = None) -> SweepReport:
        self.calls.append(("cleanup_data", grace))
        self._fail("cleanup_data")
        if self.stall is not None:
            await self.stall.wait()
        return SweepReport(0.1, 5, 50, 2, 20, 1, 10, 30)

    def watch(self, prefix: str = "", *, cursor: str | None = None) -> MemoryWatch:
        self._fail("watch")
        watch = MemoryWatch(self, prefix, cursor)
        self.watches.append(watch)
        return watch

    async def send(self, node: str, body: bytes, *, topic: str = "", reliable: bool = False) -> None:
        self.calls.append(("send", node, body, topic, reliable))

    async def broadcast(self, body: bytes, *, topic: str = "") -> int:
        self.calls.append(("broadcast", body, topic))
        return 2

    async def publish(self, topic: str, body: bytes) -> int:
        self.calls.append(("publish", topic, body))
        return 3

    async def invite(
        self,
        *,
        role: str = "writer",
        expires_s: int = 3600,
        uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        return ":".join(
            ["token", role, str(expires_s), str(uses), *(f"{k}={v}" for k, v in (labels or {}).items())]
        )

    async def certificates(self) -> Sequence[CertificateView]:
        return [CERTIFICATE]

    async def validate_certificate(self, pem: bytes) -> CertificateCheck:
        return CertificateCheck(False, (f"{len(pem)} bytes are none",), None)

    async def handle_join_request(self, body: dict[str, Any], address: str) -> Mapping[str, Any]:
        self.calls.append(("join", body, address))
        raise InvalidTokenError(reason="it is not known here")

    def _version(self, key: str) -> str:
        return self.values[key][1].version if key in self.values else ""

    def _tell(self, change: Change) -> None:
        for watch in self.watches:
            if change.key.startswith(watch.prefix):
                watch.queue.put_nowait(change)
