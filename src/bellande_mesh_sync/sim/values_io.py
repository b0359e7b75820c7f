"""Values of simulated nodes: cut into chunks and put together again by the code that production uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.errors import ChunkMissingError
from bellande_mesh_sync.sim.disk import SimDisk
from bellande_mesh_sync.store.chunker import WrittenValue, write_value
from bellande_mesh_sync.store.manifests import iterate_chunks, read_value


class DiskValues:
    """The chunks of one simulated disk, as writers and readers of values want them."""

    def __init__(self, disk: SimDisk) -> None:
        self._disk = disk

    def write(self, data: bytes | bytearray | memoryview) -> WrittenValue:
        """A small value goes into its record; the chunks of a large one are on the disk when this returns."""
        return write_value(data, self._add_chunks)

    def read(self, record: Record) -> bytes:
        if record.manifest is None:
            return record.inline or b""
        return b"".join(read_value(self, record.manifest))

    def stored(self, record: Record) -> bytes:
        """As `read`, whatever has become of the disk since: for those who judge, not for programs."""
        if record.manifest is None:
            return record.inline or b""
        chunks = self._disk.platter.chunks
        refs = iterate_chunks(record.manifest, chunks.__getitem__)
        return b"".join(chunks[ref.hash] for ref in refs)

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]:
        return iterate_chunks(manifest, self.read_chunk)

    def read_chunk(self, hash: bytes) -> bytes:
        body = self._disk.chunk(hash)
        if body is None:
            raise ChunkMissingError(chunk=hash.hex(), key="a simulated value")
        return body

    def _add_chunks(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        self._disk.add_chunks({hash: bytes(body) for hash, body in chunks})
