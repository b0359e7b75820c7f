"""`POST /v1/keys/rotate`: new keys now, and not when they fall due."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.values import KeyRotation


class RotateWish(Struct, forbid_unknown_fields=True, kw_only=True):
    what: Literal["udp"] = "udp"
    """`udp`: the key with which datagrams for this node are sealed."""


async def rotate_keys(call: Call) -> KeyRotation:
    """Make a new key of this node now. All members are told, and the old one is good until they know."""
    wish = await call.json(RotateWish)
    return await call.mesh.rotate_keys(wish.what)


OPERATIONS: Final = (
    Operation(
        "POST", "/v1/keys/rotate", rotate_keys, "Rotate keys", "admin", body=RotateWish, answer=KeyRotation
    ),
)  # fmt: skip
