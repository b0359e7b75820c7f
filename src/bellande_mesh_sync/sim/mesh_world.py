"""MeshWorld: a whole mesh on virtual time for a test, with everything that can go wrong at hand."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import fields
from types import TracebackType
from typing import Any, Final, TypeVar

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.merging import Merge, Sibling, siblings_of
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.faults import FaultConfig, Faults
from bellande_mesh_sync.sim.links import LINK_CLASSES, DropOuts, LinkClass
from bellande_mesh_sync.sim.loading import load_function
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.program_simulation import ProgramSimulation
from bellande_mesh_sync.sim.programs import Program
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

T = TypeVar("T")

NO_KINDS: Final = ("lasts_mean", "away_lasts", "join", "revoke")
"""A world keeps the nodes that it starts with, all of them."""
FAULT_KINDS: Final = tuple(
    kind
    for field in fields(FaultConfig)
    if field.name.endswith("_s") and (kind := field.name.removesuffix("_s")) not in NO_KINDS
)
COMMON_FAULTS: Final = ("partition", "flap", "kill", "power", "pause")
NODES_MAX: Final = 200
RUN_S_MAX: Final = 24 * 3600.0
REST_LOOK_NS: Final = 100 * MILLISECOND_NS
"""How often `settle` looks whether all agree: programs that write once a second leave such moments."""


class _Finished(Exception):
    """The coroutine that `run` waits for is done: the world stops here."""


class MeshWorld:
    """A mesh of nodes 0, 1, 2... in one process. One seed decides everything, so every run can be had again.

    The world stands still between two calls. `run`, `advance` and `settle` let time pass; whatever
    breaks a promise meanwhile raises a Violation, which is an AssertionError.
    """

    def __init__(
        self,
        nodes: int = 3,
        *,
        seed: int = 1,
        link: str | LinkClass = "lan",
        links: Sequence[tuple[int, int, LinkClass]] = (),
        merge: Mapping[str, str | Merge] | None = None,
        spaces: Mapping[str, SpacePolicy] | None = None,
        core: CoreConfig | None = None,
    ) -> None:
        """
        Args:
            nodes: how many; 1 to 200.
            link: what is between any two nodes: `lan`, `wifi`, `lte`, `wan`, `satellite`, or figures of
                your own.
            links: (node, node, figures) for pairs that differ from that.
            merge: by space, what to do about siblings: "lww", "siblings" (as "lww", for programs), or a
                merge function, itself or as "module:function".
            spaces: policies by space. `ack` is what a program gets that asks for no level.
        """
        if not 1 <= nodes <= NODES_MAX:
            raise UsageError(reason=f"nodes={nodes} is not between 1 and {NODES_MAX}")
        self.seed = seed
        self.failure: Exception | None = None
        """What ended the run."""
        self._random_before = random.getstate()
        # For programs that use chance without asking whose it is.
        random.seed(seed)
        everywhere = _link_class(link)
        scenario = Scenario(
            seed,
            nodes,
            faults_s=0,
            settle_s=0,
            core=core or CoreConfig(),
            network=everywhere.network_config(),
            links=tuple((a, b, figures.network_config()) for a, b, figures in links),
            workload=WorkloadConfig(clients=0),
        )
        self.simulation = ProgramSimulation(scenario, dict(spaces or {}), _functions(merge or {}))
        self.simulation.ended = self._ended
        self.world = self.simulation.world
        self.nodes = self.simulation.nodes
        self._counted: Counter[str] = Counter()
        self._network = self.simulation.network
        others = {(min(a, b), max(a, b)): figures for a, b, figures in links}
        pairs = [(a, b) for a in range(nodes) for b in range(a + 1, nodes)]
        self._drop_outs = DropOuts(
            self.world, self._network, [(a, b, others.get((a, b), everywhere)) for a, b in pairs]
        )
        self._faults: list[tuple[Faults, list[Callable[[], None]]]] = []
        self._fault_runs = 0
        self._down: set[int] = set()
        """Nodes that stay down until somebody starts them."""
        self._is_inside = False
        self._guarded(self.simulation.begin)
        self._drop_outs.start()

    # -- time and programs

    def mesh(self, index: int) -> SimMesh:
        """The node's mesh: the calls of `Mesh`, for coroutines that `run` runs."""
        return SimMesh(self.simulation.desks[index])

    def run(self, coroutine: Coroutine[Any, Any, T], *, within: float = RUN_S_MAX) -> T:
        """Let time pass until the coroutine is done, and return or raise what it does.

        Raises:
            AssertionError: it is not done after `within` simulated seconds, or a promise was broken.
        """
        task = self.simulation.loop.start(None, coroutine)

        def stop() -> None:
            raise _Finished

        def plan_stop(_: object) -> None:
            self.world.after(0, stop)

        task.add_done_callback(plan_stop)
        with contextlib.suppress(_Finished):
            self._pass(within)
        if task.done():
            return task.result()
        task.remove_done_callback(plan_stop)
        task.cancel()
        name = getattr(coroutine, "__qualname__", coroutine)
        raise AssertionError(f"{name} is not done after {within:g} simulated seconds")

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self._pass(seconds)

    sleep = advance

    def program(self, index: int, function: Program) -> None:
        """Run `function(mesh)` on the node as a service would: from now on, until the node dies, and anew
        each time it starts. If it raises, the run fails."""
        self.simulation.programs.add(index, function)

    def stop_programs(self) -> None:
        self.simulation.programs.stop()

    def rng(self, name: str) -> random.Random:
        """A source of chance for a program or test, of this seed."""
        return self.world.rng(f"user {name}")

    @property
    def now_s(self) -> float:
        """Simulated seconds since the start."""
        return self.world.now_ns / SECOND_NS

    def siblings(self, index: int, key: str) -> tuple[Sibling, ...]:
        """The values that stand beside each other under a key on this node, whatever its policy shows."""
        desk = self.simulation.desks[index]
        return siblings_of(desk.node.disk.shown(key), desk.values.read)

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
        self._guarded(lambda: self._start(self.nodes[index]))

    def pause(self, index: int) -> None:
        """The process stands still, as under SIGSTOP or in a suspended machine. Its programs do not, but
        none of their calls is answered."""
        self.nodes[index].pause()

    def resume(self, index: int) -> None:
        self._guarded(self.nodes[index].resume)

    def wipe(self, index: int) -> None:
        """The machine gets an empty disk; it stays down until `restart` or `settle`."""
        self.power_cut(index)
        self.nodes[index].disk.wipe()
        self.simulation.ack_checker.wiped(index)

    def fill_disk(self, index: int, *, full: bool = True) -> None:
        """Nothing can be written to the node's disk, until it is called with `full=False`."""
        self.nodes[index].disk.is_full = full

    def set_clock(self, index: int, offset_s: float) -> None:
        """The node's wall clock is off by so much from now on."""
        self.nodes[index].clock.offset_ms = round(offset_s * 1000)
        self.simulation.disk_checker.clock_set(index)

    # -- the network

    def partition(self, *groups: Sequence[int]) -> None:
        """Nothing passes between nodes of different groups until `heal`."""
        for a, group in enumerate(groups):
            for other in groups[a + 1 :]:
                self._cut([(x, y) for x in group for y in other] + [(y, x) for x in group for y in other])

    def one_way(self, sources: int | Sequence[int], targets: int | Sequence[int]) -> None:
        """What `sources` send does not reach `targets` until `heal`; the other way is open."""
        self._cut([(a, b) for a in _listed(sources) for b in _listed(targets) if a != b])

    def _cut(self, ways: list[tuple[int, int]]) -> None:
        self._drop_outs.kept_blocked.update(ways)
        self._network.block(ways)

    def heal(self) -> None:
        """Every way between two nodes is open again."""
        self._drop_outs.kept_blocked.clear()
        self._network.times.recover()
        self._network.unblock_all()

    # -- faults at random

    def faults(self, *kinds: str, for_s: float, every_s: float = 20.0, lasts_s: float = 5.0) -> None:
        """From now on, for `for_s` seconds, let faults of these kinds happen; when they are over, everything
        is repaired. The call returns at once: they happen while time passes.

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
        faults = Faults(self.world, config, self.nodes, self._network, f"faults {self._fault_runs}")
        faults.disks.wiped = self.simulation.ack_checker.wiped
        faults.clocks.clock_set = self.simulation.disk_checker.clock_set
        faults.processes.left = self.simulation.ack_checker.left.add
        comes_back = [node.on_death for node in self.nodes]
        self.simulation.watch_deaths()
        self._faults.append((faults, comes_back))
        faults.start()
        self.world.after(round(for_s * SECOND_NS), self._end_faults, faults)

    def _end_faults(self, faults: Faults) -> None:
        if any(each is faults for each, _ in self._faults):
            self.repair()

    def repair(self) -> None:
        """End all faults: ways open, nodes up, disks with room, clocks right. Links that drop out by nature
        go on doing so."""
        running = [faults for faults, _ in self._faults] or [self.simulation.faults]
        self._faults.clear()
        self._down.clear()
        self._drop_outs.kept_blocked.clear()
        for faults in running:
            self._guarded(faults.stop)
            self._counted += faults.counts

    # -- rest

    def settle(self, *, within: float = 300.0) -> float:
        """End all faults and drop-outs and wait until all nodes hold the same; returns how long that took.

        Programs go on; those that never pause for longer than a write needs must be stopped before.

        Raises:
            AssertionError: after `within` seconds they do not agree, naming the keys and what each node
                shows; or a checker found something.
        """
        self._drop_outs.stop()
        self.repair()
        began_ns = self.world.now_ns
        deadline_ns = began_ns + round(within * SECOND_NS)
        # What is just being committed or pushed is not there yet.
        self._pass_until(began_ns + REST_LOOK_NS)
        while found := self.simulation.open_questions():
            if self.world.now_ns >= deadline_ns:
                listed = "\n".join(f"  {each}" for each in found[:6])
                self.failure = Violation("convergence", "", f"after {within:g} s\n{listed}")
                raise self.failure
            self._pass_until(self.world.now_ns + REST_LOOK_NS)
        self._guarded(self.simulation.check_at_rest)
        self._drop_outs.start()
        return (self.world.now_ns - began_ns) / SECOND_NS

    # -- how it went

    @property
    def fault_counts(self) -> Counter[str]:
        """How often each kind of random fault has happened."""
        return sum((faults.counts for faults, _ in self._faults), self._counted)

    @property
    def drop_out_count(self) -> int:
        """How often a link was gone by nature."""
        return self._drop_outs.count

    def digest(self) -> str:
        """Of everything that happened. Equal seeds and programs give equal digests."""
        return self.simulation.trace.digest()

    def trace(self, count: int = 40, index: int | None = None) -> list[str]:
        """The last lines of what happened, on one node or on all."""
        return self.simulation.trace.tail(count, place="" if index is None else self.nodes[index].name)

    def story(self, count: int = 20) -> list[str]:
        """The trace around what ended the run: of its key if it was about one, else the last lines of all."""
        about = getattr(self.failure, "about", "")
        if about:
            lines = self.simulation.trace.tail(count, about=about)
            return [f"what happened to {about}, up to {self.now_s:.6f} s:", *lines]
        return [f"the last of the trace, up to {self.now_s:.6f} s:", *self.trace(count)]

    def close(self) -> None:
        """End all programs. Nothing of the world can be used afterwards."""
        if not self.simulation.loop.is_closed():
            self.simulation.loop.close()
            random.setstate(self._random_before)

    def __enter__(self) -> MeshWorld:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- inside

    def _pass(self, seconds: float) -> None:
        self._pass_until(self.world.now_ns + round(seconds * SECOND_NS))

    def _pass_until(self, end_ns: int) -> None:
        if self._is_inside:
            raise UsageError(reason="time passes already: inside a coroutine, await asyncio.sleep(seconds)")
        self._is_inside = True
        try:
            self._guarded(lambda: self.world.run_until(end_ns))
        finally:
            self._is_inside = False

    def _guarded(self, action: Callable[[], None]) -> None:
        """Remember what breaks: a program may catch what a test must hear of."""
        if self.failure is not None:
            raise self.failure
        try:
            action()
        except _Finished:
            raise
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
            self._start(node)

    def _start(self, node: SimNode) -> None:
        self.simulation.faults.disks.make_usable(node)
        node.start()


def _listed(nodes: int | Sequence[int]) -> Sequence[int]:
    return (nodes,) if isinstance(nodes, int) else nodes


def _link_class(link: str | LinkClass) -> LinkClass:
    if isinstance(link, LinkClass):
        return link
    if link not in LINK_CLASSES:
        raise UsageError(reason=f"link={link!r} is none of {', '.join(LINK_CLASSES)}")
    return LINK_CLASSES[link]


def _functions(merge: Mapping[str, str | Merge]) -> dict[str, Merge]:
    """The spaces that have a merge function, with it."""
    functions: dict[str, Merge] = {}
    for space, how in merge.items():
        if how in ("lww", "siblings"):
            continue
        functions[space] = load_function(how, f"merge.{space}") if isinstance(how, str) else how
    return functions
