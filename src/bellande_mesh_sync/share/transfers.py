"""Carry out the steps of a share: bytes to the mesh and from it, deletes on both sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from blake3 import blake3

from bellande_mesh_sync.cli.reading import FileChangedError, SteadyFile, guess_type
from bellande_mesh_sync.client import ImportItem
from bellande_mesh_sync.errors import BellandeMeshError, NotFoundError
from bellande_mesh_sync.share.agreed import NO_FACTS, Agreed
from bellande_mesh_sync.share.folder import SharedFolder
from bellande_mesh_sync.share.local_side import Local
from bellande_mesh_sync.share.mesh_side import MeshSide, remote_of
from bellande_mesh_sync.share.metadata import FOLDER_TYPE, Metadata, metadata_of, with_metadata
from bellande_mesh_sync.share.names import folder_of_mark
from bellande_mesh_sync.share.planner import Content
from bellande_mesh_sync.share.scanning import Facts

WORKERS: Final = 6
"""Requests at once, for what has no bulk door. The node commits those that come together with one sync."""
WINDOW: Final = 256
"""Of so many the results are written down before more is begun."""

CONTEXT_CHARACTERS_MAX: Final = 4096
"""A longer context does not go through the bulk door, whose heads are short."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class Upload(NamedTuple):
    path: str
    local: Local
    context: str | None
    """What the write may replace; None: that there is nothing, which is a condition then."""

    @property
    def if_match(self) -> str | None:
        return "" if self.context is None else None

    @property
    def is_bulk(self) -> bool:
        """Whether it can go through the bulk door, with others."""
        in_hand = self.local.data is not None or folder_of_mark(self.path) != ""
        return in_hand and len(self.context or "") <= CONTEXT_CHARACTERS_MAX


def upload_bulk(mesh: MeshSide, uploads: list[Upload]) -> Iterator[tuple[Upload, Agreed | BellandeMeshError]]:
    """Write small files together; what became of each."""
    items = [
        ImportItem(mesh.key(each.path), each.local.data or b"", _type_of(each), each.context, each.if_match)
        for each in uploads
    ]
    for each, result in zip(uploads, mesh.client.import_items(items), strict=True):
        if result.receipt is not None:
            yield each, Agreed(each.local.content, result.receipt.version, "", each.local.facts)
        else:
            assert result.error is not None, "one of the two is set"
            yield each, result.error


def upload_one(mesh: MeshSide, folder: SharedFolder, upload: Upload) -> Agreed:
    """Write one file, however large. FileChangedError: nothing was written, it is being changed."""
    local = upload.local
    hasher = blake3()
    with folder.read(upload.path) as file:
        steady = SteadyFile(file, upload.path)
        if steady.size != local.facts.size:
            raise FileChangedError(path=upload.path)

        def pieces() -> Iterator[bytes]:
            for piece in steady.pieces(lambda files, size: None):
                hasher.update(piece)
                yield piece

        receipt = mesh.client.put(
            mesh.key(upload.path),
            pieces(),
            size=steady.size,
            content_type=_type_of(upload),
            context=upload.context,
            if_match=upload.if_match,
        )
    content = Content(hasher.hexdigest(), local.content.executable)
    return Agreed(content, receipt.version, "", local.facts)


def download(mesh: MeshSide, folder: SharedFolder, path: str, local: Local | None) -> Agreed | None:
    """Give the folder what the mesh has now; None if that is nothing any more."""
    try:
        in_folder = folder_of_mark(path)
        if in_folder:
            remote = remote_of(path, mesh.client.head(mesh.key(path)))
            folder.make_folder(in_folder)
            return Agreed(
                remote.content, remote.version, _known_context(remote.context, remote.siblings), NO_FACTS
            )
        with mesh.client.open(mesh.key(path)) as (entry, pieces):
            content = remote_of(path, entry).content
            context = _known_context(entry.context, entry.siblings)
            if local is not None and local.content == content:
                return Agreed(content, entry.version, context, local.facts)
            facts = place(folder, path, entry.content_type, entry.time_ms, pieces, local)
            return Agreed(content, entry.version, context, facts)
    except NotFoundError:
        return None


def place(
    folder: SharedFolder,
    path: str,
    content_type: str,
    time_ms: int,
    pieces: Iterable[bytes],
    local: Local | None,
) -> Facts:
    """Write a value as a file in place of what is there; its facts. `time_ms`: for one that tells no time."""
    told = metadata_of(content_type)
    mtime_ns = told.mtime_ns if told.mtime_ns is not None else time_ms * 1_000_000
    metadata = Metadata(told.executable, mtime_ns)
    with folder.replace(path, metadata, local.facts if local is not None else None) as placed:
        for piece in pieces:
            placed.write(piece)
    assert placed.facts is not None, "the file is there"
    return placed.facts


def in_parallel(
    function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Result | BellandeMeshError | OSError]]:
    """Results as they come in order, errors among them; at most `WINDOW` are under way."""
    rest = iter(items)

    def attempt(item: Item) -> Result | BellandeMeshError | OSError:
        try:
            return function(item)
        except (BellandeMeshError, OSError) as error:
            return error

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="share") as pool:
        while window := list(islice(rest, WINDOW)):
            try:
                yield from zip(window, pool.map(attempt, window), strict=True)
            except BaseException:  # Also when the process is asked to stop.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _type_of(upload: Upload) -> str:
    if folder_of_mark(upload.path):
        return FOLDER_TYPE
    facts = upload.local.facts
    return with_metadata(
        guess_type(upload.path.rpartition("/")[2]), Metadata(facts.executable, facts.mtime_ns)
    )


def _known_context(context: str, siblings: int) -> str:
    """With other versions beside it, what a reader has seen depends on whether those are shown, too."""
    return context if siblings == 1 else ""
