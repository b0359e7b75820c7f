"""The mesh's half of a share: one prefix of keys, over a node's HTTP API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from bellande_mesh_sync.cli.landing import UnsafePathError, relative_segments
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.errors import NotFoundError
from bellande_mesh_sync.share.ignores import Ignores
from bellande_mesh_sync.share.metadata import metadata_of
from bellande_mesh_sync.share.names import folder_of_mark
from bellande_mesh_sync.share.planner import FOLDER, Content
from bellande_mesh_sync.values import Change, Entry

NOTHING_SEEN: Final = context_text(())
"""The context of a writer who has read nothing: such a write replaces nothing."""

LIST_PAGE: Final = 2_000
CONFLICTS_PAGE: Final = 1_000
FILE_NAME_BYTES_MAX: Final = 255


class Remote(NamedTuple):
    """What the mesh has under a path."""

    content: Content
    version: str
    context: str
    siblings: int


def base_of(prefix: str) -> str:
    """What the keys of a share begin with."""
    return prefix.rstrip("/") + "/"


def remote_of(path: str, entry: Entry) -> Remote:
    if folder_of_mark(path):
        content = Content(FOLDER)
    else:
        content = Content(entry.digest, metadata_of(entry.content_type).executable)
    return Remote(content, entry.version, entry.context, entry.siblings)


class MeshSide:
    """The keys below one prefix, as paths."""

    def __init__(self, client: Client, prefix: str) -> None:
        self.client = client
        self.base = base_of(prefix)

    def key(self, path: str) -> str:
        return self.base + path

    def path(self, key: str, ignores: Ignores) -> str | None:
        """The path of a key; None if it is not to be a file here.

        A key that could lead elsewhere (`..`, a name that no file can have) is never one, whoever wrote it.
        """
        try:
            segments = relative_segments(key, self.base)
        except UnsafePathError:
            return None
        if any(len(segment.encode(errors="surrogatepass")) > FILE_NAME_BYTES_MAX for segment in segments):
            return None
        path = "/".join(segments)
        folder = folder_of_mark(path)
        is_skipped = ignores.skips_below(folder, is_folder=True) if folder else ignores.skips_below(path)
        return None if is_skipped else path

    def listing(self, ignores: Ignores) -> Iterator[tuple[str, Remote]]:
        """Every path the mesh has something under."""
        for entry in self.client.list(self.base, page=LIST_PAGE):
            path = self.path(entry.key, ignores)
            if path is not None:
                yield path, remote_of(path, entry)

    def conflicts(self, ignores: Ignores) -> Iterator[str]:
        """Every path under which several versions stand, also where a delete hides the others."""
        for conflict in self.client.conflicts(self.base, page=CONFLICTS_PAGE):
            path = self.path(conflict.key, ignores)
            if path is not None:
                yield path

    def changed(self, change: Change, ignores: Ignores) -> tuple[str, Remote | None] | None:
        """The path a change is about and what is there now; None if it is none of ours."""
        path = self.path(change.key, ignores)
        if path is None:
            return None
        return path, remote_of(path, change.entry) if change.entry is not None else None

    def look(self, path: str) -> Remote | None:
        """What is there now."""
        with contextlib.suppress(NotFoundError):
            return remote_of(path, self.client.head(self.key(path)))
        return None
