"""A set of keys that is read in order, from anywhere, without a look at all of it."""

from __future__ import annotations

from collections.abc import Iterator

from bellande_mesh_sync.store.key_order import KeyOrder


class KeySet:
    """For one thread. About 100 bytes a key, which is shared with the index."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._order = KeyOrder(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def mark(self, key: str, *, is_in: bool) -> None:
        """Say what holds of a key now. Cost: O(1)."""
        if is_in == (key in self._keys):
            return
        if is_in:
            self._keys[key] = None
            self._order.added(key)
        else:
            del self._keys[key]
            self._order.removed(key)

    def prepare(self) -> None:
        """Sort now what a first scan would have to sort."""
        self._order.prepare()

    def scan(self, after: str = "") -> Iterator[str]:
        """Those above `after`, in code-point order. No writes while it is read."""
        return self._order.scan("", after)
