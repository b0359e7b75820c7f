"""Sweeping chunks that nothing refers to: the part of `Mesh` that asks for it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.values import SweepReport


class SweepCalls(ABC):
    """A node sweeps by itself; these are for those who do not want to wait."""

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    async def cleanup_data(self, *, grace: float | None = None) -> SweepReport:
        """Remove from this node's disk the parts of large values that nothing refers to any more.

        What a live record, an old version, a write or a fetch under way needs stays, and a reader in the
        middle of a value is not cut off.

        Args:
            grace: seconds that such a part stays at least after it was found; by default `sweep_grace`. 0:
                what is found now goes now.

        Raises:
            CorruptStoreError, StorageError: something damaged stands in the way (nothing was removed), the
                node is stopping, or the disk is full (what was removed by then is).
        """
        node = self._alive()
        if grace is not None and not grace >= 0:
            raise UsageError(reason="the grace time is a number of seconds, 0 or more")
        return await node.sweeper.run(grace)
