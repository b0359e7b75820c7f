"""Calls under way: every one is answered, and in time."""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import SECOND_NS, World

ANSWER_SLACK_NS: Final = SECOND_NS
"""How much later than its timeout a call may be answered: a timer may be late, a clock slow."""
LOOK_AGAIN_NS: Final = 5 * SECOND_NS


class Requests:
    """All calls of a run, by a number of their own."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[int, str] = {}
        self._count = 0

    def begin(self, what: str) -> int:
        self._count += 1
        self._open[self._count] = what
        return self._count

    def end(self, number: int) -> None:
        del self._open[number]

    def expect(self, number: int, node: SimNode, due_ns: int) -> None:
        """The node must have answered by then, unless something holds it up."""
        if _is_well(node):
            self._world.at(due_ns + ANSWER_SLACK_NS, self._check, number, node, False)

    def _check(self, number: int, node: SimNode, was_well: bool) -> None:
        """A node that was well when it was asked, and is well twice now, has answered."""
        what = self._open.get(number)
        if what is None:
            return
        is_well = _is_well(node)
        if is_well and was_well:
            raise Violation("answers", node.name, f"{what} was not answered in time")
        self._world.after(LOOK_AGAIN_NS, self._check, number, node, is_well)

    def check_at_rest(self) -> None:
        for what in self._open.values():
            raise Violation("answers", "", f"{what} was never answered")


def _is_well(node: SimNode) -> bool:
    """Whether nothing but the node itself can hold an answer up now."""
    return not node.is_paused and not node.event_ns and node.disk.is_idle()
