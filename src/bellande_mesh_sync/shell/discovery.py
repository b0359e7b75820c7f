"""Finding members on the local network by multicast DNS (RFC 6762, 6763), with no server and no internet."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import ipaddress
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from bellande_mesh_sync.addresses import is_loopback, parse_address
from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell.candidates import Candidates
from bellande_mesh_sync.wire.announcement import (
    SERVICE_TYPE,
    announced_text,
    instance_label,
    is_of_mesh,
    mesh_tag,
    read_announcement,
)

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger("bellande_mesh_sync")

LOOKUPS_PER_S: Final = 16
"""Each takes at most LOOKUP_S and reports at most one candidate, so this bounds both."""
LOOKUP_S: Final = 3.0
RETRY_S: Final = 60.0
SERVICES_MAX: Final = 16_384
"""Announcements of services not known before, in one session. The library keeps something of each for
as long as the announcement says, so beyond this the session ends, and the next begins with nothing."""
GROUP: Final = "224.0.0.251"
PORT: Final = 5353


class Discovery:
    """Announces this node on the local network, and reports who else says to be of its mesh.

    What it reports are places to dial: the handshake there proves who it is. To be made and used
    inside a running event loop. Without multicast it logs `discovery_unavailable` once and keeps trying.

    Args:
        addresses: where this node listens: IP addresses and one port. It is announced, and others are
            heard, on the interfaces these are of: loopback addresses stay on this machine.
        on_found: called for each candidate, at most 16 times a second; the same again after 30 s.
        retry_s: seconds until the next try where there is no multicast.
    """

    def __init__(
        self, *, mesh_id: bytes, node: NodeId, addresses: tuple[str, ...],
        on_found: Callable[[Found], None], retry_s: float = RETRY_S,
    ) -> None:  # fmt: skip
        self._tag = mesh_tag(mesh_id)
        self._node = node
        self._own_name = f"{instance_label(self._tag, node)}.{SERVICE_TYPE}"
        self._addresses = addresses
        self._on_found = on_found
        self._retry_s = retry_s
        self._loop = asyncio.get_running_loop()
        self._candidates = Candidates()
        self._services = 0
        """Heard of in this session, of any mesh."""
        self._is_stale = False
        """This session must end: our addresses changed."""
        self._is_unavailable = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin, in the background: whether it works shows later."""
        self._task = self._loop.create_task(self._run(), name="bms-discovery")

    async def close(self) -> None:
        """Say goodbye on the network, so that others forget this node's service at once."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def update(self, addresses: tuple[str, ...]) -> None:
        """This node listens elsewhere now."""
        if addresses != self._addresses:
            self._addresses = addresses
            self._is_stale = True
            self._news.set()

    # -- sessions: one for each set of addresses

    async def _run(self) -> None:
        await asyncio.to_thread(_load_library)
        from zeroconf import Error

        while True:
            self._is_stale = False
            try:
                await self._session(_OwnPlace(self._addresses))
            except (OSError, RuntimeError, Error) as error:
                self._unavailable(error)
                await self._pause()

    async def _session(self, place: _OwnPlace) -> None:
        """Announce and listen until our addresses change.

        Raises:
            OSError, RuntimeError, zeroconf.Error: this machine, or its network, has no multicast.
        """
        from zeroconf import DNSQuestionType
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        place.check()
        self._candidates = Candidates()
        self._services = 0
        network = AsyncZeroconf(interfaces=place.interfaces)
        try:
            await network.zeroconf.async_wait_for_start()
            if not network.zeroconf.engine.senders:
                raise OSError("no interface takes part in multicast")
            if place.is_loopback:
                _confine(network)
            browser = AsyncServiceBrowser(
                network.zeroconf,
                SERVICE_TYPE,
                handlers=[self._heard],
                # An answer to one asker alone could reach another node of this machine instead.
                question_type=DNSQuestionType.QM,
            )
            try:
                # Nobody else has a name with our node id, so nobody need be asked first.
                await (
                    await network.async_register_service(self._service(place), cooperating_responders=True)
                )
                self._available()
                await self._look_up_all(network, place)
            finally:
                await browser.async_cancel()
        finally:
            await network.async_close()

    def _service(self, place: _OwnPlace) -> AsyncServiceInfo:
        from zeroconf.asyncio import AsyncServiceInfo

        return AsyncServiceInfo(
            SERVICE_TYPE,
            self._own_name,
            port=place.port,
            properties=announced_text(self._tag, self._node),
            # A host name of this session's own: others still hold the addresses of the one before.
            server=f"{secrets.token_hex(8)}.local.",
            parsed_addresses=place.hosts,
        )

    def _unavailable(self, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        level = logging.DEBUG if self._is_unavailable else logging.WARNING
        self._is_unavailable = True
        log.log(level, "discovery_unavailable (reason: %s)", reason, extra={"facts": {"reason": reason}})

    def _available(self) -> None:
        if self._is_unavailable:
            self._is_unavailable = False
            log.info("discovery_available (reason: multicast works again)")

    async def _pause(self) -> None:
        """Until the next try is due, or our addresses changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._retry_s):
                while not self._is_stale:
                    self._news.clear()
                    await self._news.wait()

    # -- others

    def _heard(self, *, name: str, state_change: Any, **_: Any) -> None:
        """The library's news: a service came, changed or went."""
        from zeroconf import ServiceStateChange

        if state_change is ServiceStateChange.Removed or name == self._own_name:
            return
        self._services += state_change is ServiceStateChange.Added
        if is_of_mesh(name, self._tag):
            self._candidates.hear(name)
        self._news.set()

    async def _look_up_all(self, network: AsyncZeroconf, place: _OwnPlace) -> None:
        """Look up each name that was heard, few a second, until this session must end."""
        running: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as lookups:
            while not self._is_stale and self._services <= SERVICES_MAX:
                name = self._candidates.take()
                if name is None:
                    self._news.clear()
                    await self._news.wait()
                    continue
                lookup = lookups.create_task(self._look_up(network, place, name))
                running.add(lookup)
                lookup.add_done_callback(running.discard)
                await asyncio.sleep(1 / LOOKUPS_PER_S)
            for lookup in running:
                lookup.cancel()
        if self._services > SERVICES_MAX:
            raise OSError(f"a flood: more than {SERVICES_MAX} services were announced")

    async def _look_up(self, network: AsyncZeroconf, place: _OwnPlace, name: str) -> None:
        from zeroconf import DNSQuestionType, Error
        from zeroconf.asyncio import AsyncServiceInfo

        service = AsyncServiceInfo(SERVICE_TYPE, name)
        try:
            await service.async_request(network.zeroconf, LOOKUP_S * 1000, DNSQuestionType.QM)
        except Error as error:
            log.debug("a service on the local network cannot be looked up: %r", error)
            return
        found = read_announcement(
            self._tag,
            service.properties,
            service.port,
            service.parsed_scoped_addresses(),
            is_loopback=place.is_loopback,
        )
        if (
            found is not None
            and found.node != self._node
            and self._candidates.is_news(found, self._loop.time())
        ):
            self._on_found(found)


