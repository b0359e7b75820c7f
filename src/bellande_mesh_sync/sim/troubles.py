"""What a test can do to a mesh: faults one by one and at random, and the end of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, Final

from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.sim.faults import FaultConfig, Faults
from bellande_mesh_sync.sim.links import DropOuts, LinkClass
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.program_simulation import ProgramSimulation
from bellande_mesh_sync.sim.world import SECOND_NS

NO_KINDS: Final = ("lasts_mean", "away_lasts", "join", "revoke", "expel", "state")
"""A world keeps the nodes that it starts with, all of them."""
FAULT_KINDS: Final = tuple(
    kind
    for field in fields(FaultConfig)
    if field.name.endswith("_s") and (kind := field.name.removesuffix("_s")) not in NO_KINDS
)
COMMON_FAULTS: Final = ("partition", "flap", "kill", "power", "pause")


class Troubles:
    """The half of MeshWorld that breaks and repairs things."""

    def __init__(self, simulation: ProgramSimulation, links: Sequence[tuple[int, int, LinkClass]]) -> None:
        self.failure: Exception | None = None
        """What ended the run."""
        self.simulation = simulation
        self.world = simulation.world
        self.nodes = simulation.nodes
        self._network = simulation.network
        self._drop_outs = DropOuts(self.world, self._network, links)
        self._faults: list[tuple[Faults, list[Callable[[], None]]]] = []
        """Random faults that go on, and how a node comes back from each of them."""
        self._fault_runs = 0
        self._counted: Counter[str] = Counter()
        self._down: set[int] = set()
        """Nodes that stay down until somebody starts them."""
        self._clocks_ms: dict[int, int] = {}
        """How far off clocks are that somebody set."""
        self._episodes = simulation.faults.episodes
        simulation.ended = self._ended

    # -- faults, one by one

    def kill(self, index: int) -> None:
        """End the process, as `kill -9` does. It stays down until `restart` or `settle`."""
        self._down.add(index)
        self._guarded(self.nodes[index].crash)

    def power_cut(self, index: int) -> None:
        """As `kill`, and nobody tells the others: they find out by silence."""
        self._down.add(index)
        self._guarded(lambda: self.nodes[index].crash(power=True))

    def restart(self, index: int) -> None:
        """Start the process, after ending it if it runs."""
        self._guarded(self.nodes[index].crash)
        self._down.discard(index)
        self._guarded(self.nodes[index].start)

    def pause(self, index: int) -> None:
        """The process stands still with its programs, as under SIGSTOP or in a suspended machine."""
        node = self.nodes[index]
        node.pause()
        self._episodes.begin(("pause", index, node.boot), node.resume)

    def resume(self, index: int) -> None:
        node = self.nodes[index]
        self._guarded(lambda: self._episodes.end_state(("pause", index, node.boot)))

    def wipe(self, index: int) -> None:
        """The machine gets an empty disk; it stays down until `restart` or `settle`."""
        self.power_cut(index)
        self.nodes[index].disk.wipe()
        self.simulation.ack_checker.wiped(index)

    def fill_disk(self, index: int, *, full: bool = True) -> None:
        """Nothing can be written to the node's disk, until it is called with `full=False`."""
        disk, state = self.nodes[index].disk, ("full disk", index)
        disk.is_full = full
        if full:
            self._episodes.begin(state, partial(setattr, disk, "is_full", False))
        else:
            self._episodes.end_state(state)

    def set_clock(self, index: int, offset_s: float) -> None:
        """The node's wall clock is off by so much from now on."""
        self.nodes[index].clock.offset_ms = self._clocks_ms[index] = round(offset_s * 1000)
        self.simulation.disk_checker.clock_set(index)

    # -- the network

    def partition(self, *groups: Sequence[int]) -> int:
        """Nothing passes between nodes of different groups until `heal`, of all or of what this returns."""
        ways: list[tuple[int, int]] = []
        for group in groups:
            ways += [(a, b) for other in groups if other is not group for a in group for b in other]
        return self._network.block(ways)

    def one_way(self, sources: int | Sequence[int], targets: int | Sequence[int]) -> int:
        """What `sources` send does not reach `targets` until `heal`; the other way is open."""
        return self._network.block([(a, b) for a in _listed(sources) for b in _listed(targets) if a != b])

    def heal(self, cut: int | None = None) -> None:
        """Every way between two nodes is open again; with what `partition` or `one_way` returned, only what
        that closed and nothing else does."""
        if cut is not None:
            self._network.unblock(cut)
            return
        self._network.times.recover()
        self._network.unblock_all()

    # -- faults at random

    def faults(self, *kinds: str, for_s: float, every_s: float = 20.0, lasts_s: float = 5.0) -> None:
        """From now on, for `for_s` seconds, let faults of these kinds happen; when they are over, what
        they did is repaired. The call returns at once: they happen while time passes.

        Args:
            kinds: of FAULT_KINDS; none: COMMON_FAULTS.
            every_s: mean time between two faults of a kind, over the whole mesh.
            lasts_s: mean time that one lasts, or a node stays down.
        """
        self.mixed_faults(dict.fromkeys(kinds or COMMON_FAULTS, every_s), for_s=for_s, lasts_s=lasts_s)

    def mixed_faults(self, every_s: Mapping[str, float], *, for_s: float, lasts_s: float = 5.0) -> None:
        """As `faults`, with a pace for each kind."""
        unknown = sorted(every_s.keys() - set(FAULT_KINDS))
        if unknown:
            raise UsageError(reason=f"{unknown[0]!r} is no kind of fault; there are {', '.join(FAULT_KINDS)}")
        paces: dict[str, Any] = {f"{kind}_s": pace for kind, pace in every_s.items()}
        config = FaultConfig(lasts_mean_s=lasts_s, **paces)
        self._fault_runs += 1
        faults = Faults(
            self.world, config, self.nodes, self._network, f"faults {self._fault_runs}", self._episodes
        )
        faults.disks.wiped = self.simulation.ack_checker.wiped
        faults.clocks.usual_ms = lambda index: self._clocks_ms.get(index, 0)
        faults.processes.stays_down = lambda node: node.index in self._down
        faults.clocks.clock_set = self.simulation.disk_checker.clock_set
        faults.processes.left = self.simulation.ack_checker.left.add
        comes_back = [node.on_death for node in self.nodes]
        self.simulation.watch_deaths()
        self._faults.append((faults, comes_back))
        faults.start()
        self.world.after(round(for_s * SECOND_NS), self._end_faults, faults)

    def _end_faults(self, faults: Faults) -> None:
        """These are over; what others did, or whoever wrote the test, stays as it is."""
        if any(each is faults for each, _ in self._faults):
            self._faults = [pair for pair in self._faults if pair[0] is not faults]
            self._guarded(faults.end)
            self._counted += faults.counts

    def repair(self) -> None:
        """End all faults: ways open, nodes up, disks with room, clocks right. Links that drop out by nature
        go on doing so."""
        for faults, _ in list(self._faults):
            self._end_faults(faults)
        self._down.clear()
        self._clocks_ms.clear()
        self._guarded(self.simulation.faults.stop)

    @property
    def fault_counts(self) -> Counter[str]:
        """How often each kind of random fault has happened."""
        running = [faults for faults, _ in self._faults]
        return sum((faults.counts for faults in [*running, self.simulation.faults]), self._counted)

    @property
    def drop_out_count(self) -> int:
        """How often a link was gone by nature."""
        return self._drop_outs.count

    # -- inside

    def _guarded(self, action: Callable[[], None]) -> None:
        """Remember what breaks: a program may catch what a test must hear of."""
        if self.failure is not None:
            raise self.failure
        try:
            action()
        except Exception as error:
            self.failure = error
            raise

    def _ended(self, node: SimNode) -> None:
        """A process ended: by hand it stays down, else it comes back, as under a supervisor."""
        if node.index in self._down:
            return
        if self._faults:
            self._faults[-1][1][node.index]()
        else:
            self.world.after(SECOND_NS, self._come_back, node)

    def _come_back(self, node: SimNode) -> None:
        if not node.is_running and node.index not in self._down:
            node.start()


def _listed(nodes: int | Sequence[int]) -> Sequence[int]:
    return (nodes,) if isinstance(nodes, int) else nodes
