"""Which chunks are referred to, in few bytes: a Bloom filter over their hashes.

It may take a chunk for one that is referred to though it is not (one in 150), never the other way round.
Such a chunk is found by the next sweep, which looks at other parts of the hashes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from bellande_mesh_sync.core.data.record import ChunkRef

BITS_PER_CHUNK: Final = 12
BYTES_MAX: Final = 64 << 20
"""Enough for 40 million chunks. With more of them more garbage is taken for referred to."""
_BYTES_MIN: Final = 1 << 10
_WORDS: Final = struct.Struct(">8I")
_PROBES: Final = 4


class ReferenceFilter:
    """Source: Bloom 1970; the hashes are BLAKE3's, so parts of them are as good as further hash functions.

    Args:
        chunk_count: how many chunks there are.
        turn: the number of this sweep.
    """

    def __init__(self, chunk_count: int, turn: int) -> None:
        size_bytes = _BYTES_MIN
        while size_bytes < BYTES_MAX and size_bytes * 8 < BITS_PER_CHUNK * chunk_count:
            size_bytes *= 2
        self._bits = bytearray(size_bytes)
        self._mask = size_bytes * 8 - 1
        self._first = turn % 8

    def add(self, refs: Iterable[ChunkRef]) -> None:
        bits = self._bits
        for ref in refs:
            for bit in self._places(ref.hash):
                bits[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, hash: bytes) -> bool:
        bits = self._bits
        return all(bits[bit >> 3] & 1 << (bit & 7) for bit in self._places(hash))

    def _places(self, hash: bytes) -> list[int]:
        words = _WORDS.unpack(hash)
        return [words[(self._first + probe) % 8] & self._mask for probe in range(_PROBES)]
