"""`POST /v1/verify`: a node reads all it holds again. One JSON document a line, as it goes on.

Every second `{"event":"progress","progress":{...}}`; the last line is `{"event":"done","report":{...}}`, or
`{"event":"error","error":{...}}` if it could not be brought to an end. Who leaves ends it.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.errors import encode_json, text_of
from bellande_mesh_sync.api.operations import JSON_LINES, Operation
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.values import VerifyProgress

PROGRESS_EVERY_S: Final = 1.0
_AT_ONCE_S: Final = 0.05
"""What is refused is refused by then, and gets the status of its error."""


class VerifyQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    deep: bool = False
    bytes_per_s: Annotated[float, Meta(gt=0, le=1e12)] = 256 << 20
    repair_timeout: Annotated[float, Meta(ge=0, le=3600)] = 10.0


async def verify(call: Call) -> None:
    """Read all that this node has on disk again; what is damaged is set aside, and brought by other nodes."""
    query = call.query(VerifyQuery)
    latest = [VerifyProgress(0.0, 0, 0, 0, 0)]
    task = asyncio.ensure_future(
        call.mesh.verify(
            deep=query.deep,
            bytes_per_s=query.bytes_per_s,
            repair_timeout=query.repair_timeout,
            on_progress=lambda progress: latest.__setitem__(0, progress),
        )
    )
    try:
        await asyncio.wait({task}, timeout=_AT_ONCE_S)
        if task.done():
            task.result()
        await call.begin(200, [("content-type", JSON_LINES), ("cache-control", "no-store")])
        while not task.done():
            await call.write(encode_json({"event": "progress", "progress": latest[0]}) + b"\n")
            await asyncio.wait({task}, timeout=PROGRESS_EVERY_S)
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
        "/v1/verify",
        verify,
        "Verify what a node holds",
        "writer",
        query=VerifyQuery,
        answer_media=JSON_LINES,
    ),
)
