"""Plain counters: cheap to raise in a core, read by whoever shows them."""

from __future__ import annotations

from collections import defaultdict


class Counters(defaultdict[str, int]):
    """Counts by name; a name springs to life at its first count."""

    def __init__(self) -> None:
        super().__init__(int)
