"""What a node watches around it: who is announced on the local network, what names stand for, and where
this machine is reached itself."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.addresses import is_loopback, is_wildcard, parse_address
from bellande_mesh_sync.config import Settings
from bellande_mesh_sync.core.events import AddressesChanged, Event, Found
from bellande_mesh_sync.errors import UnreachableError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell.dialing import resolve
from bellande_mesh_sync.shell.discovery import Discovery
from bellande_mesh_sync.shell.own_addresses import AddressWatch, reached_at

log = logging.getLogger("bellande_mesh_sync")

NAMES_INTERVAL_S: Final = 60.0
"""How often the names among the bootstrap addresses are looked up: behind one may be several nodes."""


class Surroundings:
    """Tells a core what changes around it, from `start` to `close`.

    A node that listens on loopback only is not announced: whoever could reach it is on this machine.
    """

    def __init__(
        self, settings: Settings, *, mesh_id: bytes, node: NodeId, host: str, port: int,
        feed: Callable[[Event], None],
    ) -> None:  # fmt: skip
        """`host`, `port`: where this node listens."""
        self._feed = feed
        self._names = [address for address in settings.bootstrap if not _is_literal(address)]
        self._lookups: asyncio.Task[None] | None = None
        self._moves = not settings.advertise
        self._watch: AddressWatch | None = None
        if is_wildcard(host):
            self._watch = AddressWatch(addresses_now=lambda: reached_at(host, port), on_changed=self._moved)
        self._discovery: Discovery | None = None
        if settings.discovery and not is_loopback(host):
            self._discovery = Discovery(
                mesh_id=mesh_id, node=node, addresses=reached_at(host, port), on_found=feed
            )

    async def start(self) -> None:
        if self._discovery is not None:
            await self._discovery.start()
        if self._watch is not None:
            self._watch.start()
        if self._names:
            self._lookups = asyncio.get_running_loop().create_task(self._look_up(), name="bms-names")

    async def close(self) -> None:
        if self._lookups is not None:
            self._lookups.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._lookups
        if self._watch is not None:
            await self._watch.close()
        if self._discovery is not None:
            await self._discovery.close()

    def _moved(self, addresses: tuple[str, ...]) -> None:
        if self._moves:
            self._feed(AddressesChanged(addresses))
        if self._discovery is not None:
            self._discovery.update(addresses)

    async def _look_up(self) -> None:
        """A dial of a name ends at the first node that answers; the others behind it are found here."""
        while True:
            for name in self._names:
                try:
                    addresses = await resolve(name)
                except UnreachableError as error:
                    log.debug("a bootstrap name was not found: %s", error)
                    continue
                if len(addresses) > 1:
                    self._feed(Found(None, addresses))
            await asyncio.sleep(NAMES_INTERVAL_S)


def _is_literal(address: str) -> bool:
    host, _ = parse_address(address)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
