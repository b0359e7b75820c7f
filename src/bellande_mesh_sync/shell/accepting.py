"""Inbound connections: accepted one by one, and few at a time until they have proven who they are."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from bellande_mesh_sync.errors import ConfigError, PortInUseError
from bellande_mesh_sync.shell.link import format_address

BACKLOG: Final = 256
RETRY_S: Final = 0.2
"""Pause after the system had no descriptor or memory for a connection; the next one may fare better."""

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class Gate:
    """Counts unfinished handshakes, in all and by address."""

    def __init__(self, total_max: int, per_address_max: int) -> None:
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._total = 0
        self._by_address: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        return self._total

    def enter(self, address: str) -> bool:
        if self._total >= self._total_max:
            return False
        if self._by_address[address] >= self._per_address_max and not _is_loopback(address):
            return False
        self._total += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        self._total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


class Listener:
    """A listening socket and the task that accepts from it. `serve` gets each socket and its address."""

    def __init__(
        self, listening: socket.socket, serve: Callable[[socket.socket, str], Awaitable[None]]
    ) -> None:
        self._socket = listening
        self._serve = serve
        self._task = asyncio.get_running_loop().create_task(self._accept_all(), name="bms-accept")

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._socket.close()

    async def _accept_all(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, name = await loop.sock_accept(self._socket)
            except OSError as error:
                # The listener outlives whatever went wrong with one connection.
                if error.errno in _EXHAUSTED:
                    await asyncio.sleep(RETRY_S)
                continue
            await self._serve(connection, name[0])


async def open_listening_socket(host: str, port: int) -> tuple[socket.socket, tuple[str, int]]:
    """Bind and listen on the first address of `host`, IPv4 before IPv6; empty means all of them.

    Raises:
        PortInUseError: another program, or another node, has that port.
        ConfigError: the address cannot be bound for another reason.
    """
    listening = await open_bound_socket(host, port, socket.SOCK_STREAM)
    name = listening.getsockname()
    return listening, (name[0], name[1])


async def open_bound_socket(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """The same for a socket of any kind; one of streams listens. Raises what open_listening_socket does."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        raise ConfigError(field="listen_address", reason=f"{host!r} is no address: {error}") from None
    family, _, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setblocking(False)
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        if kind == socket.SOCK_STREAM:
            bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        text = format_address(host, port)
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(address=text) from None
        raise ConfigError(field="listen_address", reason=f"{text}: {error.strerror}") from None
    return bound
