"""`POST /v1/sweep`: what nothing refers to leaves the disk. One JSON document a line.

`{"event":"alive"}` every second while it goes on; the last line is `{"event":"done","report":{...}}`, or
`{"event":"error","error":{...}}`. It goes on if the caller leaves.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.errors import encode_json, text_of
from bellande_mesh_sync.api.operations import JSON_LINES, Operation
from bellande_mesh_sync.errors import BellandeMeshError

ALIVE_EVERY_S: Final = 1.0
_AT_ONCE_S: Final = 0.05
"""What is refused is refused by then, and gets the status of its error."""


class SweepQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    grace: Annotated[float, Meta(ge=0, le=31_536_000)] | None = None


async def sweep(call: Call) -> None:
    """Remove the parts of large values that nothing refers to any more from this node's disk."""
    task = asyncio.ensure_future(call.mesh.cleanup_data(grace=call.query(SweepQuery).grace))
    try:
        await asyncio.wait({task}, timeout=_AT_ONCE_S)
        if task.done():
            task.result()
        await call.begin(200, [("content-type", JSON_LINES), ("cache-control", "no-store")])
        while not task.done():
            await call.write(b'{"event":"alive"}\n')
            await asyncio.wait({task}, timeout=ALIVE_EVERY_S)
        try:
            last = {"event": "done", "report": task.result()}
        except BellandeMeshError as error:
            last = {"event": "error", "error": text_of(error)}
        await call.finish(encode_json(last) + b"\n")
    finally:
        task.cancel()
        await asyncio.wait({task})


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/sweep",
        sweep,
        "Sweep what nothing refers to",
        "writer",
        query=SweepQuery,
        answer_media=JSON_LINES,
    ),
)
