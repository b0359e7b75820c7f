"""The folder of what was damaged: kept for a person to look at, never read again by a node."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.ids import format_version
from bellande_mesh_sync.store.sqlite_rows import as_json

log = logging.getLogger(__name__)

FILES_MAX: Final = 1_000
BYTES_MAX: Final = 256 << 20
"""Beyond either, what is damaged is only counted and told, and not kept."""


class DamagedFolder:
    """`record-VERSION.bin`: a row's body as it was found. `chunk-HASH.bin`: a chunk's bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep_rows(self, connection: sqlite3.Connection, records: Mapping[int, DamagedRecord]) -> None:
        """Copy the bodies of these rows. Raises sqlite3.Error."""
        statement = "SELECT id, CAST(body AS BLOB) FROM records WHERE id IN (SELECT value FROM json_each(?))"
        for row_id, body in connection.execute(statement, (as_json(list(records)),)).fetchall():
            dot = records[row_id].dot
            self._keep(f"record-{format_version(dot.author, dot.sequence)}.bin", body or b"")

    def keep_chunk(self, chunk: bytes, body: bytes) -> None:
        self._keep(f"chunk-{chunk.hex()}.bin", body)

    def _keep(self, name: str, body: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sizes = [path.stat().st_size for path in self._folder.iterdir()]
            if len(sizes) < FILES_MAX and sum(sizes) + len(body) <= BYTES_MAX:
                (self._folder / name).write_bytes(body)
        except OSError as error:
            # It is a copy for a person; what counts is that it is no longer in its place.
            log.warning("%s could not be kept: %s", name, error)
