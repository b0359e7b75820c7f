"""Threads that wake a share: one hears of the folder's changes, one of the mesh's."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator, Sequence, Set
from typing import NamedTuple, TypeAlias

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.values import Change

WAKES_MAX = 10_000
"""Changes that wait while a round goes on. When they are more, the thread that reads them waits, and in the
end the node says that we are too slow; then all is listed again."""

_TIMEOUT_MS = 500
"""How soon a thread notices that it is to end."""
_GATHER_MS = 400
_QUIET_MS = 50
"""Changes are told together once nothing happens for this long, or when they were gathered for the other."""


class FolderChanged(NamedTuple):
    """Something happened in the folder."""


class MeshReady(NamedTuple):
    """From here on no change of the mesh is missed: list it now."""


class MeshLost(NamedTuple):
    """The node is gone, or we were too slow."""

    error: BellandeMeshError


Wake: TypeAlias = FolderChanged | MeshReady | MeshLost | Change
Wakes: TypeAlias = "queue.Queue[Wake]"


class MeshWatch:
    """Follows the changes below a prefix, in a thread of its own."""

    def __init__(self, client: Client, base: str, wakes: Wakes) -> None:
        self._client = client
        self._base = base
        self._wakes = wakes
        self._ended = threading.Event()
        # A daemon: it may hang in a read for as long as the node says nothing, up to 15 s.
        threading.Thread(target=self._run, name="share-mesh", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        try:
            for change in self._client.watch(self._base, on_ready=lambda: self._put(MeshReady())):
                if not self._put(change):
                    return
        except BellandeMeshError as error:
            self._put(MeshLost(error))
        else:
            self._put(MeshLost(BellandeMeshError("the node ended the watch")))

    def _put(self, wake: Wake) -> bool:
        """Whether it was taken; not once the watch is to end."""
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                self._wakes.put(wake, timeout=_TIMEOUT_MS / 1000)
                return True
        return False


class FolderWatch:
    """Wakes a share when something in one of these folders changes.

    Folders are named one by one: a recursive watch would go through symbolic links.
    """

    def __init__(self, root: str, folders: Sequence[str], wakes: Wakes) -> None:
        self.folders = frozenset(folders)
        self._wakes = wakes
        self._ended = threading.Event()
        self.reason = ""
        """Why nothing is watched; empty as long as it is."""
        paths = [os.path.join(root, folder) if folder else root for folder in folders]
        self._thread = threading.Thread(target=self._run, args=(paths,), name="share-folder", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self, paths: list[str]) -> None:
        is_watching = False
        try:
            for changes in self._changes(paths):
                # The first word comes when the watch is set up: what happened before it was missed.
                if changes or not is_watching:
                    with contextlib.suppress(queue.Full):  # Then the share is awake anyhow.
                        self._wakes.put_nowait(FolderChanged())
                is_watching = True
        except (OSError, ImportError) as error:
            # Too many watches, a file system that has none, an installation without the library.
            self.reason = str(error)

    def _changes(self, paths: list[str]) -> Iterator[Set[object]]:
        import watchfiles

        changes: Iterator[Set[object]] = watchfiles.watch(
            *paths,
            watch_filter=None,
            debounce=_GATHER_MS,
            step=_QUIET_MS,
            stop_event=self._ended,
            rust_timeout=_TIMEOUT_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=False,
            ignore_permission_denied=True,
        )
        return changes
