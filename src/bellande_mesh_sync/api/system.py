"""The node itself: its state, its health, its counters, and one digest over all it holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from bellande_mesh_sync.api.calls import Answer, Call
from bellande_mesh_sync.api.operations import OPEN, Operation
from bellande_mesh_sync.keys import check_prefix
from bellande_mesh_sync.values import Stats, Status


class Check(Struct, frozen=True, omit_defaults=True):
    ok: bool
    detail: str
    warning: bool = False
    """It holds, and somebody should look after it before it does not."""


class Health(Struct, frozen=True):
    ok: bool
    """Whether every check is."""
    checks: dict[str, Check]


class PrefixQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    prefix: str = ""


async def get_status(call: Call) -> Status:
    """Who this node is and how it is, without a secret: no token is needed."""
    return await call.mesh.status()


async def get_health(call: Call) -> Answer:
    """200 if every check of a living node holds, else 503 with what is wrong, each check by name."""
    return _answer(call.mesh.health())


async def get_readiness(call: Call) -> Answer:
    """200 if the node takes requests now: it is running, and every check holds. Else 503."""
    running = call.mesh.is_running()
    detail = "the node is running" if running else "the node is starting or stopping"
    return _answer({"running": {"ok": running, "detail": detail}, **call.mesh.health()})


async def get_stats(call: Call) -> Stats:
    """Counters since the start, sizes now, and what passes to and from each peer."""
    return await call.mesh.stats()


async def get_digest(call: Call) -> Mapping[str, Any]:
    """How many keys and bytes there are, and one digest over all keys and values.

    Two nodes that answer the same digest hold the same data.
    """
    return await call.mesh.digest(check_prefix(call.query(PrefixQuery).prefix))


def _answer(checks: Mapping[str, Mapping[str, Any]]) -> Answer:
    seen = {
        name: Check(bool(check["ok"]), str(check["detail"]), bool(check.get("warning")))
        for name, check in checks.items()
    }
    ok = all(check.ok for check in seen.values())
    return Answer(Health(ok, seen), 200 if ok else 503, ((b"cache-control", b"no-store"),))


_HEALTH = {200: "Every check holds", 503: "At least one does not"}

OPERATIONS: Final = (
    Operation("GET", "/status", get_status, "Status", OPEN, answer=Status),
    Operation("GET", "/healthz", get_health, "Health", OPEN, answer=Health, statuses=_HEALTH),
    Operation("GET", "/readyz", get_readiness, "Readiness", OPEN, answer=Health, statuses=_HEALTH),
    Operation("GET", "/v1/stats", get_stats, "Statistics", "observer", answer=Stats),
    Operation("GET", "/v1/digest", get_digest, "Digest", "reader", query=PrefixQuery, answer=dict[str, Any]),
)
