"""Read files that somebody may be writing at the same moment, and guess what they hold."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from io import BufferedReader
from typing import BinaryIO

from bellande_mesh_sync.cli.progress import Advance
from bellande_mesh_sync.errors import BellandeMeshError

PIECE_BYTES = 1 << 20
OCTETS = "application/octet-stream"

_TYPE_BY_ENCODING = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}


class FileChangedError(BellandeMeshError):
    """What was read of a file may never have been its content at any moment. Nothing was written."""

    code = "file_changed"
    retryable = True
    template = "{path} changed while it was read; try again when nobody writes to it"


class NotAFileError(BellandeMeshError):
    code = "not_a_file"
    template = "{path} is not a regular file"


class SteadyFile:
    """A regular file's bytes, as they were at one moment.

    `pieces` holds back the last piece until the file is known to be as it was at the start: a
    receiver that was told `size` then gets all of one content, or too few bytes.
    """

    def __init__(self, file: BinaryIO, path: str) -> None:
        self._file = file
        self._path = path
        self._before = os.fstat(file.fileno())
        if not stat.S_ISREG(self._before.st_mode):
            raise NotAFileError(path=path)
        self.size = self._before.st_size

    def whole(self) -> bytes:
        """All bytes; FileChangedError. For small files."""
        return b"".join(self.pieces(lambda files, size: None))

    def pieces(self, advance: Advance) -> Iterator[bytes]:
        held, count = b"", 0
        # One byte more than there should be shows a file that grows.
        while piece := self._file.read(min(PIECE_BYTES, self.size - count + 1)):
            count += len(piece)
            if count > self.size:
                break
            if held:
                yield held
                advance(0, len(held))
            held = piece
        after = os.fstat(self._file.fileno())
        if count != self.size or (after.st_size, after.st_mtime_ns) != (self.size, self._before.st_mtime_ns):
            raise FileChangedError(path=self._path)
        if held:
            yield held
            advance(0, len(held))


def stdin_pieces(advance: Advance) -> Iterator[bytes]:
    """Standard input as it comes: a slow pipe is passed on without waiting for a full piece."""
    stdin = sys.stdin.buffer
    assert isinstance(stdin, BufferedReader)
    while piece := stdin.read1(PIECE_BYTES):
        yield piece
        advance(0, len(piece))


def guess_type(name: str) -> str:
    """The media type that a file's name suggests; for a compressed file that of the compression."""
    import mimetypes

    found, encoding = mimetypes.guess_type(name)
    if encoding is not None:
        return _TYPE_BY_ENCODING.get(encoding, OCTETS)
    return found or OCTETS
