"""What the folder has under a path now: told by its facts where those are known, else by its bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final, NamedTuple

from blake3 import blake3

from bellande_mesh_sync.cli.reading import SteadyFile
from bellande_mesh_sync.share.agreed import NO_FACTS, Agreed
from bellande_mesh_sync.share.folder import BusyFileError, SharedFolder
from bellande_mesh_sync.share.names import folder_of_mark
from bellande_mesh_sync.share.planner import FOLDER, Content
from bellande_mesh_sync.share.scanning import Facts, Scan

SMALL_BYTES_MAX: Final = 256 * 1024
"""Up to this a file is read whole and goes through the bulk door; a larger one by itself."""

FRESH_NS: Final = 50_000_000
"""A file that was touched this short a time ago is left for the next round. Times of files have the grain
of the kernel's tick, up to 10 ms: what is written within the same one could not be told apart."""

UNREAD: Final = "unread"
"""Stands for the digest of a new file that the mesh has nothing to compare with."""


class Local(NamedTuple):
    """What the folder has under a path."""

    content: Content
    facts: Facts
    data: bytes | None = None
    """A small file's bytes, if it had to be read."""


def local_of(
    path: str, folder: SharedFolder, scan: Scan, agreed: Agreed | None, *, must_read: bool
) -> Local | None:
    """What is there; None if nothing is.

    Args:
        must_read: the digest is needed, for the mesh has something under this path.

    Raises:
        BusyFileError, FileChangedError: it is being written, or nothing is known of it; later.
        OSError: it cannot be read.
    """
    in_folder = folder_of_mark(path)
    if in_folder:
        _refuse_unknown(in_folder, scan)
        return Local(Content(FOLDER), NO_FACTS) if in_folder in scan.empty_folders else None
    seen = scan.files.get(path)
    if seen is None:
        _refuse_unknown(path, scan)
        return None
    if agreed is not None and agreed.facts == seen.facts:
        return Local(agreed.content, seen.facts)
    if 0 <= time.time_ns() - seen.facts.ctime_ns < FRESH_NS:
        raise BusyFileError(path=path)
    return _read(path, folder, seen.facts, must_read=must_read or agreed is not None)


def _read(path: str, folder: SharedFolder, facts: Facts, *, must_read: bool) -> Local:
    with folder.read(path) as file:
        steady = SteadyFile(file, path)
        if steady.size <= SMALL_BYTES_MAX:
            data = steady.whole()
            content = Content(blake3(data).hexdigest(), facts.executable)
        else:
            data = None
            digest = digest_of(steady.pieces(_no_progress)) if must_read else UNREAD
            content = Content(digest, facts.executable)
    # If it was replaced since the scan, these facts are the old one's, and the next round reads it again.
    return Local(content, facts, data)


def digest_of(pieces: Iterator[bytes]) -> str:
    hasher = blake3()
    for piece in pieces:
        hasher.update(piece)
    return hasher.hexdigest()


def _refuse_unknown(path: str, scan: Scan) -> None:
    """A folder that could not be read says nothing about what is in it: nothing there was deleted."""
    for folder in scan.unknown:
        if path == folder or path.startswith(folder + "/"):
            raise BusyFileError(path=path)


def _no_progress(files: int, size: int) -> None:
    pass
