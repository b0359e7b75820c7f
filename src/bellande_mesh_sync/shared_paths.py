"""Paths as they lie in a space that nodes share, and the merge that keeps the shorter one.

A space that holds them is configured with `conflict = "bellande_mesh_sync.shared_paths:shorter"`. No NumPy
here: nodes merge paths that do not plan any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Protocol

import msgspec
from blake3 import blake3
from msgspec import Struct

POINTS_MAX: Final = 10_000
_DIGEST_BYTES: Final = 12
_COST_SHARE: Final = 1e-9
"""By so much a told length may differ from that of the corners: rounding, not a lie."""


class SharedPath(Struct, frozen=True, forbid_unknown_fields=True):
    cost: float
    points: tuple[tuple[float, ...], ...]


class Sibling(Protocol):
    @property
    def data(self) -> bytes: ...

    @property
    def version(self) -> str: ...


def encode_path(cost: float, points: Sequence[Sequence[float]]) -> bytes:
    return msgspec.json.encode({"cost": cost, "points": points})


def decode_path(data: bytes) -> SharedPath | None:
    """None for what is no path, or is not as long as it says."""
    try:
        path = msgspec.json.decode(data, type=SharedPath)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    points = path.points
    if not 2 <= len(points) <= POINTS_MAX or len({len(point) for point in points}) != 1:
        return None
    length = math.fsum(map(math.dist, points, points[1:]))
    if not math.isfinite(length) or abs(length - path.cost) > _COST_SHARE * max(length, 1e-300):
        return None
    return path


def shorter(siblings: Sequence[Sibling]) -> bytes:
    """The merge: of paths between the same places among the same obstacles the shortest.

    Of equally long ones the first by its bytes; what is no path loses. Whether a path is free is checked by
    who writes it and by who takes it: the key names the obstacles.
    """
    return min((sibling.data for sibling in siblings), key=_rank)


def _rank(data: bytes) -> tuple[float, bytes]:
    path = decode_path(data)
    return (math.inf if path is None else path.cost, data)


def scene_digest(document: object) -> str:
    """A short name for a scene: equal ones have equal names on all nodes."""
    text = msgspec.json.encode(document, order="deterministic")
    return blake3(text).hexdigest(length=_DIGEST_BYTES)
