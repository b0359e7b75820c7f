"""The work of `bms import`: send what a walk finds, small files in batches, each large one by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from bellande_mesh_sync.cli.reading import FileChangedError, NotAFileError, SteadyFile, guess_type
from bellande_mesh_sync.cli.walk import Found, Problem, Walk, unreadable
from bellande_mesh_sync.client import Client, ImportItem
from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ForbiddenError,
    NotRunningError,
    StorageError,
    TransportError,
    UnauthorizedError,
)

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.folders import Tally
    from bellande_mesh_sync.cli.progress import Advance

SMALL_BYTES_MAX = 256 << 10
"""Up to this a file goes through the bulk door, where many share one commit; it is read whole first."""

BATCH_FILES_MAX = 1000
BATCH_BYTES_MAX = 32 << 20

# After these no other file would fare better.
_HOPELESS = (TransportError, UnauthorizedError, ForbiddenError, NotRunningError, StorageError)


class _Sent(NamedTuple):
    path: str
    size: int


class _Large(NamedTuple):
    """A file that ended a batch, open and not yet sent."""

    found: Found
    file: BinaryIO
    steady: SteadyFile


class Importer:
    """Sends a walk's files one batch after the other; memory is bounded by a batch."""

    def __init__(self, client: Client, tally: Tally, advance: Advance, options: dict[str, Any]) -> None:
        self._client = client
        self._tally = tally
        self._advance = advance
        self._options = options
        self._sent: dict[str, _Sent] = {}
        """By key: the batch under way, not yet answered."""
        self._large: _Large | None = None
        self._is_done = False

    def run(self, walk: Walk) -> None:
        """Send everything. BellandeMeshError if no more can be sent; other failures go to the tally."""
        items = iter(walk)
        while not self._is_done:
            self._sent.clear()
            for result in self._client.import_items(self._batch(items), **self._options):
                self._note(result.key, self._sent[result.key], result.error)
            if self._large is not None:
                large, self._large = self._large, None
                with large.file:
                    self._send_large(large.found, large.steady)

    def _batch(self, items: Iterator[Found | Problem]) -> Iterator[ImportItem]:
        """Small files, read as they are asked for, until a large one, a full batch or the end of the walk."""
        size = 0
        while len(self._sent) < BATCH_FILES_MAX and size < BATCH_BYTES_MAX:
            item = next(items, None)
            if item is None:
                self._is_done = True
                return
            if isinstance(item, Problem):
                self._tally.fail(item.path, item.code, item.reason)
                continue
            content = self._read(item)
            if self._large is not None:
                return
            if content is not None:
                size += len(content)
                self._sent[item.key] = _Sent(item.path, len(content))
                yield ImportItem(item.key, content, guess_type(item.name))
                self._advance(0, len(content))

    def _read(self, found: Found) -> bytes | None:
        """A small file's bytes. None if it cannot be read, or is large and now waits in `_large`."""
        try:
            file = os.fdopen(found.open(), "rb", buffering=0)
            try:
                steady = SteadyFile(file, found.path)
                if steady.size > SMALL_BYTES_MAX:
                    self._large = _Large(found, file, steady)
                    return None
                return steady.whole()
            finally:
                if self._large is None:
                    file.close()
        except OSError as error:
            problem = unreadable(found.path, error)
            self._tally.fail(problem.path, problem.code, problem.reason)
        except (FileChangedError, NotAFileError) as error:
            self._tally.fail(found.path, error.code, str(error))
        return None

    def _send_large(self, found: Found, steady: SteadyFile) -> None:
        error: BellandeMeshError | None = None
        try:
            self._client.put(
                found.key,
                steady.pieces(self._advance),
                size=steady.size,
                content_type=guess_type(found.name),
                **self._options,
            )
        except _HOPELESS:
            raise
        except OSError as failure:
            problem = unreadable(found.path, failure)
            self._tally.fail(problem.path, problem.code, problem.reason)
            return
        except BellandeMeshError as failure:
            error = failure
        self._note(found.key, _Sent(found.path, steady.size), error)

    def _note(self, key: str, sent: _Sent, error: BellandeMeshError | None) -> None:
        if error is None:
            self._tally.add(sent.size)
            self._advance(1, 0)
        else:
            self._tally.fail(sent.path, error.code, str(error))


def measure(walk: Walk) -> tuple[int, int]:
    """Count the files and their bytes, for a bar that knows where it will end."""
    files = size = 0
    for item in walk:
        if isinstance(item, Found):
            try:
                size += item.size()
            except OSError:
                continue  # Gone again; the walk that counts will tell.
            files += 1
    return files, size
