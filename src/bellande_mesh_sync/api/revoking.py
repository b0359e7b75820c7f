"""Expelling nodes for good, and who was expelled."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.values import RevocationView


class RevokeWish(Struct, forbid_unknown_fields=True, kw_only=True):
    node: Annotated[str, Meta(min_length=1, max_length=255)]
    """An id, a unique start of one, or a name; of one that is no member, the whole id."""
    reason: Annotated[str, Meta(max_length=1_024)] = ""


class Revoked(Struct, frozen=True):
    revocations: tuple[RevocationView, ...]


async def revoke(call: Call) -> RevocationView:
    """Expel a node for good: every member closes its links with it, and nothing brings it back.

    Only on a node that holds the authority's key or has the role `admin` in its certificate.
    """
    wish = await call.json(RevokeWish)
    return await call.mesh.revoke(wish.node, reason=wish.reason)


async def list_revocations(call: Call) -> Revoked:
    """Who was revoked, and what this node has refused of them since it started."""
    return Revoked(tuple(await call.mesh.revocations()))


OPERATIONS: Final = (
    Operation(
        "POST", "/v1/revocations", revoke, "Revoke a node", "admin", body=RevokeWish, answer=RevocationView
    ),
    Operation("GET", "/v1/revocations", list_revocations, "List revoked nodes", "observer", answer=Revoked),
)  # fmt: skip
