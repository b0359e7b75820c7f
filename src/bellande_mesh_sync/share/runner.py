"""Run a share: open both sides, then round after round, whenever something changes or time is up."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BellandeMeshError, TransportError
from bellande_mesh_sync.share.agreed import State, state_path
from bellande_mesh_sync.share.folder import FolderLostError, SharedFolder
from bellande_mesh_sync.share.mesh_side import MeshSide, base_of
from bellande_mesh_sync.share.options import RETRY_AFTER_S, Options, Tell, event
from bellande_mesh_sync.share.sharer import Outcome, Sharer
from bellande_mesh_sync.share.watching import (
    WAKES_MAX,
    FolderWatch,
    MeshLost,
    MeshReady,
    MeshWatch,
    Wake,
    Wakes,
)
from bellande_mesh_sync.values import Change

BUSY_AFTER_S: Final = 0.1
BACKOFF_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
ONCE_ROUNDS_MAX: Final = 20
ONCE_WAIT_S: Final = 30.0

Connect = Callable[[], Client]
"""Makes a client of the node; where it listens may have changed since the last time."""


def share_once(
    folder: str, prefix: str, home: Path, connect: Connect, options: Options, tell: Tell
) -> Outcome:
    """Bring folder and prefix to the same, once. What is `busy` or `failed` at the end was left as it is."""
    with connect() as client, _opened(folder, prefix, home, client, options, tell) as sharer:
        done = 0
        deadline = time.monotonic() + ONCE_WAIT_S
        for _ in range(ONCE_ROUNDS_MAX):
            sharer.list_mesh()
            outcome = sharer.round()
            done += outcome.done
            if options.dry_run or not (outcome.busy or outcome.done) or time.monotonic() > deadline:
                break
            if outcome.busy:
                time.sleep(BUSY_AFTER_S)  # A file that is being written: look again, not faster than this.
        return Outcome(done, outcome.busy, outcome.failed)


def share_live(folder: str, prefix: str, home: Path, connect: Connect, options: Options, tell: Tell) -> None:
    """Keep folder and prefix the same until somebody interrupts, or something makes it wrong to go on.

    While the node cannot be reached it waits and tries again.
    """
    failures = 0
    while True:
        try:
            with connect() as client, _opened(folder, prefix, home, client, options, tell) as sharer:
                live = _Live(client, base_of(prefix), folder, sharer, options, tell)
                try:
                    live.run()
                finally:
                    live.end()
                    failures = 0 if live.was_ready else failures
        except TransportError as error:
            wait_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            tell(event("waiting", reason=str(error), seconds=wait_s))
            failures += 1
            time.sleep(wait_s)


class _Live:
    """One connection with the node: rounds as the two watches ask for them."""

    def __init__(
        self, client: Client, base: str, folder: str, sharer: Sharer, options: Options, tell: Tell
    ) -> None:
        self._sharer = sharer
        self._folder = folder
        self._options = options
        self._tell = tell
        self._wakes: Wakes = queue.Queue(WAKES_MAX)
        self._mesh_watch = MeshWatch(client, base, self._wakes)
        self._folder_watch: FolderWatch | None = None
        self._is_unwatched = False
        self.was_ready = False
        self._is_settled = False
        self._busy_s = BUSY_AFTER_S

    def end(self) -> None:
        self._mesh_watch.end()
        if self._folder_watch is not None:
            self._folder_watch.end()

    def run(self) -> None:
        due = time.monotonic()
        while True:
            for wake in self._next_wakes(due):
                self._take(wake)
            if not self.was_ready:
                due = time.monotonic() + self._options.scan_every_s
                continue
            due = time.monotonic() + self._round()

    def _next_wakes(self, due: float) -> Iterator[Wake]:
        """Wait until something happens or the time is due; then everything that waits."""
        with contextlib.suppress(queue.Empty):
            yield self._wakes.get(timeout=max(0.0, due - time.monotonic()))
        for _ in range(WAKES_MAX):
            with contextlib.suppress(queue.Empty):
                yield self._wakes.get_nowait()
                continue
            return

    def _take(self, wake: Wake) -> None:
        if isinstance(wake, MeshLost):
            raise _as_transport(wake.error)
        if isinstance(wake, MeshReady):
            self._sharer.list_mesh()
            self.was_ready = True
        elif isinstance(wake, Change):
            self._sharer.note(wake)

    def _round(self) -> float:
        """One round; in how many seconds the next one is due at the latest."""
        outcome = self._sharer.round()
        self._watch_folders()
        if outcome.busy:
            # Soon, but ever slower where the same files are busy again and again.
            self._busy_s = BUSY_AFTER_S if outcome.done else min(self._busy_s * 2, RETRY_AFTER_S)
            return self._busy_s
        self._busy_s = BUSY_AFTER_S
        if not self._is_settled or outcome.done:
            self._is_settled = True
            self._tell(event("settled", failed=outcome.failed))
        if outcome.failed:
            return RETRY_AFTER_S
        return self._options.unwatched_every_s if self._is_unwatched else self._options.scan_every_s

    def _watch_folders(self) -> None:
        watch = self._folder_watch
        if watch is not None and watch.reason:
            watch.end()
            self._folder_watch, self._is_unwatched = None, True
            reason = (
                f"changes are found by looking every {self._options.unwatched_every_s:g} s: {watch.reason}"
            )
            self._tell(event("not_watching", reason=reason))
        elif not self._is_unwatched and (watch is None or watch.folders != frozenset(self._sharer.folders)):
            if watch is not None:
                watch.end()
            self._folder_watch = FolderWatch(self._folder, self._sharer.folders, self._wakes)


def _as_transport(error: BellandeMeshError) -> BellandeMeshError:
    """An end of the watch that only means to connect again."""
    if error.code in ("busy", "mesh_error", "value_incomplete"):
        return TransportError(str(error))
    return error


@contextlib.contextmanager
def _opened(
    folder: str, prefix: str, home: Path, client: Client, options: Options, tell: Tell
) -> Iterator[Sharer]:
    status = client.status()
    about = {"mesh": status.mesh_id, "node": status.node, "prefix": base_of(prefix)}
    with SharedFolder(folder) as shared:
        path = state_path(home, folder)
        with State(path if path.exists() or not options.dry_run else None) as state:
            identity = _identify(shared, state, about, options)
            yield Sharer(shared, identity, state, MeshSide(client, prefix), status.node, options, tell)


def _identify(folder: SharedFolder, state: State, about: dict[str, str], options: Options) -> str:
    """Make sure that this is the folder the state is about; the folder's identity."""
    identity = folder.identity()
    known = state.about
    if options.start_over and not options.dry_run:
        known = {}
    if known and known["identity"] != identity:
        raise FolderLostError(
            path=folder.path, reason="it lacks the mark of the share, or has that of another one"
        )
    if known == {**about, "identity": identity}:
        return identity
    # Another node or another prefix: what was agreed with that one says nothing here.
    if options.dry_run:
        state.agreed.clear()
        return identity
    identity = identity or folder.mark()
    state.start({**about, "identity": identity})
    return identity
