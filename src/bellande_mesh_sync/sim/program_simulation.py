"""A simulation whose clients are programs: the nodes, disks, links and checkers, with a desk at each node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.data.merging import Merge
from bellande_mesh_sync.core.effects import Batch, Changed, Deliver
from bellande_mesh_sync.sim.checkers import Disk, Violation, differences
from bellande_mesh_sync.sim.desk import Desk
from bellande_mesh_sync.sim.loop import VirtualLoop
from bellande_mesh_sync.sim.merge_checker import MergeChecker
from bellande_mesh_sync.sim.merge_laws import shown
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.note_checker import NoteChecker
from bellande_mesh_sync.sim.programs import Programs
from bellande_mesh_sync.sim.simulation import CHECK_INTERVAL_NS, FULL_CHECK_INTERVAL_NS, Simulation
from bellande_mesh_sync.sim.swarm import Scenario


class ProgramSimulation(Simulation):
    def __init__(
        self, scenario: Scenario, policies: Mapping[str, SpacePolicy], merges: Mapping[str, Merge]
    ) -> None:
        super().__init__(scenario)
        self.loop = VirtualLoop(self.world)
        names = {node.node.hex(): node.name for node in self.nodes}
        self.merges = MergeChecker(merges, names)
        self.notes = NoteChecker()
        self.desks = [
            Desk(self.world, self.loop, node, policies, self.merges, self.ack_checker, self.notes)
            for node in self.nodes
        ]
        self.programs = Programs(self.world, self.loop, self.desks)
        self.ended: Callable[[SimNode], None] = lambda node: None
        """Told of the end of every process, after its programs are gone."""
        self.watch_deaths()

    def watch_deaths(self) -> None:
        for node in self.nodes:
            node.on_death = lambda node=node: self._ended(node)  # type: ignore[misc]

    def begin(self) -> None:
        """Start the nodes and all checks, and wait until everybody knows everybody."""
        for node in self.nodes:
            node.start()
        self.world.at(CHECK_INTERVAL_NS, self._check)
        self.world.at(FULL_CHECK_INTERVAL_NS, self._check_fully)
        self._warm_up()

    # -- at rest

    def open_questions(self) -> list[str]:
        """What is not yet as it must be at rest: nodes that are down, data and members that differ."""
        down = [node.name for node in self.nodes if not node.is_running or node.is_leaving]
        if down:
            return [f"{' and '.join(down)} not running"]
        return self._differing_keys() or differences(self.disks) or self._strangers()

    def check_at_rest(self) -> None:
        """From scratch: disks, promises, and that every node's own call of a merge function agrees."""
        for disk in self.disks:
            self.disk_checker.check_disk(disk)
        self.ack_checker.check_all()
        for key in [key for key in sorted(self.disks[0].platter.by_key) if self.merges.covers(key)]:
            seen = {desk.node.name: self._merged(desk, key) for desk in self.desks}
            if len(set(seen.values())) > 1:
                told = "\n".join(f"  {name} shows {shown(value)}" for name, value in seen.items())
                raise Violation("merge", "", f"at rest {key} is not the same everywhere\n{told}", key)

    def _merged(self, desk: Desk, key: str) -> bytes | None:
        records = desk.node.disk.shown(key)
        return self.merges.merged_anew(records, desk.values.stored) if records else None

    def _differing_keys(self) -> list[str]:
        found = []
        for key in sorted({key for disk in self.disks for key in disk.platter.by_key}):
            dots = [sorted(disk.platter.by_key.get(key, {})) for disk in self.disks]
            if any(each != dots[0] for each in dots[1:]):
                shows = (f"{desk.node.name} shows {self._shown(desk, key)}" for desk in self.desks)
                found.append(f"{key}: {', '.join(shows)}")
        return found

    def _shown(self, desk: Desk, key: str) -> str:
        found = desk.find(key)
        return "nothing" if found is None else shown(found[1]())

    def _strangers(self) -> list[str]:
        try:
            self.members.check_at_rest(self.nodes)
        except Violation as found:
            return [str(found)]
        return []

    # -- what disks and nodes report

    def applied(self, disk: Disk, batch: Batch) -> None:
        super().applied(disk, batch)
        values = self.desks[disk.index].values
        for _, record in batch.puts:
            if self.merges.covers(record.key):
                siblings = list(disk.platter.by_key.get(record.key, {}).values())
                self.merges.merged(f"n{disk.index}", siblings, values.stored)

    def changed(self, node: SimNode, effect: Changed) -> None:
        super().changed(node, effect)
        self.desks[node.index].changed(effect)

    def delivered(self, node: SimNode, effect: Deliver) -> None:
        self.desks[node.index].delivered(effect)

    def started(self, node: SimNode) -> None:
        super().started(node)
        self.programs.started(node)

    def _ended(self, node: SimNode) -> None:
        self.desks[node.index].ended()
        self.programs.ended(node)
        self.ended(node)
