"""What clients do, how often, and to which keys: drawn by each seed, or written down by a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COUNTERS: Final = "sums"
"""The space of counters that `additions_per_s` goes to; nothing else does."""
ALL_ACKS: Final = (("local", 4.0), ("one", 2.0), ("quorum", 2.0), ("all", 1.0))


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    clients: int = 4
    requests_per_s: float = 3.0
    """Of all clients together. One write costs messages in the square of the nodes."""
    burst_s: float = 0.0
    """Mean seconds between two bursts; 0 for none."""
    burst_requests: int = 30
    roam_ratio: float = 0.3
    """How many requests go to any node, the others to the client's own."""
    hot_keys: int = 10
    hot_ratio: float = 0.7
    """How many requests are about the hot keys, the rest about keys of their own."""
    is_skewed: bool = True
    """The first hot keys get most; otherwise all get the same."""
    odd_key_ratio: float = 0.0
    """How many hot keys are not plain: other scripts, or as long as a key may be."""
    careful_ratio: float = 0.5
    """How many keys are only ever written with the context of a read, or an empty one."""
    read_ratio: float = 0.2
    note_ratio: float = 0.05
    batch_ratio: float = 0.1
    batch_max: int = 12
    twin_ratio: float = 0.2
    """How many writes of a batch are to the key of the one before."""
    styles: tuple[tuple[str, float], ...] = (
        ("implicit", 4),
        ("modify", 2),
        ("stale", 1),
        ("blind", 1),
        ("match", 2),
    )
    """What a write says of what it replaces: nothing; what the client has just read, or long ago; that
    it has seen nothing; or that a version must be the visible one."""
    delete_ratio: float = 0.15
    chunked_ratio: float = 0.03
    chunk_bytes: int = 20_000
    chunks_max: int = 5
    limit_ratio: float = 0.02
    """How many values are about as large as may stand inside a record."""
    equal_ratio: float = 0.0
    """How many values were written before, or are empty."""
    expiry_ratio: float = 0.0
    spaces: int = 2
    additions_per_s: float = 0.0
    """How often something is added to a counter, in a space of its own."""
    acks: tuple[tuple[str, float], ...] = ALL_ACKS
