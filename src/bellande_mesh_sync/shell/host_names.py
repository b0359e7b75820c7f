"""Addresses of host names, looked up in the background: whoever asks gets what is known by now."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

SECOND_NS: Final = 1_000_000_000
GOOD_FOR_NS: Final = 60 * SECOND_NS
RETRY_NS: Final = 5 * SECOND_NS
NAMES_MAX: Final = 1_024
LOOKUPS_MAX: Final = 2
"""At once: each takes a thread of the loop's pool for as long as the name server is silent."""


class HostNames:
    """To be used inside one running event loop."""

    def __init__(self, fit: Callable[[str], str | None], now_ns: Callable[[], int]) -> None:
        """
        Args:
            fit: an IP address as the socket takes it, or None if it cannot be used.
        """
        self._fit = fit
        self._now_ns = now_ns
        self._known: OrderedDict[str, tuple[str | None, int]] = OrderedDict()
        """Name -> the address, or None if there is none, and when to look again."""
        self._lookups: dict[str, asyncio.Task[None]] = {}

    def find(self, name: str) -> str | None:
        """The address of `name`, or None: not known yet, or none that fits. Never waits.

        An address that is due to be looked up again is still given meanwhile.
        """
        address, again_ns = self._known.get(name, (None, 0))
        if self._now_ns() >= again_ns and name not in self._lookups and len(self._lookups) < LOOKUPS_MAX:
            task = asyncio.get_running_loop().create_task(self._look_up(name), name="bms-host-name")
            self._lookups[name] = task
            task.add_done_callback(lambda _: self._lookups.pop(name, None))
        return address

    async def close(self) -> None:
        tasks = list(self._lookups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_up(self, name: str) -> None:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            found = []
        fitting = (self._fit(str(info[4][0])) for info in found)
        address = next((ip for ip in fitting if ip is not None), None)
        wait_ns = RETRY_NS if address is None else GOOD_FOR_NS
        if address is None:  # A name server that is away for a while does not make us forget.
            address = self._known.pop(name, (None, 0))[0]
        self._known[name] = (address, self._now_ns() + wait_ns)
        self._known.move_to_end(name)
        if len(self._known) > NAMES_MAX:
            self._known.popitem(last=False)
