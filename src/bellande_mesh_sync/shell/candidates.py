"""What was heard on the local network and waits to be looked up: bounded, and nothing twice in a row."""

from __future__ import annotations

from collections import OrderedDict

from bellande_mesh_sync.core.events import Found

NAMES_MAX = 1024
REPORTED_MAX = 1024
REPEAT_S = 30.0


class Candidates:
    """Names of services to look up, the latest first, and what was found lately.

    Where more is heard than there is room for, the oldest goes. The latest comes first, so that who
    announces itself after a flood need not wait until all of that is looked up.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[str, None] = OrderedDict()
        self._reported: OrderedDict[Found, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._names)

    def hear(self, name: str) -> None:
        self._names[name] = None
        self._names.move_to_end(name)
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    def take(self) -> str | None:
        """The next name to look up."""
        return self._names.popitem()[0] if self._names else None

    def is_news(self, found: Found, now_s: float) -> bool:
        """Whether to report this: not if the same was reported less than 30 s ago."""
        last_s = self._reported.get(found)
        if last_s is not None and now_s - last_s < REPEAT_S:
            return False
        self._reported[found] = now_s
        self._reported.move_to_end(found)
        if len(self._reported) > REPORTED_MAX:
            self._reported.popitem(last=False)
        return True
