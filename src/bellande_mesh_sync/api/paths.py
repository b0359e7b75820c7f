"""Questions of the search path, computed in threads of their own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec

from bellande_mesh_sync.api.calls import JSON_BYTES_MAX, Call
from bellande_mesh_sync.api.errors import encode_json
from bellande_mesh_sync.api.operations import Handler, Operation
from bellande_mesh_sync.errors import BusyError
from bellande_mesh_sync.path_answers import STEPS_MAX, answer, read_question
from bellande_mesh_sync.path_questions import QUESTIONS

WAITING_MAX: Final = 16
"""So many questions may be under way at once; each takes about a second at most."""

Result = TypeVar("Result")


class Desk:
    """One thread for all questions, so that they never take the threads that the disk needs."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def ask(self, work: Callable[[], Result]) -> Result:
        """The result of `work`, done in the thread. Raises BusyError when too many wait."""
        if self._waiting >= WAITING_MAX:
            raise BusyError(what="the line of search path questions", limit=WAITING_MAX)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="search-path")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        # A caller that leaves does not stop the thread, so its place stays taken until that is done.
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # Seen, even where nobody waits for it any more.


DESK: Final = Desk()


def _handler(name: str) -> Handler:
    async def ask(call: Call) -> object:
        body = await call.body(JSON_BYTES_MAX)
        return await DESK.ask(functools.partial(_answer, name, body))

    ask.__name__ = f"ask_{name}"  # Operations in OpenAPI are named after their handlers.
    return ask


def _answer(name: str, body: bytes) -> msgspec.Raw:
    # Encoded here: a long list of numbers is not for the event loop.
    return msgspec.Raw(encode_json(answer(read_question(name, body), STEPS_MAX)))


OPERATIONS: Final = tuple(
    Operation(
        "POST",
        f"/v1/path/{name}",
        _handler(name),
        f"Search path: {name}",
        "reader",
        body=question,
        answer=dict[str, Any],
        about=f"A question for the search path's {name}, in its fields; lists of points ask many at once."
        " Needs the extra `path` on the node.",
    )
    for name, question in QUESTIONS.items()
)
