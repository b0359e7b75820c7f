"""Cutting values: the same whatever the pieces, bounded in memory, readable in ranges."""

from __future__ import annotations

import io
import itertools
import os
import random
import threading
import tracemalloc
from collections.abc import Iterator, Sequence

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, ChunkRef, Manifest
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.store import chunker
from bellande_mesh_sync.store.chunker import LARGE_CHUNKS, SMALL_CHUNKS, ValueWriter, write_value
from bellande_mesh_sync.store.manifests import PIECE_BYTES_MAX, decode_index_chunk, read_value
from bellande_mesh_sync.store.memory import MemoryStore


def mixed_bytes(size: int, seed: int = 1) -> bytes:
    """Noise with runs of zeros and repetitions, as real files have them."""
    rng = random.Random(seed)
    parts: list[bytes] = []
    while sum(map(len, parts)) < size:
        kind = rng.randrange(3)
        length = rng.randrange(1, 600_000)
        parts.append(rng.randbytes(length) if kind else bytes(length))
    return b"".join(parts)[:size]


VALUE = mixed_bytes(12_000_000)


class Chunks:
    """Collects what a writer stores, and checks each hash."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}

    def add(self, chunks: Sequence[tuple[bytes, bytes | memoryview]]) -> None:
        for hash, body in chunks:
            assert blake3(body).digest() == hash
            self.bodies[hash] = bytes(body)

    def read_chunk(self, hash: bytes) -> bytes:
        return self.bodies[hash]

    def value_chunks(self, manifest: Manifest) -> Iterator[ChunkRef]:
        for ref in manifest.chunks:
            if manifest.depth == 1:
                yield ref
            else:
                yield from decode_index_chunk(self.bodies[ref.hash])


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES_MAX])
def test_a_small_value_is_inline_and_stores_no_chunk(size: int) -> None:
    chunks = Chunks()
    body = os.urandom(size)
    writer = ValueWriter(chunks.add)
    writer.feed(body)
    for written in (writer.finish(), write_value(body, chunks.add)):
        assert (written.size, written.inline, written.manifest) == (size, body, None)
        assert written.digest == blake3(body).digest()
    assert not chunks.bodies


def test_a_value_just_above_the_inline_limit_is_one_chunk() -> None:
    chunks = Chunks()
    body = os.urandom(INLINE_BYTES_MAX + 1)
    written = write_value(body, chunks.add)
    assert written.inline is None
    assert written.manifest == Manifest(1, (ChunkRef(blake3(body).digest(), len(body)),))


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, len(VALUE)),
    st.lists(st.integers(0, len(VALUE)), max_size=12),
    st.booleans(),
)
def test_the_cuts_do_not_depend_on_the_pieces(size: int, marks: list[int], is_size_known: bool) -> None:
    value = memoryview(VALUE)[:size]
    chunks = Chunks()
    writer = ValueWriter(chunks.add, size=size if is_size_known else None)
    edges = sorted({0, size, *(mark for mark in marks if mark < size)})
    for low, high in itertools.pairwise(edges):
        writer.feed(value[low:high])
    written = writer.finish()
    assert (written.size, written.digest) == (size, blake3(value).digest())
    if written.manifest is None:
        assert written.inline == bytes(value)
        return
    cutter = FastCDC(SMALL_CHUNKS.average, min_size=SMALL_CHUNKS.smallest, max_size=SMALL_CHUNKS.largest)
    expected = [(blake3(chunk.data).digest(), chunk.length) for chunk in cutter.cut_buf(value)]
    assert [(ref.hash, ref.size) for ref in written.manifest.chunks] == expected


def test_tiny_pieces_and_a_file_give_the_same_chunks(tmp_path_factory: pytest.TempPathFactory) -> None:
    value = VALUE[:3_000_000]
    path = tmp_path_factory.mktemp("values") / "value"
    path.write_bytes(value)
    written = []
    for known in (None, len(value)):
        for piece_bytes in (997, 65_536):
            writer = ValueWriter(Chunks().add, size=known)
            for start in range(0, len(value), piece_bytes):
                writer.feed(bytearray(value[start : start + piece_bytes]))
            written.append(writer.finish())
        writer = ValueWriter(Chunks().add, size=known)
        with path.open("rb", buffering=0) as file:
            writer.feed_file(file)
        written.append(writer.finish())
    assert all(each == written[0] for each in written)


def test_a_value_known_to_be_large_gets_larger_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunker, "LARGE_VALUE_BYTES", 1_000_000)
    chunks = Chunks()
    written = write_value(VALUE, chunks.add)
    assert written.manifest is not None
    sizes = [ref.size for ref in written.manifest.chunks]
    assert all(LARGE_CHUNKS.smallest <= size <= LARGE_CHUNKS.largest for size in sizes[:-1])
    assert b"".join(read_value(chunks, written.manifest)) == VALUE


def test_an_insertion_leaves_most_chunks_as_they_were() -> None:
    before, after = Chunks(), Chunks()
    value = random.Random(5).randbytes(8_000_000)
    write_value(value, before.add)
    write_value(value[:4_000_000] + b"something new" + value[4_000_000:], after.add)
    assert len(after.bodies.keys() - before.bodies.keys()) <= 3


def test_a_longer_list_of_chunks_becomes_index_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunker, "MANIFEST_CHUNKS_MAX", 16)
    store = MemoryStore(new_epoch=lambda: b"12345678")
    store.open()
    value = random.Random(6).randbytes(10_000_000)
    written = write_value(value, store.add_chunks)
    assert written.manifest is not None
    assert written.manifest.depth == 2
    assert len(written.manifest.chunks) > 2
    assert store.missing_chunks(written.manifest) == ((), False)
    assert b"".join(read_value(store, written.manifest)) == value
    monkeypatch.setattr(chunker, "MANIFEST_CHUNKS_MAX", 4)
    with pytest.raises(UsageError, match="more than 16 chunks"):
        write_value(value, store.add_chunks)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 3_000_000), st.one_of(st.none(), st.integers(0, 3_100_000)))
def test_any_range_is_read_as_it_was_written(start: int, end: int | None) -> None:
    value = VALUE[:3_000_000]
    written = write_value(value, RANGES.add)
    assert written.manifest is not None
    pieces = list(read_value(RANGES, written.manifest, start, end))
    assert b"".join(pieces) == value[start:end]
    assert all(0 < len(piece) <= PIECE_BYTES_MAX for piece in pieces)


RANGES = Chunks()


def test_chunks_outside_a_range_are_not_read() -> None:
    written = write_value(VALUE, RANGES.add)
    assert written.manifest is not None
    reads: list[bytes] = []

    class Counting(Chunks):
        def read_chunk(self, hash: bytes) -> bytes:
            reads.append(hash)
            return RANGES.bodies[hash]

    assert (
        b"".join(read_value(Counting(), written.manifest, 5_000_000, 5_000_010)) == VALUE[5_000_000:5_000_010]
    )
    assert 1 <= len(reads) <= 2


@pytest.mark.parametrize("size", [None, 60_000_000, 200_000_000])
def test_memory_stays_bounded_however_long_the_value_is(size: int | None) -> None:
    class Endless(io.RawIOBase):
        left = 60_000_000

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            count = min(len(buffer), self.left)
            self.left -= count
            return count

    writer = ValueWriter(lambda chunks: None, size=size)
    tracemalloc.start()
    try:
        writer.feed_file(Endless())
        writer.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_two_writers_work_side_by_side() -> None:
    chunks = Chunks()
    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(write_value(VALUE[:2_000_000], chunks.add)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
