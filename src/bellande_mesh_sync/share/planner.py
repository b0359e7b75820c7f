"""What to do about one path, from what was last agreed, what the folder has and what the mesh has.

Pure: three values in, a step out. Whatever the order in which changes are noticed, no content that
only one side has is replaced: it goes beside the other one, as a sibling in the mesh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Literal, NamedTuple, TypeAlias

Mode: TypeAlias = Literal["both", "read-only", "receive-only"]
"""`read-only`: the folder is only read. `receive-only`: the mesh is only read."""


class Content(NamedTuple):
    """What a path holds. Two that are equal need no transfer."""

    digest: str
    """BLAKE3 in hex; `FOLDER` for an empty folder."""
    executable: bool = False


FOLDER = "folder"
"""Stands for a digest where a path is an empty folder."""


class Step(Enum):
    NOTHING = "nothing"
    AGREE = "agree"
    """Both have the same: write that down."""
    FORGET = "forget"
    """Both have nothing: so does what was agreed, now."""
    UPLOAD = "upload"
    """Replace in the mesh what the folder was last known to show."""
    UPLOAD_BESIDE = "upload_beside"
    """Both have something new: put the folder's beside the mesh's, so that neither is lost."""
    DOWNLOAD = "download"
    DELETE_REMOTE = "delete_remote"
    DELETE_LOCAL = "delete_local"
    HOLD = "hold"
    """The two differ, and this share may not write where it would have to."""


_TO_MESH = frozenset({Step.UPLOAD, Step.UPLOAD_BESIDE, Step.DELETE_REMOTE})
_TO_FOLDER = frozenset({Step.DOWNLOAD, Step.DELETE_LOCAL})


def plan(agreed: Content | None, local: Content | None, remote: Content | None, mode: Mode = "both") -> Step:
    """The step for one path. None means that there is nothing there."""
    step = _wanted(agreed, local, remote)
    if (mode == "receive-only" and step in _TO_MESH) or (mode == "read-only" and step in _TO_FOLDER):
        return Step.HOLD
    return step


def _wanted(agreed: Content | None, local: Content | None, remote: Content | None) -> Step:
    if local == remote:
        if local == agreed:
            return Step.NOTHING
        return Step.FORGET if local is None else Step.AGREE
    if local == agreed:
        return Step.DELETE_LOCAL if remote is None else Step.DOWNLOAD
    if remote == agreed:
        return Step.DELETE_REMOTE if local is None else Step.UPLOAD
    # Both changed, and differently. Content outlives a delete that did not know of it.
    if local is None:
        return Step.DOWNLOAD
    return Step.UPLOAD if remote is None else Step.UPLOAD_BESIDE


# -- conflict copies -----------------------------------------------------------------------------


class Copies(NamedTuple):
    """What to do about the conflict copies of one path."""

    show: tuple[str, ...] = ()
    """Versions to write as conflict copies."""
    remove: tuple[str, ...] = ()
    """Versions whose copies, if nobody changed them, are to go: the conflict is settled."""
    settle: bool = False
    """The person has removed the copies: what the file holds stands for all."""


def plan_copies(losers: Sequence[str], shown: Mapping[str, bool], mode: Mode = "both") -> Copies:
    """What to do about the copies.

    Args:
        losers: versions that stand beside the visible one and differ from it.
        shown: versions that were written as copies -> whether the copy is still there.
    """
    if mode == "read-only":
        return Copies()
    show = tuple(version for version in losers if version not in shown)
    remove = tuple(version for version in shown if version not in losers)
    is_dismissed = bool(losers) and not show and not any(shown[version] for version in losers)
    return Copies(show, remove, is_dismissed and mode == "both")


# -- deleting a lot ------------------------------------------------------------------------------

EMPTIED_COUNT_MIN = 10
"""Fewer files than this may all vanish at once without anybody being asked."""


def is_emptied(agreed_count: int, left_count: int) -> bool:
    """Whether one side has lost all of many files that were agreed: more likely a mishap than a wish."""
    return agreed_count >= EMPTIED_COUNT_MIN and left_count == 0
