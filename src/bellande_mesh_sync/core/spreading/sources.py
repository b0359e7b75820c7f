"""Sources of chunks: what each peer has been asked for, and what it has yet to be asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.data.record import ChunkRef

GIVEN_MAX: Final = 4096
"""Chunks that change queues at once; the next time there are more."""
LOOKS_MAX: Final = 64
"""Chunks looked at that cannot be given, before it is given up."""


@dataclass(slots=True, eq=False)
class Source:
    """What is asked of one peer."""

    queue: deque[ChunkRef] = field(default_factory=deque)
    queue_bytes: int = 0
    in_flight: dict[bytes, int] = field(default_factory=dict)
    in_flight_bytes: int = 0
    link: int = 0
    """The link that the chunks in flight come over; 0: none is open yet."""
    mark: int = 0
    is_watched: bool = False
    ahead_bytes: int = 0
    """Of chunks fetched ahead since the last record with chunks came from it."""

    def add(self, chunk: ChunkRef) -> None:
        self.queue.append(chunk)
        self.queue_bytes += chunk.size

    def take(self) -> ChunkRef:
        chunk = self.queue.popleft()
        self.queue_bytes -= chunk.size
        return chunk

    def keep(self, is_wanted: Callable[[ChunkRef], bool]) -> None:
        """Forget what has yet to be asked for, less what is wanted. Cost: O(the queue)."""
        self.queue = deque(chunk for chunk in self.queue if is_wanted(chunk))
        self.queue_bytes = sum(chunk.size for chunk in self.queue)

    def give_half(self, other: Source, may_give: Callable[[ChunkRef], bool]) -> int:
        """Move the later half of the queue, in bytes, to the front of another source's; how many chunks.

        Those that may not be given stay where they are. Cost: O(GIVEN_MAX).
        """
        half_bytes = self.queue_bytes // 2
        kept: list[ChunkRef] = []
        moved = moved_bytes = 0
        while self.queue and moved_bytes < half_bytes and moved < GIVEN_MAX and len(kept) < LOOKS_MAX:
            chunk = self.queue.pop()
            if may_give(chunk):
                other.queue.appendleft(chunk)
                moved += 1
                moved_bytes += chunk.size
            else:
                kept.append(chunk)
        self.queue.extend(reversed(kept))
        self.queue_bytes -= moved_bytes
        other.queue_bytes += moved_bytes
        return moved
