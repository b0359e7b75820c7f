"""A sweep: mark what records refer to, condemn or drop the other chunks, and give the disk its room back.

For a worker thread. Its memory is that of a filter (`reference_filter.py`) and of what is condemned, however
many chunks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest
from bellande_mesh_sync.errors import BellandeMeshError, ChunkMissingError, CorruptStoreError
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.reference_filter import ReferenceFilter

Pause = Callable[[int], None]


class Swept(Struct, frozen=True):
    """What a sweep came to."""

    chunks: int
    """That were there when it began."""
    chunk_bytes: int
    dropped: int
    dropped_bytes: int
    disk_bytes: int
    """What the disk has more."""


def sweep(store: Store, under_way: Iterable[Manifest], *, turn: int, grace_ns: int, pause: Pause) -> Swept:
    """Drop what a sweep before this one has condemned, condemn what else nothing refers to.

    Args:
        under_way: manifests of records that are being fetched or committed, of the very moment of
            `store.condemned.begin`, which has been called.
        turn: the number of this sweep.
        grace_ns: for how long a chunk stays condemned at least.
        pause: gets the bytes that each step read or wrote; may sleep, or raise to give up.

    Raises:
        CorruptStoreError: a record or a list of chunks cannot be read, so nobody knows what it refers to.
            Nothing was dropped.
        StorageError: the store was closed or is held up; or the disk is full. What was done stays done.
    """
    count = size_bytes = 0
    for page in store.chunk_pages():
        count += len(page)
        size_bytes += sum(location.size for _, location in page)
        pause(0)
    if not count:
        return Swept(0, 0, 0, 0, store.compact_chunks(pause))
    referenced = ReferenceFilter(count, turn)
    for manifest in under_way:
        _mark_what_is_here(store, manifest, referenced)
    for manifest in store.manifests(pause):
        referenced.add(manifest.chunks)
        if manifest.depth > 1:
            referenced.add(_listed(store, manifest))
            pause(sum(ref.size for ref in manifest.chunks))
    dropped = dropped_bytes = 0
    for page in store.chunk_pages():
        sizes = [(hash, location.size) for hash, location in page]
        ripe = set(store.condemned.judge(sizes, referenced.__contains__, grace_ns))
        if ripe:
            going = [entry for entry in page if entry[0] in ripe]
            dropped_bytes += store.drop_chunks(going)
            dropped += len(going)
        pause(0)
    return Swept(count, size_bytes, dropped, dropped_bytes, store.compact_chunks(pause))


def _mark_what_is_here(store: Store, manifest: Manifest, referenced: ReferenceFilter) -> None:
    """Of a value on its way in: chunks that it lists and nobody has asked for yet are fetched if need be."""
    referenced.add(manifest.chunks)
    if manifest.depth > 1:
        try:
            referenced.add(_listed(store, manifest))
        except BellandeMeshError:
            return  # Its own list is not here yet, so nothing of it can have been found here.


def _listed(store: Store, manifest: Manifest) -> Iterator[ChunkRef]:
    try:
        yield from store.value_chunks(manifest)
    except (ChunkMissingError, CorruptStoreError) as error:
        reason = f"the list of a value's chunks cannot be read ({error}); nothing is swept until it is back"
        raise CorruptStoreError(path="chunks", reason=reason) from error