def _load_library() -> None:
    """In a thread, for it takes longer than the loop may stand still."""
    if "zeroconf" not in sys.modules:
        importlib.import_module("zeroconf.asyncio")
        # It warns, with a traceback, of each goodbye on an interface that has gone. A program that uses
        # the library itself keeps its own choice.
        logging.getLogger("zeroconf").setLevel(logging.ERROR)


class _OwnPlace:
    """Where a node stands in the local network: what it announces, and on which interfaces."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        pairs = [parse_address(address) for address in addresses]
        pairs = [(host, port) for host, port in pairs if _is_literal(host)]
        if not pairs:
            raise OSError("this node has no address to announce")
        self.port = pairs[0][1]
        self.hosts = [host for host, port in pairs if port == self.port]
        self.is_loopback = all(map(is_loopback, self.hosts))
        if not self.is_loopback:
            self.hosts = [host for host in self.hosts if not is_loopback(host)]
        # IPv6 has no multicast on the loopback interface; IPv4's carries both kinds of address.
        self.interfaces = ["127.0.0.1"] if self.is_loopback else self.hosts

    def check(self) -> None:
        """OSError, with a plain reason, if an interface cannot do it. The library would only log that."""
        for host in self.interfaces:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as trial:
                trial.bind((host, 0))
                if family == socket.AF_INET:
                    packed = socket.inet_aton(host)
                    trial.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, packed)
                    trial.setsockopt(
                        socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP) + packed
                    )
                    trial.connect((GROUP, PORT))  # Sends nothing; fails if there is no way.


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _confine(network: AsyncZeroconf) -> None:
    """Bind the library's sockets to the loopback interface: the one it hears with is open to all others.

    Raises:
        OSError: this system cannot do that, or not for this user (Linux before 5.7).
    """
    option = getattr(socket, "SO_BINDTODEVICE", None)
    if option is None:
        raise OSError("this system cannot keep it on the loopback interface")
    for reader in network.zeroconf.engine.readers:
        with socket.socket(fileno=os.dup(reader.fileno)) as same:
            same.setsockopt(socket.SOL_SOCKET, option, b"lo\0")
