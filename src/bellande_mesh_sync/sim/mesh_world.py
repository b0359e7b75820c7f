"""MeshWorld: a whole mesh on virtual time for a test, with everything that can go wrong at hand."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, TypeVar

from bellande_mesh_sync.config_history import histories_of
from bellande_mesh_sync.config_model import CONFLICT_WORDS, SpacePolicy, policy_of
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.merging import Merge, Sibling, siblings_of
from bellande_mesh_sync.errors import ConfigError, UsageError
from bellande_mesh_sync.loading import load_function
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.links import LINK_CLASSES, LinkClass
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.program_simulation import ProgramSimulation
from bellande_mesh_sync.sim.programs import Program
from bellande_mesh_sync.sim.spaces import check_simulated_space
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.troubles import Troubles
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

T = TypeVar("T")

NODES_MAX: Final = 200
RUN_S_MAX: Final = 24 * 3600.0
REST_LOOK_NS: Final = 100 * MILLISECOND_NS
"""How often `settle` looks whether all agree: programs that write once a second leave such moments."""


class _Finished(BaseException):
    """The coroutine that `run` waits for is done: the world stops here. No error, so nobody catches it as
    one."""


class MeshWorld(Troubles):
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
        spaces: Mapping[str, SpacePolicy | Mapping[str, Any]] | None = None,
        core: CoreConfig | None = None,
    ) -> None:
        """
        Args:
            nodes: how many; 1 to 200.
            link: what is between any two nodes: `lan`, `wifi`, `lte`, `wan`, `satellite`, or figures of
                your own.
            links: (node, node, figures) for pairs that differ from that.
            merge: by space, what to do about siblings: a word, as a space's `conflict`, or a merge function,
                itself or as "module:function".
            spaces: policies by space, as in node.toml; `ack` is what a program gets that asks for no level.
                `conflict` may be what `merge` takes.
        """
        if type(nodes) is not int or not 1 <= nodes <= NODES_MAX:
            raise UsageError(reason=f"nodes={nodes!r} is not a number between 1 and {NODES_MAX}")
        _check_links(links, nodes)
        policies = {name: policy_of(name, table) for name, table in (spaces or {}).items()}
        for name in [*policies, *(merge or {})]:
            check_simulated_space(name, policies.get(name, SpacePolicy()))
        chosen: dict[str, str | Merge] = {name: policy.conflict for name, policy in policies.items()}
        chosen.update(merge or {})
        merges = _functions(chosen)
        words = tuple(
            (space, how) for space, how in chosen.items() if isinstance(how, str) and how in CONFLICT_WORDS
        )
        everywhere = _link_class(link)
        scenario = Scenario(
            seed,
            nodes,
            faults_s=0,
            settle_s=0,
            core=replace(core or CoreConfig(), conflicts=words, history=histories_of(policies)),
            network=everywhere.network_config(),
            links=tuple((a, b, figures.network_config()) for a, b, figures in links),
            workload=WorkloadConfig(clients=0),
        )
        others = {(min(a, b), max(a, b)): figures for a, b, figures in links}
        pairs = [(a, b) for a in range(nodes) for b in range(a + 1, nodes)]
        super().__init__(
            ProgramSimulation(scenario, policies, merges),
            [(a, b, others.get((a, b), everywhere)) for a, b in pairs],
        )
        self.seed = seed
        self._is_inside = False
        self._random_before = random.getstate()
        # For programs that use chance without asking whose it is.
        random.seed(seed)
        self._guarded(self.simulation.begin)
        self._drop_outs.start()

    # -- time and programs

    def mesh(self, index: int) -> SimMesh:
        """The node's mesh: the calls of `Mesh`, for coroutines that `run` runs."""
        if index not in range(len(self.nodes)):
            raise UsageError(reason=f"there is no node {index!r}, they are 0 to {len(self.nodes) - 1}")
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


def _link_class(link: str | LinkClass) -> LinkClass:
    if isinstance(link, LinkClass):
        return link
    if link not in LINK_CLASSES:
        raise UsageError(reason=f"link={link!r} is none of {', '.join(LINK_CLASSES)}")
    return LINK_CLASSES[link]


def _check_links(links: Sequence[tuple[int, int, LinkClass]], nodes: int) -> None:
    for place, (a, b, figures) in enumerate(links):
        if a == b or a not in range(nodes) or b not in range(nodes):
            reason = f"{a!r} and {b!r} are not two of the nodes 0 to {nodes - 1}"
            raise ConfigError(field=f"links[{place}]", reason=reason)
        if not isinstance(figures, LinkClass):
            raise ConfigError(field=f"links[{place}]", reason=f"{figures!r} is no LinkClass")


def _functions(merge: Mapping[str, str | Merge]) -> dict[str, Merge]:
    """The spaces that have a merge function, with it."""
    functions: dict[str, Merge] = {}
    for space, how in merge.items():
        if how in CONFLICT_WORDS:
            continue
        if not isinstance(how, str) and not callable(how):
            raise ConfigError(field=f"merge.{space}", reason=f"{how!r} is no function and no name of one")
        functions[space] = load_function(how, f"merge.{space}") if isinstance(how, str) else how
    return functions
