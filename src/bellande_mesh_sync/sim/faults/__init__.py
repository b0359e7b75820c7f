"""What goes wrong, by kind: a plan of faults of links, disks, processes and clocks, and the end of all."""

from __future__ import annotations

from collections import Counter

from bellande_mesh_sync.sim.faults.clocks import ClockFaults
from bellande_mesh_sync.sim.faults.config import FaultConfig as FaultConfig
from bellande_mesh_sync.sim.faults.config import draw_pace as draw_pace
from bellande_mesh_sync.sim.faults.disks import DiskFaults
from bellande_mesh_sync.sim.faults.episodes import Episodes as Episodes
from bellande_mesh_sync.sim.faults.links import LinkFaults
from bellande_mesh_sync.sim.faults.plan import Plan
from bellande_mesh_sync.sim.faults.processes import ProcessFaults
from bellande_mesh_sync.sim.faults.standing import StandingFaults
from bellande_mesh_sync.sim.faults.statements import StatementFaults
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import World


class Faults:
    """Does the damage, counts it by kind, and repairs all of it at the end.

    Args:
        nodes: the mesh's own list: whoever joins is in it.
        name: of the source of chance; several in one world need several.
        episodes: those of the world, if others do damage to it too.
    """

    def __init__(
        self,
        world: World,
        config: FaultConfig,
        nodes: list[SimNode],
        network: Network,
        name: str = "faults",
        episodes: Episodes | None = None,
    ) -> None:
        self.episodes = episodes or Episodes()
        self._plan = Plan(world, config.lasts_mean_s, name, self.episodes)
        self.links = LinkFaults(self._plan, config, nodes, network)
        self.processes = ProcessFaults(self._plan, config, nodes)
        self.disks = DiskFaults(self._plan, config, nodes)
        self.clocks = ClockFaults(self._plan, config, nodes)
        self.standing = StandingFaults(self._plan, config, nodes, network)
        self.statements = StatementFaults(self._plan, config, nodes)
        self._nodes = nodes
        self._network = network

    @property
    def counts(self) -> Counter[str]:
        return self._plan.counts

    def details(self) -> Counter[str]:
        """What became of the damage: how often it was met, and how disks ended what was under way."""
        found = Counter(self._network.times.counts)
        for node in self._nodes:
            found += node.disk.counts
        return found

    def start(self) -> None:
        for faults in (self.links, self.processes, self.disks, self.clocks, self.standing, self.statements):
            faults.start()

    def end(self) -> None:
        """No more of these faults; what they did is repaired, and nothing else."""
        self._plan.end_all()
        for faults in (self.links, self.disks, self.processes):
            faults.end()

    def stop(self) -> None:
        """No more faults; everything is repaired, whoever did it, and every node runs."""
        self._plan.is_over = True
        self.episodes.clear()
        for faults in (self.links, self.disks, self.clocks, self.standing, self.processes):
            faults.repair()
