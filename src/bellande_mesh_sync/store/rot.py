"""Rot: records that were found damaged while they are still in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable

from bellande_mesh_sync.core.events import DamageFound
from bellande_mesh_sync.core.reader import DamagedRecord


def _nobody(found: DamageFound) -> None:
    """Until somebody listens."""


class Rot:
    """By row and by key. `note` may be called from any thread, and tells each find once."""

    def __init__(self) -> None:
        self.on_found: Callable[[DamageFound], None] = _nobody
        self._lock = threading.Lock()
        self._keys: dict[int, str] = {}
        self._rows: dict[str, set[int]] = {}

    def note(self, row_id: int, record: DamagedRecord) -> None:
        with self._lock:
            if row_id in self._keys:
                return
            self._keys[row_id] = record.key
            self._rows.setdefault(record.key, set()).add(row_id)
        self.on_found(DamageFound(records=(record,)))

    def remove(self, row_id: int) -> None:
        """The row has another record now, or none."""
        if not self._keys:
            return
        with self._lock:
            key = self._keys.pop(row_id, None)
            if key is not None:
                rows = self._rows[key]
                rows.discard(row_id)
                if not rows:
                    del self._rows[key]

    def remove_all(self, key: str) -> None:
        for row_id in list(self._rows.get(key, ())):
            self.remove(row_id)

    def has(self, key: str) -> bool:
        return key in self._rows
