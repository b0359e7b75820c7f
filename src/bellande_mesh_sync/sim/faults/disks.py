"""What goes wrong with disks: full, slow, standing still, failing, rotting, replaced by a backup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from bellande_mesh_sync.sim.disk import SimDisk
from bellande_mesh_sync.sim.faults.config import FaultConfig
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.platter import Platter
from bellande_mesh_sync.sim.world import SECOND_NS

STALL_MAX_S: Final = 10.0


class DiskFaults:
    """Faults of disks. What rots is for the nodes themselves to find and to mend."""

    def __init__(self, plan: Plan, config: FaultConfig, nodes: Sequence[SimNode]) -> None:
        self.wiped: Callable[[int], None] = lambda index: None
        self._plan = plan
        self._rng = plan.rng
        self._config = config
        self._nodes = nodes
        self._backups: dict[int, Platter] = {}
        self._hurt: dict[int, SimDisk] = {}
        """Disks to which something was done that does not end by itself."""

    def start(self) -> None:
        config, start = self._config, self._plan.start
        start(config.disk_full_s, self.full_disk)
        start(config.disk_slow_s, self.slow_disk)
        start(config.disk_stall_s, self.stalled_disk)
        start(config.sync_failure_s, self.failed_sync)
        start(config.read_failure_s, self.failed_read)
        start(config.rot_record_s, self.rotten_record)
        start(config.rot_chunk_s, self.rotten_chunk)
        start(config.restore_s / 2, self.backup)
        start(config.restore_s, self.restored_backup)
        start(config.wipe_s, self.wiped_disk)

    def end(self) -> None:
        """What was done to a disk once, and was not met yet, is undone."""
        for disk in self._hurt.values():
            disk.heal()

    def repair(self) -> None:
        """All disks are sound, whatever was done to them by whom."""
        for node in self._nodes:
            node.disk.mend()

    # -- for a while

    def full_disk(self) -> bool:
        disk = self._draw()
        disk.is_full = True
        self._plan.episode(("full disk", disk.index), partial(self._empty, disk))
        return True

    def _empty(self, disk: SimDisk) -> None:
        disk.is_full = False

    def slow_disk(self) -> bool:
        disk = self._draw()
        disk.is_slow = True
        self._plan.episode(("slow disk", disk.index), partial(self._hasten, disk))
        return True

    def _hasten(self, disk: SimDisk) -> None:
        disk.is_slow = False

    def stalled_disk(self) -> bool:
        stall_ns = int(self._rng.random() * STALL_MAX_S * SECOND_NS)
        self._draw_hurt().stalls_until_ns = self._plan.world.now_ns + stall_ns
        return True

    # -- at once

    def failed_sync(self) -> bool:
        self._draw_hurt().fails_next_sync = True
        return True

    def failed_read(self) -> bool:
        self._draw_hurt().fails_next_read = True
        return True

    def rotten_record(self) -> bool:
        return self._draw_hurt().rot_record(self._rng)

    def rotten_chunk(self) -> bool:
        return self._draw_hurt().rot_chunk(self._rng)

    def backup(self) -> bool:
        """A home is copied while its node is stopped, as it must be."""
        node = self._rng.choice(self._nodes)
        node.crash()
        self._backups[node.index] = node.disk.backup()
        return True

    def restored_backup(self) -> bool:
        """A node comes back with what it had some time ago, and takes it for the present."""
        if not self._backups:
            return False
        node = self._nodes[self._rng.choice(list(self._backups))]
        node.crash(power=True)
        node.disk.restore(self._backups[node.index], whole=self._rng.random() < 0.5)
        self.wiped(node.index)
        return True

    def wiped_disk(self) -> bool:
        """A machine comes back with a new disk and its old name."""
        node = self._rng.choice(self._nodes)
        if not node.is_running:
            return False
        node.crash(power=True)
        node.disk.wipe()
        self.wiped(node.index)
        return True

    def _draw_hurt(self) -> SimDisk:
        disk = self._draw()
        self._hurt[disk.index] = disk
        return disk

    def _draw(self) -> SimDisk:
        return self._rng.choice(self._nodes).disk
