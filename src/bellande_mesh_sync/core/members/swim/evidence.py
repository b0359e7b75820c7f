"""What speaks for and against members: so that a verdict can be explained to whoever asks why."""

from __future__ import annotations

import enum
from typing import Final

from msgspec import Struct

from bellande_mesh_sync.core.members.swim.health import Health
from bellande_mesh_sync.core.members.swim.quality import Quality
from bellande_mesh_sync.ids import NodeId

FINDINGS_MAX: Final = 32
"""Of one member; the newest."""
FILES_MAX: Final = 256
"""Members with findings. The one about whom nothing was found for the longest time goes first."""


class Found(enum.StrEnum):
    PROBED = "probed"
    ANSWERED = "answered"
    UNANSWERED = "ping unanswered"
    ASKED = "helper asked"
    REACHED = "reached by helper"
    NOT_REACHED = "not reached by helper"
    HELPER_SILENT = "helper silent"
    STREAM_ANSWERED = "stream answered"
    STREAM_SILENT = "stream silent"
    LINK_BROKE = "link broke"
    ACCUSED = "accused"
    LAST_CALL = "last call"
    BECAME = "became"
    """Another standing; the detail says which and why."""


class Finding(Struct, frozen=True, gc=False):
    at_ns: int
    """Monotonic, of the node that found it."""
    kind: Found
    who: NodeId | None
    """The helper or accuser, if it was not this node."""
    detail: str
    health_score: int
    """How much this node doubted itself then: 0 is well."""
    lag_ns: int
    """How late its event loop last was."""


class Explanation(Struct, frozen=True):
    """Why a member stands here as it does."""

    node: NodeId
    standing: str
    """As programs are told it; empty for a stranger."""
    since_ns: int
    """When it was found to be so; -1: before anything was noted."""
    incarnation: int
    reason: str
    health_score: int
    """Of this node, now."""
    findings: tuple[Finding, ...]
    """Oldest first."""
    accusers: tuple[NodeId, ...]
    """Of the suspicion that is open."""
    due_ns: int
    """When that ends in death; -1 if none is open."""
    acked_age_ns: int
    """How long ago it answered a direct ping of this node; -1: not known."""
    rtt_ns: int
    """Of direct pings, smoothed; -1: not known."""
    loss_ratio: float
    """Of the last direct pings; -1: not known."""


class _File:
    __slots__ = ("findings", "reason", "since_ns")

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.reason = ""
        self.since_ns = -1


class Evidence:
    """A file for each member with something to tell: from the first failure on, and not before."""

    __slots__ = ("_files", "_health", "lag_ns", "now_ns", "quality")

    def __init__(self, health: Health, quality: Quality) -> None:
        self._health = health
        self.quality = quality
        self._files: dict[int, _File] = {}
        self.now_ns = 0
        """Of the event that is handled."""
        self.lag_ns = 0

    def __len__(self) -> int:
        return len(self._files)

    def has(self, index: int) -> bool:
        return index in self._files

    def note(self, index: int, kind: Found, who: NodeId | None = None, detail: str = "") -> None:
        """Something bad, or something about a member with a file."""
        file = self._touch(index)
        finding = Finding(self.now_ns, kind, who, detail, self._health.score, self.lag_ns)
        file.findings.append(finding)
        if len(file.findings) > FINDINGS_MAX:
            del file.findings[0]

    def note_became(self, index: int, standing: str, reason: str) -> None:
        self.note(index, Found.BECAME, None, f"{standing}: {reason}")
        file = self._files[index]
        file.reason, file.since_ns = reason, self.now_ns

    def note_answer(self, index: int, trip_ns: int) -> None:
        """A good probe is worth a line only as the end of a bad time."""
        file = self._files.get(index)
        if file is not None and file.findings[-1].kind is not Found.ANSWERED:
            self.note(index, Found.ANSWERED, None, f"after {trip_ns / 1e6:.1f} ms")

    def forget(self, index: int) -> None:
        self._files.pop(index, None)
        self.quality.forget(index)

    def findings(self, index: int) -> tuple[Finding, ...]:
        file = self._files.get(index)
        return () if file is None else tuple(file.findings)

    def reason(self, index: int) -> tuple[str, int]:
        """Of its present standing, and since when; ("", -1) if nothing was noted."""
        file = self._files.get(index)
        return ("", -1) if file is None else (file.reason, file.since_ns)

    def _touch(self, index: int) -> _File:
        file = self._files.pop(index, None)
        if file is None:
            file = _File()
            if len(self._files) >= FILES_MAX:
                del self._files[next(iter(self._files))]
        self._files[index] = file
        return file
