"""Calls of users' merge functions: whatever such a function does, the node goes on."""

from __future__ import annotations

import ctypes
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bellande_mesh_sync.config import SpacePolicy
from bellande_mesh_sync.config_model import CONFLICT_WORDS
from bellande_mesh_sync.core.data.merging import Merge, Sibling
from bellande_mesh_sync.loading import load_function

log = logging.getLogger("bellande_mesh_sync")

CALL_S_MAX: Final = 0.25
"""How long the node waits for one call, and stands still meanwhile."""
REST_S: Final = 60.0
"""How long a function that took longer is not asked again."""
RESULT_BYTES_MAX: Final = 1024 * 1024
REMEMBERED_MAX: Final = 1024
"""Results by set of siblings, so that a listing does not ask again and again."""


class _TooLongError(BaseException):
    """Raised inside a function that takes too long. No Exception: it must not be caught on the way."""


class MergeCall:
    """A merge function that can be called from the node's loop.

    It runs in a thread of its own. One that raises, returns anything but bytes, or takes too long counts as
    failed, and then None is returned. A function that keeps the interpreter to itself in C code cannot be
    stopped by anybody in this process.
    """

    def __init__(self, name: str, merge: Merge, count: Callable[[str], None]) -> None:
        self._name = name
        self._merge = merge
        self._count = count
        self._known: dict[tuple[str, ...], bytes | None] = {}
        self._rests_until = 0.0
        self._thread: threading.Thread | None = None

    def __call__(self, siblings: Sequence[Sibling]) -> bytes | None:
        versions = tuple(sibling.version for sibling in siblings)
        if versions in self._known:
            return self._known[versions]
        if time.monotonic() < self._rests_until or (self._thread is not None and self._thread.is_alive()):
            self._count("merges_skipped")
            return None
        try:
            merged = self._ask(siblings)
        except _TooLongError:
            # Not remembered: a busy machine may have been the reason.
            self._rests_until = time.monotonic() + REST_S
            self._failed(siblings, f"it took longer than {CALL_S_MAX:g} s; it is not asked for {REST_S:g} s")
            return None
        if len(self._known) >= REMEMBERED_MAX:
            del self._known[next(iter(self._known))]
        self._known[versions] = merged
        return merged

    def _ask(self, siblings: Sequence[Sibling]) -> bytes | None:
        answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        thread = threading.Thread(target=self._run, args=(siblings, answers), daemon=True, name="bms-merge")
        self._thread = thread
        thread.start()
        try:
            answer = answers.get(timeout=CALL_S_MAX)
        except queue.Empty:
            _stop(thread)
            raise _TooLongError from None
        thread.join(CALL_S_MAX)
        if isinstance(answer, BaseException):
            self._failed(siblings, f"it raised {answer!r}")
            return None
        if type(answer) is not bytes or len(answer) > RESULT_BYTES_MAX:
            self._failed(siblings, f"it returned {type(answer).__name__}, and not at most 1 MiB of bytes")
            return None
        return answer

    def _run(self, siblings: Sequence[Sibling], answers: queue.SimpleQueue[object]) -> None:
        try:
            answers.put(self._merge(list(siblings)))
        except BaseException as error:  # noqa: BLE001  user code: also its sys.exit() must not end more
            answers.put(error)

    def _failed(self, siblings: Sequence[Sibling], what: str) -> None:
        self._count("merges_failed")
        newest = siblings[-1].version
        log.warning("merge function %s: %s; of %d siblings the last one, %s, is shown instead", self._name,
                    what, len(siblings), newest)  # fmt: skip


def _stop(thread: threading.Thread) -> None:
    """Raise in that thread as soon as it runs Python code again."""
    assert thread.ident is not None, "it was started"
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident), ctypes.py_object(_TooLongError)
    )  # fmt: skip


def merge_calls(spaces: Mapping[str, SpacePolicy], count: Callable[[str], None]) -> dict[str, MergeCall]:
    """The merge functions of these spaces, loaded.

    Raises:
        ConfigError: there is no such function, naming the field.
    """
    return {
        space: MergeCall(policy.conflict, load_function(policy.conflict, f"spaces.{space}.conflict"), count)
        for space, policy in spaces.items()
        if policy.conflict not in CONFLICT_WORDS
    }
