"""The compatible doors: `/api/Bellande_*`, for clients that were written for the published services."""

from __future__ import annotations

import functools
from typing import Any, Final, TypeVar

import msgspec

from bellande_mesh_sync.addresses import is_loopback
from bellande_mesh_sync.api.auth import FailureCounter, check_role
from bellande_mesh_sync.api.calls import JSON_BYTES_MAX, Call
from bellande_mesh_sync.api.errors import encode_json
from bellande_mesh_sync.api.operations import OPEN, Handler, Operation
from bellande_mesh_sync.api.paths import DESK
from bellande_mesh_sync.api.published_payloads import (
    CreateRandomPayload,
    ImportancePayload,
    LimitPayload,
    MotionPayload,
    MovePayload,
    Payload,
    ProbabilityPayload,
    ReadMarkersPayload,
    SegmentPayload,
    StepPayload,
    TreePayload,
)
from bellande_mesh_sync.errors import UnauthorizedError, UsageError

OPEN_KEY: Final = "bellande_web_api_opensource"
"""In every published client: whoever has it is anybody, so it opens nothing but this machine's own door."""

ROLE: Final = "reader"
TOKEN_CHARACTERS_MAX: Final = 4096

PUBLISHED: Final[dict[str, type[Payload]]] = {
    "/api/Bellande_Step/bellande_step_nd": StepPayload,
    "/api/Bellande_Step/bellande_step": StepPayload,
    "/api/Bellande_Limit/bellande_limit": LimitPayload,
    "/api/Bellande_Node_Importance/node_importance": ImportancePayload,
    "/api/Bellande_Particle/move": MovePayload,
    "/api/Bellande_Particle/read_markers": ReadMarkersPayload,
    "/api/Bellande_Particle/create_random": CreateRandomPayload,
    "/api/Bellande_Probability/bellande_probability": ProbabilityPayload,
    "/api/Bellande_Probability/bellande_probability_full_auth": ProbabilityPayload,
    "/api/Bellande_Motion_Probability/bellande_motion_probability": MotionPayload,
    "/api/Bellande_Tree/bellande_tree": TreePayload,
    "/api/Bellande_Segment/bellande_segment": SegmentPayload,
}

Wanted = TypeVar("Wanted")

_failures = FailureCounter()


def _handler(path: str, wanted: type[Payload]) -> Handler:
    async def published(call: Call) -> object:
        body = await call.body(JSON_BYTES_MAX)
        _authorize(call, _decode(body, Payload))
        return await DESK.ask(functools.partial(_answer, body, wanted))

    # Operations in OpenAPI are named after their handlers.
    published.__name__ = "published_" + path.removeprefix("/api/").replace("/", "_").lower()
    return published


def _authorize(call: Call, payload: Payload) -> None:
    """Let in a token, or the open key from this machine; UnauthorizedError or ForbiddenError else."""
    key = payload.auth.authorization_key or payload.auth.full_authorization_key
    # A browser says where a request comes from: any page could have it ask this machine.
    if key == OPEN_KEY and is_loopback(call.address) and "origin" not in call.headers:
        return
    try:
        if not 0 < len(key) <= TOKEN_CHARACTERS_MAX:
            raise UnauthorizedError(reason="put a token into the field auth.authorization_key")
        if key == OPEN_KEY:
            raise UnauthorizedError(
                reason="the published open key is for programs on the node's own machine; put a token into"
                " auth.authorization_key"
            )
        role = call.mesh.authorize(key)
    except UnauthorizedError:
        _failures.add(call.address)
        raise
    check_role(role, ROLE)


def _answer(body: bytes, wanted: type[Payload]) -> msgspec.Raw:
    payload: Any = _decode(body, wanted)
    return msgspec.Raw(encode_json(payload.answer()))


def _decode(body: bytes, wanted: type[Wanted]) -> Wanted:
    try:
        return msgspec.json.decode(body, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(reason=f"the payload: {error}") from None
    except RecursionError:
        raise UsageError(reason="the payload: JSON that deep is not allowed") from None


OPERATIONS: Final = tuple(
    Operation(
        "POST",
        path,
        _handler(path, wanted),
        f"As published: {path.rpartition('/')[2]}",
        OPEN,
        body=wanted,
        answer=dict[str, Any],
        about="The published payload, answered in the published shape. The token, of a reader at least, comes"
        " in the field `auth.authorization_key`; from the node's own machine the published open key will do."
        " Needs the extra `path` on the node.",
    )
    for path, wanted in PUBLISHED.items()
)
