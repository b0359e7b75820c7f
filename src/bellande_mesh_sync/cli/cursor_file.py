"""The file in which `bms watch` keeps how far it has come."""

from __future__ import annotations

from pathlib import Path

from bellande_mesh_sync.files import write_atomic

CURSOR_BYTES_MAX = 1 << 20


class CursorFile:
    """Written after the changes that it stands for were printed; replaced as a whole, so never torn."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def read(self) -> str | None:
        """The cursor in it; None if there is no such file yet. Raises OSError."""
        try:
            with self._path.open(encoding="ascii", errors="replace") as file:
                return file.read(CURSOR_BYTES_MAX).strip()
        except FileNotFoundError:
            return None

    def write(self, cursor: str) -> None:
        """Raises OSError."""
        write_atomic(self._path, cursor.encode() + b"\n", durable=False)
