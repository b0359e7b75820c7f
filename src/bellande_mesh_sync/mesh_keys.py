"""The calls of `Mesh` about its keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.security.sealing import OLD_KEPT_NS, SWITCH_AFTER_NS
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.values import KeyRotation

ROTATED: Final = ("udp",)
"""The keys that can be rotated. A node's own key is its identity: see decision 0019."""
_SECOND_NS: Final = 1_000_000_000


class KeyCalls(ABC):
    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    async def rotate_keys(self, what: str = "udp") -> KeyRotation:
        """Make a new key now; it is told to all members, and nothing that is under way is lost.

        Args:
            what: `udp`, the key with which datagrams for this node are sealed. It changes by itself once a
                day and with each start.

        Raises:
            UsageError: there is no such key, or this node takes no datagrams.
            BusyError: the last rotation is not over; that takes ten minutes.
        """
        if what not in ROTATED:
            raise UsageError(reason=f"{what!r} is none of the keys that can be rotated: {', '.join(ROTATED)}")
        node = self._alive()
        if not node.core.me.datagram_port:
            raise UsageError(reason="this node takes no datagrams, so it has no key for them")
        node.runner.datagrams.rotate()
        return KeyRotation(what, SWITCH_AFTER_NS // _SECOND_NS, OLD_KEPT_NS // _SECOND_NS)
