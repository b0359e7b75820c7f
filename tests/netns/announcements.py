"""What nodes announce about members, read from their logs: every change with its time, none missed."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) INFO bellande_mesh_sync: "
    r"(?P<about>\S+): (?P<old>\w+) -> (?P<new>\w+) \((?P<reason>.*)\)"
)


@dataclass(frozen=True, slots=True)
class Announcement:
    """One change of state, as one node told it to its programs."""

    at_s: float
    """Seconds since 1970, as `time.time()` counts."""
    by: str
    about: str
    old_state: str
    new_state: str
    reason: str


def announcements_in(log: Path, by: str, since_s: float = 0.0) -> list[Announcement]:
    """Those of one node since a time, the oldest first."""
    found = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        at_s = datetime.datetime.strptime(match["time"], "%Y-%m-%d %H:%M:%S,%f").timestamp()
        # The log's clock shows whole milliseconds, cut off.
        if at_s >= since_s - 0.001:
            found.append(Announcement(at_s, by, match["about"], match["old"], match["new"], match["reason"]))
    return found
