"""The past over HTTP: versions of a key, differences between two moments, and bringing values back."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Answer, Call
from bellande_mesh_sync.api.data import Ack, Timeout
from bellande_mesh_sync.api.operations import Operation
from bellande_mesh_sync.api.ranges import etag
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import DiffPage, History, Receipt, RestorePage

Limit = Annotated[int, Meta(ge=1, le=10_000)]
Moment = Annotated[str, Meta(description="ISO 8601, `2h ago`, `now`, or milliseconds since 1970")]


class DiffQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    from_: Moment = msgspec.field(name="from")
    to: Moment = "now"
    prefix: str = ""
    limit: Limit = 1000
    cursor: str = ""


class RestoreRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """Keys to bring back to what they were at a moment."""

    prefix: str
    at: Moment
    dry_run: bool = False
    """Only tell what would be written."""
    limit: Limit = 500
    """Keys to write at most; the cursor in the answer goes on behind them."""
    cursor: str = ""
    ack: Ack | None = None
    timeout: Timeout | None = None


class VersionRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    version: str
    ack: Ack | None = None
    timeout: Timeout | None = None


async def get_history(call: Call) -> History:
    """The versions of the key that are on this node, the latest first, without their values."""
    return await call.mesh.history(check_key(call.path_rest()))


async def restore_version(call: Call) -> Answer:
    """Write an old version of the key again, over all that is there now."""
    key = check_key(call.path_rest())
    wish = await call.json(VersionRequest)
    receipt = await call.mesh.restore_version(key, wish.version, ack=wish.ack, timeout=wish.timeout)
    return Answer(receipt, 200, ((b"etag", etag(receipt.version).encode()),))


async def get_differences(call: Call) -> DiffPage:
    """The keys with this prefix whose visible version differs between two moments, in order.

    `cursor` gives the next page; a page may be empty before the end. Pass on `from_ms` and `to_ms` of the
    first page, so that `2h ago` stays the same moment.
    """
    query = call.query(DiffQuery)
    return await call.mesh.diff_page(
        check_prefix(query.prefix), query.from_, query.to, limit=query.limit, cursor=query.cursor
    )


async def restore_prefix(call: Call) -> RestorePage:
    """Bring keys with this prefix back to what they were at a moment, by new versions.

    Nothing is destroyed: each write is in the context of what is there, and goes into history like any
    other. `cursor` gives the next page; pass on `at_ms` of the first one as `at`.
    """
    wish = await call.json(RestoreRequest)
    return await call.mesh.restore_page(
        check_prefix(wish.prefix), wish.at, dry_run=wish.dry_run, limit=wish.limit, cursor=wish.cursor,
        ack=wish.ack, timeout=wish.timeout,
    )  # fmt: skip


_KEY = "/v1/history/{key:rest}"

OPERATIONS: Final = (
    Operation("GET", _KEY, get_history, "Versions of a key", "reader", answer=History),
    Operation(
        "POST",
        _KEY,
        restore_version,
        "Write an old version again",
        "writer",
        body=VersionRequest,
        answer=Receipt,
        statuses={200: "Written", 202: "Kept, and not yet acknowledged as asked"},
    ),
    Operation(
        "GET",
        "/v1/diff",
        get_differences,
        "Compare two moments",
        "reader",
        query=DiffQuery,
        answer=DiffPage,
    ),
    Operation(
        "POST",
        "/v1/restore",
        restore_prefix,
        "Bring keys back",
        "writer",
        body=RestoreRequest,
        answer=RestorePage,
        statuses={200: "Done", 202: "Kept, and not yet acknowledged as asked"},
    ),
)
