"""Chunks over a link: cut into pieces on one side, put together on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bellande_mesh_sync.errors import DecodeError, LimitExceededError
from bellande_mesh_sync.shell.buffers import Buffers
from bellande_mesh_sync.shell.link_transport import LinkTransport
from bellande_mesh_sync.wire.pieces import encode_piece_header

ASSEMBLIES_MAX: Final = 4
"""Chunks of one link that may be incomplete at once. Each costs up to CHUNK_BYTES_MAX."""


class _Assembly:
    __slots__ = ("data", "end")

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.end = 0


class ChunkAssembler:
    """The receiving half: a `PieceSink` that writes each payload byte once, to where it stays.

    `deliver` gets each chunk when it is whole. Pieces must come in order, or from the start again.
    """

    def __init__(self, buffers: Buffers, deliver: Callable[[bytes, memoryview], None]) -> None:
        self._buffers = buffers
        self._deliver = deliver
        self._open: dict[bytes, _Assembly] = {}

    def begin_piece(self, chunk: bytes, offset: int, total: int, size: int) -> memoryview:
        assembly = self._open.get(chunk)
        if assembly is None:
            if offset:
                raise DecodeError(reason="a piece of a chunk came without the pieces before it")
            if len(self._open) == ASSEMBLIES_MAX:
                raise LimitExceededError(
                    what="the number of unfinished chunks", size=ASSEMBLIES_MAX + 1, limit=ASSEMBLIES_MAX
                )
            assembly = self._open[chunk] = _Assembly(self._buffers.take(total))
        elif offset == 0:
            assembly.end = 0  # The sender was interrupted, and begins again.
        if offset != assembly.end or total != len(assembly.data):
            raise DecodeError(reason="a piece of a chunk does not follow the one before it")
        assembly.end += size
        return assembly.data[offset : offset + size]

    def end_piece(self, chunk: bytes) -> None:
        assembly = self._open[chunk]
        if assembly.end == len(assembly.data):
            del self._open[chunk]
            self._deliver(chunk, assembly.data)


PIECE_BYTES: Final = 256 * 1024
"""What we send at a time; others may use up to CHUNK_PIECE_BYTES_MAX."""


async def send_pieces(transport: LinkTransport, chunk: bytes, payload: bytes | memoryview) -> bool:
    """Send a chunk no faster than the connection takes it; False if the connection ended first.

    The payload is not copied, except by TLS.
    """
    view = memoryview(payload)
    total = len(view)
    for offset in range(0, total, PIECE_BYTES):
        await transport.writable()
        if not transport.is_usable:
            return False
        piece = view[offset : offset + PIECE_BYTES]
        transport.write(encode_piece_header(chunk, offset, total, len(piece)), piece)
        await asyncio.sleep(0)  # Other links have their turn between pieces.
    return transport.is_usable
