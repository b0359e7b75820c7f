"""Conflicts over HTTP: the keys under which several versions stand, these versions, and the choice."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Answer, Call
from bellande_mesh_sync.api.data import (
    WHOLE_BYTES_MAX,
    WriteQuery,
    answer_write,
    content_type_of,
    context_of,
)
from bellande_mesh_sync.api.operations import JSON, OCTETS, Operation
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import Conflicts, Receipt, Siblings


class ConflictsQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    prefix: str = ""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100
    cursor: str = ""


class ResolveQuery(WriteQuery, forbid_unknown_fields=True, kw_only=True):
    new: Annotated[bool, Meta(description="the body is a new value also if it is JSON")] = False


class Choice(Struct, forbid_unknown_fields=True, kw_only=True):
    version: str
    """The sibling to keep."""
    context: str | None = None
    """From the answer that showed it: what was seen and is replaced."""


async def list_conflicts(call: Call) -> Conflicts:
    """The keys in conflict that start with `prefix`, in order; `cursor` gives the next page.

    A key is in conflict while several versions stand under it whose writers did not know of each other's
    write, at least one of them a value.
    """
    query = call.query(ConflictsQuery)
    prefix = check_prefix(query.prefix)
    return await call.mesh.conflicts(prefix, limit=query.limit, cursor=query.cursor)


async def get_siblings(call: Call) -> Siblings:
    """All that stands under a key, the winner first, and what is known of each. `GET /v1/data/{key}?version=`
    reads one of them."""
    return await call.mesh.siblings(check_key(call.path_rest()))


async def resolve(call: Call) -> Answer:
    """Settle a conflict: keep one of the siblings (`{"version": ...}` as JSON), or write a new value.

    A body of any other `Content-Type` is the new value, and with `new=true` JSON is too. It replaces what was
    seen (`context`, or X-Bms-Context; without it what this node holds now) and nothing else: a sibling that
    came meanwhile stays. 412 if somebody else has settled it; 404 if there is no conflict or no such version.
    """
    key = check_key(call.path_rest())
    query = call.query(ResolveQuery)
    context = context_of(call, query.context)
    options: dict[str, Any] = {"ack": query.ack, "timeout": query.timeout}
    if _is_choice(call, query):
        choice = await call.json(Choice)
        if None not in (choice.context, context) and choice.context != context:
            raise UsageError(reason="the body and the request name different contexts")
        options["context"] = context if choice.context is None else choice.context
        return answer_write(await call.mesh.resolve(key, choice.version, **options), 200)
    options |= {"context": context, "content_type": content_type_of(call)}
    size = call.body_size
    if size is not None and size <= WHOLE_BYTES_MAX:
        data = await call.body(WHOLE_BYTES_MAX, key)
        return answer_write(await call.mesh.resolve(key, data=data, **options), 200)
    return answer_write(await call.mesh.resolve(key, data=call.pieces(key), size=size, **options), 200)


def _is_choice(call: Call, query: ResolveQuery) -> bool:
    media = call.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media == JSON and not query.new


_KEY: Final = "/v1/conflicts/{key:rest}"

OPERATIONS: Final = (
    Operation(
        "GET", "/v1/conflicts", list_conflicts, "List conflicts", "reader", query=ConflictsQuery,
        answer=Conflicts,
    ),
    Operation("GET", _KEY, get_siblings, "Look at a conflict", "reader", answer=Siblings),
    Operation(
        "POST", _KEY, resolve, "Settle a conflict", "writer", query=ResolveQuery, body=Choice,
        body_media=OCTETS, answer=Receipt,
        statuses={200: "Settled", 202: "Kept, and not yet acknowledged as asked"},
    ),
)  # fmt: skip
