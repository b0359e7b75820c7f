"""Which sibling a reader sees: pure functions of the sibling set, so every node picks the same."""

from __future__ import annotations

from collections.abc import Sequence

from bellande_mesh_sync.core.data.record import Record, order_of


def last_writer(siblings: Sequence[Record]) -> Record | None:
    """`lww`: the sibling with the latest stamp; the others stay beside it until a write that saw them."""
    return max(siblings, key=order_of, default=None)


def visible(siblings: Sequence[Record], wall_ms: int) -> Record | None:
    """What a reader sees: the winner, or None if that is a tombstone or has expired."""
    winner = last_writer(siblings)
    if winner is None or winner.is_tombstone:
        return None
    if winner.expires_ms and winner.expires_ms <= wall_ms:
        return None
    return winner
