"""Members that sleep, and those among them that should have woken up by now."""

from __future__ import annotations

from typing import Final

from bellande_mesh_sync.core.members.swim.view import ASLEEP, View

GRACE_S: Final = 60
"""A planned wake-up may be this late: machines boot, clocks drift."""
_SECOND_NS: Final = 1_000_000_000


class Sleepers:
    """Those that sleep, by index; and whether they have overslept here.

    Each node decides that for itself and tells nobody: in all views they are still asleep, so that
    views stay equal whatever the nodes' clocks are.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._late = {index: False for index in view.down if view.standings[index] == ASLEEP}

    def put(self, index: int, standing: int) -> None:
        """The view believes this of a member now."""
        if standing == ASLEEP:
            self._late[index] = False
        else:
            self._late.pop(index, None)

    def is_late(self, index: int) -> bool:
        return self._late.get(index, False)

    def late(self) -> list[int]:
        return [index for index, is_late in self._late.items() if is_late]

    def new_late(self, own: int, now_ns: int) -> list[int]:
        """Who has become late since the last call. Cost: O(sleepers)."""
        found = [
            index
            for index, is_late in self._late.items()
            if not is_late and index != own and now_ns >= self._late_ns(index)
        ]
        for index in found:
            self._late[index] = True
        return found

    def _late_ns(self, index: int) -> int:
        return self._view.since_ns(index) + (self.for_s(index) + GRACE_S) * _SECOND_NS

    def for_s(self, index: int) -> int:
        """How long this member meant to sleep; 0 for all who do not."""
        if self._view.standing(index) != ASLEEP:
            return 0
        notice = self._view.roster.notice(self._view.number(index))
        return 0 if notice is None else notice.for_s
