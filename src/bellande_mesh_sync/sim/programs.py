"""Programs on simulated nodes: they start with their node, die with it, and start again after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeAlias

from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.desk import Desk
from bellande_mesh_sync.sim.loop import VirtualLoop
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import World

Program: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
"""Takes the node's mesh. It is handed a SimMesh; its own annotation may well say Mesh."""


class _Run:
    """One run of a node, to which its programs' tasks belong: they are in its process."""

    def __init__(self, node: SimNode) -> None:
        self._node = node
        self.is_over = False

    @property
    def stands_still(self) -> bool:
        return self._node.is_paused and not self.is_over


class Programs:
    """All programs of all nodes. One that raises, while its node lives, fails the run."""

    def __init__(self, world: World, loop: VirtualLoop, desks: Sequence[Desk]) -> None:
        self._world = world
        self._loop = loop
        self._desks = desks
        self._programs: list[list[Program]] = [[] for _ in desks]
        self._runs = [_Run(desk.node) for desk in desks]
        for desk in desks:
            desk.node.on_resume = loop.go_on

    def add(self, index: int, program: Program) -> None:
        self._programs[index].append(program)
        node = self._desks[index].node
        if node.is_running:
            self._start(node, node.boot, program)

    def started(self, node: SimNode) -> None:
        """A run of the node begins: its programs start once it takes calls."""
        for program in self._programs[node.index]:
            self._world.after(0, self._start, node, node.boot, program)

    def ended(self, node: SimNode) -> None:
        """A crash leaves nobody who could finish anything."""
        run, self._runs[node.index] = self._runs[node.index], _Run(node)
        run.is_over = True
        self._loop.cancel_tasks(run)
        self._loop.go_on()

    def stop(self) -> None:
        """End all of them, for good."""
        for programs in self._programs:
            programs.clear()
        for desk in self._desks:
            self.ended(desk.node)

    def _start(self, node: SimNode, boot: int, program: Program) -> None:
        if node.boot != boot or not node.is_running:
            return
        mesh = SimMesh(self._desks[node.index], boot)
        task = self._loop.start(self._runs[node.index], program(mesh))
        task.add_done_callback(partial(self._ended, node, boot, program))

    def _ended(self, node: SimNode, boot: int, program: Program, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and node.boot == boot:
            self._world.after(0, _fail, node, program, error)


def _fail(node: SimNode, program: Program, error: BaseException) -> None:
    name = getattr(program, "__qualname__", repr(program))
    raise Violation("program", node.name, f"{name} raised {error!r}") from error
