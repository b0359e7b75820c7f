"""Memory for chunks on their way in, used again instead of asked for anew.

A new block of some megabytes costs a page fault for every 4 KiB and is zeroed byte by byte: as much
as decrypting what goes into it.
"""

from __future__ import annotations

from typing import Final

KEPT_BYTES_MAX: Final = 32 * 1024 * 1024
_SMALLEST_BITS: Final = 16


class Buffers:
    """Blocks in powers of two from 64 KiB; for one thread."""

    def __init__(self, kept_bytes_max: int = KEPT_BYTES_MAX) -> None:
        self._kept_bytes_max = kept_bytes_max
        self._kept_bytes = 0
        self._free: dict[int, list[bytearray]] = {}

    def take(self, size: int) -> memoryview:
        """Writable memory of just this size; what it holds is left over from before."""
        bits = max(_SMALLEST_BITS, (size - 1).bit_length())
        free = self._free.get(bits)
        if free:
            block = free.pop()
            self._kept_bytes -= len(block)
        else:
            block = bytearray(1 << bits)
        return memoryview(block)[:size]

    def give_back(self, view: memoryview) -> None:
        """Take back what `take` gave; nobody may use the view any more."""
        block = view.obj
        view.release()
        if isinstance(block, bytearray) and self._kept_bytes + len(block) <= self._kept_bytes_max:
            self._free.setdefault(len(block).bit_length() - 1, []).append(block)
            self._kept_bytes += len(block)
