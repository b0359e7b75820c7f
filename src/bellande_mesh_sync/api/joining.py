"""Letting new members in: an admin makes invites, a newcomer proves one and gets a certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Answer, Call
from bellande_mesh_sync.api.operations import OPEN, Operation
from bellande_mesh_sync.errors import ForbiddenError
from bellande_mesh_sync.security.admission import JoinAnswer

JOIN_BYTES_MAX: Final = 64 * 1024
"""Strangers may send this much: a certificate request and a proof are far smaller."""


class InviteWish(Struct, forbid_unknown_fields=True, kw_only=True):
    role: Literal["admin", "writer", "reader", "observer"] = "writer"
    expires_s: Annotated[int, Meta(ge=1, le=366 * 86_400)] = 3600
    uses: Annotated[int, Meta(ge=1, le=10_000)] = 1
    labels: dict[str, str] = {}
    """What the member records of those who come in say of them."""


class Invite(Struct, frozen=True):
    token: str
    """One line: what `bms join` takes."""


class JoinRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    token_id: Annotated[str, Meta(max_length=128)]
    proof: Annotated[str, Meta(max_length=256)]
    csr: str
    name: Annotated[str, Meta(max_length=256)]


class HttpsOnlyError(ForbiddenError):
    template = "{path} answers over HTTPS only; take an https address of this node"


async def create_invite(call: Call) -> Answer:
    """Make a join token. Whoever has it can become a member, so hand it on with care."""
    wish = await call.json(InviteWish)
    token = await call.mesh.invite(
        role=wish.role, expires_s=wish.expires_s, uses=wish.uses, labels=wish.labels
    )
    return Answer(Invite(token), 201, ((b"cache-control", b"no-store"),))


async def join(call: Call) -> Mapping[str, Any]:
    """Prove a join token and get a certificate for one's own key. HTTPS only."""
    if not call.is_https:
        # The proof is bound to the server's certificate: without TLS there is nothing to bind it to.
        raise HttpsOnlyError(path="/join")
    request = await call.json(JoinRequest, JOIN_BYTES_MAX)
    return await call.mesh.handle_join_request(msgspec.to_builtins(request), call.address)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/invites",
        create_invite,
        "Invite a node",
        "admin",
        body=InviteWish,
        answer=Invite,
        statuses={201: "Made"},
    ),
    Operation("POST", "/join", join, "Join the mesh", OPEN, body=JoinRequest, answer=JoinAnswer),
)
