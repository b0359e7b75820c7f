"""Where this machine is reached, and noticing when that changes."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bellande_mesh_sync.addresses import format_address, is_wildcard

log = logging.getLogger("bellande_mesh_sync")

ADDRESSES_MAX: Final = 4
"""Of a node that listens on all interfaces: each is tried by whoever dials it, and fits its record."""
_INNER: Final = re.compile(r"(docker|virbr|lxcbr|lxdbr|cni|podman)\d|br-[0-9a-f]{12}$|veth")
"""Interfaces between this machine and its own containers: their addresses are the same on every machine."""


class AddressWatch:
    """Calls `on_changed` whenever `addresses_now` says something else than before.

    Interfaces come and go without telling a program that asks no netlink, so it looks every few seconds.

    Args:
        addresses_now: quick and without blocking; called for the first time now.
    """

    def __init__(
        self,
        *,
        addresses_now: Callable[[], tuple[str, ...]],
        on_changed: Callable[[tuple[str, ...]], None],
        interval_s: float = 5.0,
    ) -> None:
        self._addresses_now = addresses_now
        self._on_changed = on_changed
        self._interval_s = interval_s
        self._last = addresses_now()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch(), name="bms-addresses")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                addresses = self._addresses_now()
            except OSError as error:
                log.debug("this machine's addresses cannot be read now: %s", error)
                continue
            if addresses != self._last:
                self._last = addresses
                log.info("addresses_changed (to: %s)", addresses, extra={"facts": {"to": addresses}})
                self._on_changed(addresses)


def reached_at(bound_host: str, bound_port: int) -> tuple[str, ...]:
    """Where a node that listens on `bound_host` is reached, best first.

    For a wildcard: up to four addresses of this machine, the one that leads out of here first, and
    loopback only where there is no other.
    """
    if not is_wildcard(bound_host):
        return (format_address(bound_host, bound_port),)
    families = _families(bound_host)
    outward = [host for host in map(_outward_host, families) if host]
    # Sorted, so that the system's changes of order are no changes of ours.
    hosts = list(dict.fromkeys([*outward, *sorted(_interface_hosts(families))]))
    if not hosts:
        hosts = ["::1" if ":" in bound_host else "127.0.0.1"]
    return tuple(format_address(host, bound_port) for host in hosts[:ADDRESSES_MAX])


def _families(wildcard: str) -> tuple[socket.AddressFamily, ...]:
    """What a socket that listens there takes: on `::` IPv4 too, unless the system was told otherwise."""
    if ":" not in wildcard:
        return (socket.AF_INET,)
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as trial:
            takes_both = trial.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0
    except OSError:
        takes_both = False  # No IPv6 here.
    return (socket.AF_INET6, socket.AF_INET) if takes_both else (socket.AF_INET6,)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _outward_host(family: socket.AddressFamily) -> str | None:
    """The address of the interface that leads out of here. Connecting a datagram socket sends nothing."""
    far_away = "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((far_away, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None  # No network of this kind.


def _interface_hosts(families: tuple[socket.AddressFamily, ...]) -> list[str]:
    """Addresses of the interfaces that are up, in no order, that other machines can dial."""
    import ifaddr

    hosts = []
    for adapter in ifaddr.get_adapters():
        if _INNER.match(adapter.name) or not _is_up(adapter.name):
            continue
        for each in adapter.ips:
            host = each.ip if isinstance(each.ip, str) else each.ip[0]
            if _family(host) in families and _is_dialable(host):
                hosts.append(host)
    return hosts


def _is_dialable(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    if address.is_loopback or address.is_unspecified:
        return False
    # Of IPv6, such an address means nothing on another machine; of IPv4, it is what a network without
    # any server gives.
    return address.version == 4 or not address.is_link_local


def _is_up(interface: str) -> bool:
    """Whether something is plugged in. Interfaces that cannot know, such as tunnels, say "unknown"."""
    try:
        state = Path("/sys/class/net", interface, "operstate").read_text(encoding="ascii").strip()
    except OSError:
        return True  # Another system than Linux, or a container that is not shown it.
    return state in ("up", "unknown")
