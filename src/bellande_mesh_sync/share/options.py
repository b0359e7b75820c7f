"""What a share was asked to be, and how it tells what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from bellande_mesh_sync.share.planner import Mode

SCAN_EVERY_S = 60.0
"""A full look at the folder, for watchers lose events. Without a watcher every `SCAN_UNWATCHED_S`."""
SCAN_UNWATCHED_S = 5.0
RETRY_AFTER_S = 5.0


@dataclass(frozen=True)
class Options:
    mode: Mode = "both"
    dry_run: bool = False
    allow_empty: bool = False
    """Go on although one side has lost all of many files."""
    start_over: bool = False
    """Forget what was agreed and merge what there is: nothing counts as deleted."""
    scan_every_s: float = SCAN_EVERY_S
    unwatched_every_s: float = SCAN_UNWATCHED_S


@dataclass(frozen=True)
class Event:
    """Something the share did, or found."""

    event: str
    path: str = ""
    facts: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        named = {"path": self.path} if self.path else {}
        return {"event": self.event, **named, **(self.facts or {})}


Tell: TypeAlias = Callable[[Event], object]


def event(name: str, path: str = "", **facts: Any) -> Event:
    return Event(name, path, facts)
