"""Fill a folder with nearly all that the mesh has, from one stream: the way for a first share.

A request for each file would cost more than its bytes, where most files are small.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from blake3 import blake3

from bellande_mesh_sync.client import ExportItem
from bellande_mesh_sync.client_errors import translated
from bellande_mesh_sync.errors import BellandeMeshError, IncompleteValueError
from bellande_mesh_sync.share.agreed import Agreed
from bellande_mesh_sync.share.folder import SharedFolder
from bellande_mesh_sync.share.local_side import SMALL_BYTES_MAX, Local
from bellande_mesh_sync.share.mesh_side import MeshSide, Remote
from bellande_mesh_sync.share.metadata import metadata_of
from bellande_mesh_sync.share.names import folder_of_mark
from bellande_mesh_sync.share.planner import Content
from bellande_mesh_sync.share.transfers import WINDOW, in_parallel, place

FILES_MIN: Final = 200
SHARE_MIN: Final = 0.9
"""At least so many files, and of all that the mesh has this part, must be wanted: the stream brings all."""

WINDOW_BYTES_MAX: Final = 16 << 20


class Wanted(NamedTuple):
    local: Local | None
    remote: Remote


class _Waiting(NamedTuple):
    """A small value that is read and not yet written."""

    item: ExportItem
    path: str
    data: bytes


Filled = tuple[str, Agreed | BellandeMeshError | OSError]


def is_first_fill(wanted_count: int, agreed_count: int) -> bool:
    return wanted_count >= FILES_MIN and wanted_count >= SHARE_MIN * (wanted_count + agreed_count)


def fill(mesh: MeshSide, folder: SharedFolder, wanted: Mapping[str, Wanted]) -> Iterator[Filled]:
    """Write every wanted file that the stream brings; what became of each. Empty folders are left out."""

    def write(waiting: _Waiting) -> Agreed:
        return _place(folder, waiting.item, waiting.path, iter((waiting.data,)), wanted[waiting.path])

    window: list[_Waiting] = []
    size = 0
    with translated(mesh.client.api_url):
        for item in mesh.client.export_items(mesh.base):
            path = item.key.removeprefix(mesh.base)
            if path not in wanted or folder_of_mark(path) or item.error is not None:
                continue
            if item.size > SMALL_BYTES_MAX:
                yield path, _attempt(folder, item, path, wanted[path])
                continue
            window.append(_Waiting(item, path, b"".join(item.pieces)))
            size += item.size
            if len(window) >= WINDOW or size >= WINDOW_BYTES_MAX:
                yield from ((each.path, outcome) for each, outcome in in_parallel(write, window))
                window, size = [], 0
        yield from ((each.path, outcome) for each, outcome in in_parallel(write, window))


def _attempt(
    folder: SharedFolder, item: ExportItem, path: str, wanted: Wanted
) -> Agreed | BellandeMeshError | OSError:
    try:
        return _place(folder, item, path, item.pieces, wanted)
    except (BellandeMeshError, OSError) as error:
        return error


def _place(
    folder: SharedFolder, item: ExportItem, path: str, pieces: Iterator[bytes], wanted: Wanted
) -> Agreed:
    hasher = blake3()

    def checked() -> Iterator[bytes]:
        for piece in pieces:
            hasher.update(piece)
            yield piece
        if hasher.hexdigest() != item.digest:
            raise IncompleteValueError(f"the bytes of {item.key!r} do not fit its digest", key=item.key)

    facts = place(folder, path, item.content_type, item.time_ms, checked(), wanted.local)
    content = Content(item.digest, metadata_of(item.content_type).executable)
    is_known = wanted.remote.version == item.version and wanted.remote.siblings == 1
    return Agreed(content, item.version, wanted.remote.context if is_known else "", facts)
