"""The HTTP and HTTPS listeners of one node, in the node's own event loop.

uvicorn's protocol does the HTTP; its `Server` is not used, because it takes over the process's
signals, wakes ten times a second, and ends the process when a port is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config as UvicornConfig

from bellande_mesh_sync.addresses import format_address
from bellande_mesh_sync.api.app import create_app
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.api.protocol import IDLE_TIMEOUT_S, LimitedProtocol, Shared
from bellande_mesh_sync.errors import ConfigError, PortInUseError

if TYPE_CHECKING:
    from bellande_mesh_sync.security.identity import Identity

log = logging.getLogger("bellande_mesh_sync.api")

BACKLOG: Final = 512
TLS_TIMEOUT_S: Final = 10.0
STOP_TIMEOUT_S: Final = 3.0
"""How long requests under way may go on after `stop`; then their connections are cut."""

CUT_TIMEOUT_S: Final = 1.0


class ServingMesh(MeshCalls, Protocol):
    """A mesh that also says where to listen."""

    @property
    def settings(self) -> Any: ...

    @property
    def identity(self) -> Any: ...


class QuietCancel:
    """Lets a request that is cancelled while stopping end without a complaint in the log."""

    def __init__(self, app: ASGIApp, shared: Shared) -> None:
        self._app = app
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The task belongs to this request alone, so nobody above waits for the cancellation.
            if not self._shared.stopping.is_set():
                raise


class HttpServers:
    """Both listeners. `http_address` and `https_address` are `host:port` once started, "" if off."""

    def __init__(self, mesh: ServingMesh) -> None:
        self._mesh = mesh
        self._servers: list[asyncio.Server] = []
        self._shared: Shared | None = None
        self._context: ssl.SSLContext | None = None
        self.http_address = ""
        self.https_address = ""

    async def start(self) -> None:
        """Bind and listen. Raises PortInUseError or ConfigError, and then nothing listens."""
        settings = self._mesh.settings
        wanted = [
            (settings.http_host, settings.http_port, None),
            (settings.https_host, settings.https_port, self._https_context),
        ]
        sockets = _bind_all([(host, port) for host, port, _ in wanted])
        shared = self._shared = Shared()
        config = _uvicorn_config(QuietCancel(create_app(self._mesh), shared))
        loop = asyncio.get_running_loop()

        def protocol() -> LimitedProtocol:
            return LimitedProtocol(config, shared, {}, loop)

        try:
            for bound, (_, _, context_of) in zip(sockets, wanted, strict=True):
                if bound is not None:
                    context = context_of() if context_of is not None else None
                    self._servers.append(await _listen(loop, protocol, bound, context))
        except BaseException:
            for bound in sockets:
                if bound is not None:
                    bound.close()
            await self.stop()
            raise
        self.http_address, self.https_address = (_address_of(bound) if bound else "" for bound in sockets)

    async def stop(self) -> None:
        """Stop listening, let requests under way end for 3 s, then cut them. May be called twice."""
        servers, self._servers = self._servers, []
        shared, self._shared = self._shared, None
        for server in servers:
            server.close()
        if shared is not None:
            await _drain(shared)
        self.http_address = self.https_address = ""

    def _https_context(self) -> ssl.SSLContext:
        from bellande_mesh_sync.shell.tls import https_context

        self._context = https_context(self._mesh.identity)
        return self._context

    def use(self, identity: Identity) -> None:
        """Show this certificate to whoever connects next."""
        from bellande_mesh_sync.shell.tls import take_certificate

        if self._context is not None:
            take_certificate(self._context, identity)


def _uvicorn_config(app: ASGIApp) -> UvicornConfig:
    config = UvicornConfig(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        # Nobody in front of us is trusted to say whose request it is, or that it came over TLS.
        proxy_headers=False,
        timeout_keep_alive=IDLE_TIMEOUT_S,
    )
    config.load()
    return config


async def _listen(
    loop: asyncio.AbstractEventLoop, protocol: Any, bound: socket.socket, context: ssl.SSLContext | None
) -> asyncio.Server:
    tls_timeout_s = None if context is None else TLS_TIMEOUT_S
    return await loop.create_server(
        protocol, sock=bound, backlog=BACKLOG, ssl=context, ssl_handshake_timeout=tls_timeout_s
    )


async def _drain(shared: Shared) -> None:
    shared.stopping.set()
    for connection in list(shared.connections):
        connection.shutdown()
    await _wait_for_tasks(shared, STOP_TIMEOUT_S)
    for connection in list(shared.connections):
        connection.transport.abort()
    await _wait_for_tasks(shared, CUT_TIMEOUT_S)
    if shared.tasks:
        log.warning("%d requests did not end and were cancelled", len(shared.tasks))
        for task in shared.tasks:
            task.cancel()
        await _wait_for_tasks(shared, CUT_TIMEOUT_S)


async def _wait_for_tasks(shared: Shared, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while shared.tasks:  # a request that ends may make way for one pipelined behind it
                await asyncio.wait(shared.tasks)


def _bind_all(wanted: list[tuple[str, int | None]]) -> list[socket.socket | None]:
    bound: list[socket.socket | None] = []
    try:
        for host, port in wanted:
            bound.append(None if port is None or port < 0 else _bind(host, port))
    except BaseException:
        for one in bound:
            if one is not None:
                one.close()
        raise
    return bound


def _bind(host: str, port: int) -> socket.socket:
    address = format_address(host, port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            field="http_host", reason=f"{host!r} is no address of this machine: {error}"
        ) from None
    family, kind, protocol, _, target = found[0]
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setblocking(False)
        one.bind(target)
        # Two binds of one port both succeed until one listens (SO_REUSEADDR); so listen here.
        one.listen(BACKLOG)
    except OSError as error:
        one.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(address=address) from None
        reason = os.strerror(error.errno or 0)
        raise ConfigError(field="http_port", reason=f"{address} cannot be bound: {reason}") from None
    return one


def _address_of(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return format_address(host, port)
