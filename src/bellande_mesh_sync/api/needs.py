"""What the HTTP side asks of a mesh, so that it depends on these calls and on nothing else of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from bellande_mesh_sync.values import (
    CertificateCheck,
    CertificateView,
    Change,
    Conflicts,
    DiffPage,
    Entry,
    Explanation,
    History,
    KeyPlacement,
    KeyRotation,
    Listing,
    NodeView,
    Receipt,
    RestorePage,
    RevocationView,
    Siblings,
    SpacePlacement,
    Stats,
    Status,
    SweepReport,
    Topology,
    VerifyProgress,
    VerifyReport,
)


class ValueStream(Protocol):
    """An open value. Iterating gives its bytes from `start` up to `end`, in pieces of at most 1 MiB."""

    @property
    def entry(self) -> Entry: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Watch(Protocol):
    @property
    def cursor(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[Change]: ...

    def close(self) -> object: ...


class MeshCalls(Protocol):
    """The calls of `Mesh` that routes make. Errors are of the tree in `errors`."""

    @property
    def node_id(self) -> str: ...

    def is_running(self) -> bool: ...

    def health(self) -> Mapping[str, Mapping[str, Any]]: ...

    def authorize(self, token: str) -> str:
        """The role of this API token; UnauthorizedError for any other text, in constant time."""
        ...

    async def status(self) -> Status: ...

    async def stats(self) -> Stats: ...

    async def digest(self, prefix: str = "") -> Mapping[str, Any]: ...

    async def verify(
        self,
        *,
        deep: bool = False,
        bytes_per_s: float = ...,
        repair_timeout: float = ...,
        on_progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport: ...

    async def placement(self) -> Sequence[SpacePlacement]: ...

    async def placement_of(self, key: str) -> KeyPlacement: ...

    async def replicate_data(self, key: str, *, timeout: float = ...) -> Sequence[str]: ...

    async def sync_with_peers(self) -> int: ...

    async def cleanup_data(self, *, grace: float | None = None) -> SweepReport: ...

    async def nodes_page(
        self, state: str | None, offset: int, limit: int
    ) -> tuple[Sequence[NodeView], int]: ...

    async def find_node(self, text: str) -> NodeView: ...

    async def node(self, node: str) -> NodeView: ...

    async def find_nearest_nodes(self, point: str, count: int = 20) -> Sequence[NodeView]: ...

    async def topology(self, timeout: float = ...) -> Topology: ...

    async def why(self, node: str) -> Explanation: ...

    async def register_node(self, address: str, *, timeout: float = ...) -> NodeView: ...

    async def remove_node(self, node: str) -> bool: ...

    async def restore_nodes(self, *, timeout: float = ...) -> Sequence[NodeView]: ...

    async def cleanup_dead_nodes(self, older_than: float | None = None) -> Sequence[str]: ...

    async def broadcast_new_node(self) -> None: ...

    async def update_node(
        self,
        *,
        labels: Mapping[str, str] | None = None,
        capacity: int | None = None,
        zone: str | None = None,
    ) -> NodeView: ...

    async def revoke(self, node: str, *, reason: str = "") -> RevocationView: ...

    async def rotate_keys(self, what: str = "udp") -> KeyRotation: ...

    async def revocations(self) -> Sequence[RevocationView]: ...

    async def set_max_connections(self, count: int) -> None: ...

    async def sleep(self, seconds: float) -> None: ...

    async def wake(self) -> bool: ...

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        content_type: str = ...,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt: ...

    async def put_stream(
        self,
        key: str,
        pieces: AsyncIterator[bytes],
        *,
        size: int | None = None,
        content_type: str = ...,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt: ...

    async def put_many(
        self,
        items: Iterable[
            tuple[str, bytes] | tuple[str, bytes, str] | tuple[str, bytes, str, str | None, str | None]
        ],
        *,
        ack: str | None = None,
        timeout: float | None = None,
    ) -> Sequence[Receipt]: ...

    async def add(
        self, key: str, amount: int = 1, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt: ...

    async def head(self, key: str, *, version: str | None = None) -> Entry: ...

    def open_value(
        self, key: str, start: int = 0, end: int | None = None, *, version: str | None = None
    ) -> AbstractAsyncContextManager[ValueStream]: ...

    async def open_past(
        self, key: str, *, at: str | None = None, version: str | None = None
    ) -> AbstractAsyncContextManager[ValueStream]: ...

    async def history(self, key: str) -> History: ...

    async def diff_page(
        self, prefix: str, from_: str, to: str = ..., *, limit: int = 1000, cursor: str = ""
    ) -> DiffPage: ...

    async def restore_version(
        self, key: str, version: str, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt: ...

    async def restore_page(
        self,
        prefix: str,
        at: str,
        *,
        dry_run: bool = False,
        limit: int = 1000,
        cursor: str = "",
        ack: str | None = None,
        timeout: float | None = None,
    ) -> RestorePage: ...

    async def delete(
        self,
        key: str,
        *,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt: ...

    async def list(self, prefix: str = "", *, limit: int = 1000, cursor: str = "") -> Listing: ...

    def keys(self, prefix: str = "") -> AsyncIterator[Entry]: ...

    async def conflicts(self, prefix: str = "", *, limit: int = ..., cursor: str = "") -> Conflicts: ...

    async def siblings(self, key: str) -> Siblings: ...

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
    ) -> Receipt: ...

    def watch(self, prefix: str = "", *, cursor: str | None = None) -> Watch: ...

    async def send(self, node: str, body: bytes, *, topic: str = "", reliable: bool = False) -> object: ...

    async def broadcast(self, body: bytes, *, topic: str = "") -> int: ...

    async def publish(self, topic: str, body: bytes) -> int: ...

    async def certificates(self) -> Sequence[CertificateView]: ...

    async def validate_certificate(self, pem: bytes) -> CertificateCheck: ...

    async def invite(
        self,
        *,
        role: str = "writer",
        expires_s: int = 3600,
        uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> str: ...

    async def handle_join_request(self, body: dict[str, Any], address: str) -> Mapping[str, Any]: ...
