"""Verifying what a node holds: the part of `Mesh` that reads it all again and waits for the repair."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.errors import BusyError, UsageError
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.verification import Find, Verification
from bellande_mesh_sync.values import DamagedValue, VerifyProgress, VerifyReport

BYTES_PER_S_MAX: Final = 256 << 20
REPAIR_TIMEOUT_S: Final = 10.0
DAMAGED_SHOWN_MAX: Final = 1_000
_LOOK_EVERY_S: Final = 0.1

OnProgress = Callable[[VerifyProgress], None]


class VerifyCalls(ABC):
    """One verification at a time."""

    _verification: Verification | None = None

    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    async def verify(
        self,
        *,
        deep: bool = False,
        bytes_per_s: float = BYTES_PER_S_MAX,
        repair_timeout: float = REPAIR_TIMEOUT_S,
        on_progress: OnProgress | None = None,
    ) -> VerifyReport:
        """Read all that this node has on disk again; what is damaged is set aside, and asked for elsewhere.

        Every record is read and compared with its checksum, and all of them with the fingerprint and the
        numbers of their shard; the chunks of every value must be there; the database's own check must hold.

        Args:
            deep: hash every value and every chunk again as well.
            bytes_per_s: read no faster than this.
            repair_timeout: how long to wait for other nodes to bring what is damaged.
            on_progress: called now and then while it runs.

        Raises:
            BusyError: one is under way.
            StorageError: the node was stopped, or the store closed, before the end.
        """
        node = self._alive()
        if not bytes_per_s > 0 or not repair_timeout >= 0:
            raise UsageError(reason="the rate must be above 0, and the time for repairs not below")
        if self._verification is not None:
            raise BusyError(what="the verification of this node", limit="1 at a time")
        verification = Verification(node.store, deep=deep, bytes_per_s_max=bytes_per_s)
        self._verification = verification
        try:
            with node.io.hold():  # What it reads stays until it is through.
                await self._run(verification, on_progress)
            damage = verification.damage()
            node.runner.damage_found(damage)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(repair_timeout):
                    while not self._is_mended(node, verification):  # noqa: ASYNC110  # it is the core's word
                        await asyncio.sleep(_LOOK_EVERY_S)
            return self._report(node, verification, deep=deep)
        finally:
            verification.stop()
            self._verification = None

    async def _run(self, verification: Verification, on_progress: OnProgress | None) -> None:
        running = asyncio.ensure_future(asyncio.to_thread(verification.run))
        try:
            while not running.done():
                await asyncio.wait({running}, timeout=_LOOK_EVERY_S)
                if on_progress is not None:
                    on_progress(_progress(verification))
        finally:
            verification.stop()
            await asyncio.wait({running})
        running.result()

    def _stop_verifying(self) -> None:
        if self._verification is not None:
            self._verification.stop()

    def _is_mended(self, node: Assembly, verification: Verification) -> bool:
        if node.core.exchange.mending.is_busy:
            return False
        if not node.core.directory.live_and_dead()[0]:
            return True  # Nobody is there who could have it.
        return all(_is_repaired(node, find) for find in verification.finds)

    def _report(self, node: Assembly, verification: Verification, *, deep: bool) -> VerifyReport:
        finds = [DamagedValue(each.key, each.kind, _is_repaired(node, each)) for each in verification.finds]
        found = Counter(each.kind for each in finds)
        drifted = set(verification.doubted) - {
            find.record.shard for find in verification.finds if find.record is not None
        }
        found["shard"] = len(drifted)
        found["database"] = 1 if verification.database else 0
        repaired = sum(each.repaired for each in finds)
        is_busy = node.core.exchange.mending.is_busy
        repaired += 0 if is_busy else len(drifted)
        total = sum(found.values()) + verification.left_off
        return VerifyReport(
            ok=total == 0,
            deep=deep,
            seconds=round(time.monotonic() - verification.started_s, 3),
            bytes=verification.bytes_read,
            records=verification.records,
            chunks=verification.chunks,
            found={kind: count for kind, count in sorted(found.items()) if count},
            repaired=repaired,
            unrepaired=total - repaired,
            damaged=tuple(sorted(finds, key=lambda each: (each.repaired, each.key))[:DAMAGED_SHOWN_MAX]),
            database=verification.database,
        )


def _is_repaired(node: Assembly, find: Find) -> bool:
    if find.chunk is not None:
        return not node.core.exchange.mending.is_wanted(find.chunk.hash)
    assert find.record is not None, "a find is a record or a chunk"
    return not node.core.replica.is_damaged(find.key)


def _progress(verification: Verification) -> VerifyProgress:
    return VerifyProgress(
        seconds=round(time.monotonic() - verification.started_s, 3),
        bytes=verification.bytes_read,
        records=verification.records,
        chunks=verification.chunks,
        damaged=len(verification.finds) + verification.left_off,
    )
