"""Which keys are in conflict now: counted by space, and listed in order without a look at the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.store.key_order import KeyOrder


class ConflictKeys:
    """A set of keys with a count for each space. For one thread."""

    def __init__(self) -> None:
        self.keys: dict[str, None] = {}
        """To look into; `mark` changes it."""
        self._order = KeyOrder(self.keys)
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there are in each space that has any."""
        return self._counts

    def mark(self, key: str, *, in_conflict: bool) -> None:
        """Say what holds of a key now. Cost: O(1)."""
        if in_conflict == (key in self.keys):
            return
        space = space_of(key)
        if in_conflict:
            self.keys[key] = None
            self._counts[space] = self._counts.get(space, 0) + 1
            self._order.added(key)
            return
        del self.keys[key]
        self._counts[space] -= 1
        if not self._counts[space]:
            del self._counts[space]
        self._order.removed(key)

    def prepare(self) -> None:
        """Sort now what a first scan would have to sort."""
        self._order.prepare()

    def scan(self, prefix: str, after: str = "") -> Iterator[str]:
        """Those that start with `prefix`, above `after`, in code-point order. No writes while it is read."""
        return self._order.scan(prefix, after)
