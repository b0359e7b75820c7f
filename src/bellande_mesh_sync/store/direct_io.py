"""Bulk reads and writes past the page cache.

A large value goes through memory once. Keeping it in the page cache costs a page and a copy for
every 4 KiB and pushes out what is read often; on small virtual machines, where fresh pages must be
asked of the host, that alone was two thirds of the time of a write. Where the system or the file
system has no such thing, callers use ordinary calls.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

BLOCK_BYTES: Final = 4096
"""Positions, lengths and memory addresses must be multiples of this."""
_STAGE_BYTES: Final = 4 << 20

_O_DIRECT: Final = getattr(os, "O_DIRECT", 0)


def align_up(position: int) -> int:
    return -(-position // BLOCK_BYTES) * BLOCK_BYTES


def open_direct(path: Path) -> int:
    """A descriptor for direct reads and writes; -1 where there is no such thing."""
    if not _O_DIRECT:
        return -1
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC | _O_DIRECT)
    except OSError as error:
        if error.errno == errno.EINVAL:  # As tmpfs says.
            return -1
        raise


class Stage:
    """Aligned memory that bytes pass through. For one thread at a time."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _STAGE_BYTES + 2 * BLOCK_BYTES)

    def write(self, descriptor: int, pieces: Sequence[bytes | memoryview], position: int) -> int:
        """Write the pieces one after the other, from an aligned position on; the aligned end.

        The rest of the last block is zeros. Raises OSError.
        """
        with memoryview(self._memory) as memory:
            filled = 0
            for piece in pieces:
                with memoryview(piece) as view:
                    start = 0
                    while start < len(view):
                        taken = min(len(view) - start, _STAGE_BYTES - filled)
                        memory[filled : filled + taken] = view[start : start + taken]
                        start += taken
                        filled += taken
                        if filled == _STAGE_BYTES:
                            _write_all(descriptor, memory[:filled], position)
                            position += filled
                            filled = 0
            if filled:
                end = align_up(filled)
                memory[filled:end] = bytes(end - filled)
                _write_all(descriptor, memory[:end], position)
                position += end
        return position

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        """`size` bytes (at most 4 MiB) from any position; fewer at the end of the file. Raises OSError."""
        start = position - position % BLOCK_BYTES
        wanted = align_up(position + size) - start
        with memoryview(self._memory) as memory:
            count = 0
            while count < wanted:
                got = os.preadv(descriptor, [memory[count:wanted]], start + count)
                count += got
                if not got or got % BLOCK_BYTES:
                    break  # The end of the file.
            return bytes(memory[position - start : min(position - start + size, count)])


class Stages(threading.local):
    """A stage for each thread that asks for one."""

    def __init__(self) -> None:
        self.stage = Stage()


def _write_all(descriptor: int, view: memoryview, position: int) -> None:
    written = 0
    while written < len(view):
        count = os.pwrite(descriptor, view[written:], position + written)
        if count % BLOCK_BYTES:
            # A disk that fills up in the middle of a block; the caller takes the whole batch back.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += count
