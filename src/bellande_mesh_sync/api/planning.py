"""`POST /v1/path/plan`: a node plans, in a worker thread.

The answer is the path; or with `?progress=true` one JSON document a line: `{"event":"improved","path":{...}}`
for each shorter one, `{"event":"searching"}` every second without one, and at the end
`{"event":"done","path":{...}}` or `{"event":"error","error":{...}}`. Who leaves ends the search.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from bellande_mesh_sync.api.auth import check_role
from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.errors import encode_json, text_of
from bellande_mesh_sync.api.operations import JSON_LINES, Operation
from bellande_mesh_sync.errors import BellandeMeshError, BusyError, UsageError
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.values import Path

if TYPE_CHECKING:
    from bellande_mesh_sync.search_path.search import Search

WISH_BYTES_MAX: Final = 16 * 1024 * 1024
TIME_LIMIT_S_MAX: Final = 60.0
AT_ONCE_MAX: Final = 2
"""Searches of one node; each keeps a core busy."""
LOOK_EVERY_S: Final = 1.0

_under_way: Final = threading.BoundedSemaphore(AT_ONCE_MAX)


class PlanQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    progress: bool = False
    share: Annotated[str, Meta(max_length=512)] = ""
    """A prefix of keys: plan together with all that plan this scene there. Needs the role writer."""


async def plan(call: Call) -> Path | None:
    """Find a path through a scene, and shorter ones for as long as there is time.

    With `progress=true` each shorter path is told as it is found, one JSON document a line.
    """
    query = call.query(PlanQuery)
    wish = await call.json(PlanWish, WISH_BYTES_MAX)
    if wish.time_limit > TIME_LIMIT_S_MAX:
        raise UsageError(reason=f"a node plans for {TIME_LIMIT_S_MAX:g} s at most")
    if query.share:
        check_role(call.scope["bms.role"], "writer")
        check_key(f"{query.share}/best")
    if not _under_way.acquire(blocking=False):
        raise BusyError(what="the planner of this node", limit=f"{AT_ONCE_MAX} at a time")
    told: asyncio.Queue[Path] = asyncio.Queue()
    ends = threading.Event()
    searching = asyncio.ensure_future(_search(call, wish, query.share, told, ends))
    searching.add_done_callback(lambda _: _under_way.release())
    try:
        if query.progress:
            await _tell(call, searching, told)
            return None
        while not searching.done():
            await asyncio.wait({searching}, timeout=LOOK_EVERY_S)
            is_gone = call.scope.get("bms.is_gone")
            if is_gone is not None and is_gone():
                ends.set()
        return searching.result()
    finally:
        ends.set()
        await asyncio.wait({searching})


async def _search(
    call: Call, wish: PlanWish, share: str, told: asyncio.Queue[Path], ends: threading.Event
) -> Path:
    loop = asyncio.get_running_loop()

    def tell(path: Path) -> None:
        loop.call_soon_threadsafe(told.put_nowait, path)

    def go_on(search: Search) -> bool:
        return not ends.is_set()

    def run() -> Path:
        # NumPy and the compiled loops are loaded by the first search, and not by every node.
        from bellande_mesh_sync.search_path.wishes import plan_wished

        if share:
            from bellande_mesh_sync.together import MeshDoor, plan_shared

            return plan_shared(MeshDoor(call.mesh, loop), share, wish, on_progress=tell, ends=ends)
        return plan_wished(wish, on_progress=tell, take_part=go_on)

    return await asyncio.to_thread(run)


async def _tell(call: Call, searching: asyncio.Future[Path], told: asyncio.Queue[Path]) -> None:
    """Lines until the end. What is refused at once has the status of its error."""
    await asyncio.wait({searching}, timeout=0.05)
    if searching.done():
        searching.result()
    await call.begin(200, [("content-type", JSON_LINES), ("cache-control", "no-store")])
    while not searching.done() or not told.empty():
        path = await _next(searching, told)
        line = {"event": "searching"} if path is None else {"event": "improved", "path": path}
        await call.write(encode_json(line) + b"\n")
    try:
        last = {"event": "done", "path": searching.result()}
    except BellandeMeshError as error:
        last = {"event": "error", "error": text_of(error)}
    await call.finish(encode_json(last) + b"\n")


async def _next(searching: asyncio.Future[Path], told: asyncio.Queue[Path]) -> Path | None:
    """The latest of the paths that were told; None if there is none in a while, or none any more."""
    path = None
    if told.empty():
        coming = asyncio.ensure_future(told.get())
        await asyncio.wait({coming, searching}, timeout=LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            coming.cancel()
            return None
        path = coming.result()
    while not told.empty():
        path = told.get_nowait()
    return path


OPERATIONS: Final = (
    Operation(
        "POST",
        "/v1/path/plan",
        plan,
        "Plan a path",
        "reader",
        query=PlanQuery,
        body=PlanWish,
        answer=Path,
    ),
)
