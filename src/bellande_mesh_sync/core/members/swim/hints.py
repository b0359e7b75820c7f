"""Members that broke a link or could not be dialled: probed before all others, to know sooner."""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.core.members.swim.view import ALIVE, SUSPECT, View

HINTS_MAX: Final = 32
"""A rack that loses its power breaks many links at once. Who is not noted is probed in its turn."""


class Hints:
    """A short queue, each member once. Only every second round goes to one of them, so that a member whose
    link breaks again and again keeps nobody from probing the others."""

    __slots__ = ("_indexes", "_was_hinted")

    def __init__(self) -> None:
        self._indexes: dict[int, None] = {}
        self._was_hinted = False

    def __len__(self) -> int:
        return len(self._indexes)

    def add(self, index: int) -> None:
        if len(self._indexes) < HINTS_MAX:
            self._indexes[index] = None

    def take(self, view: View) -> int:
        """The member whose round is now, or -1 if it is for the usual order to say."""
        if self._was_hinted:
            self._was_hinted = False
            return -1
        while self._indexes:
            index = next(iter(self._indexes))
            del self._indexes[index]
            if view.standing(index) in (ALIVE, SUSPECT):
                self._was_hinted = True
                return index
        return -1
