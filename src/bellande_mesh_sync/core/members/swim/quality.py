"""How well each member answers direct pings: round trip and loss, for those probed lately."""

from __future__ import annotations

_WINDOW = 32
"""Pings over which losses are counted: one bit each."""
_ALL = (1 << _WINDOW) - 1


class _Link:
    __slots__ = ("acked_ns", "count", "lost", "rtt_ns")

    def __init__(self) -> None:
        self.acked_ns = self.rtt_ns = -1
        self.lost = self.count = 0


class Quality:
    """By member index; of more than `members_max` the one probed longest ago is dropped."""

    __slots__ = ("_links", "_members_max")

    def __init__(self, members_max: int) -> None:
        self._members_max = members_max
        self._links: dict[int, _Link] = {}

    def answered(self, index: int, trip_ns: int, now_ns: int) -> None:
        link = self._touch(index)
        link.acked_ns = now_ns
        # As TCP smooths it (RFC 6298): one eighth of each new round trip.
        link.rtt_ns = trip_ns if link.rtt_ns < 0 else link.rtt_ns + (trip_ns - link.rtt_ns) // 8
        self._count(link, 0)

    def unanswered(self, index: int) -> None:
        self._count(self._touch(index), 1)

    def forget(self, index: int) -> None:
        self._links.pop(index, None)

    def of(self, index: int) -> tuple[int, int, float]:
        """When it last answered, the smoothed round trip, and the loss ratio; each -1 if unknown."""
        link = self._links.get(index)
        if link is None:
            return -1, -1, -1.0
        return link.acked_ns, link.rtt_ns, link.lost.bit_count() / link.count if link.count else -1.0

    def _touch(self, index: int) -> _Link:
        link = self._links.pop(index, None)
        if link is None:
            link = _Link()
            if len(self._links) >= self._members_max:
                del self._links[next(iter(self._links))]
        self._links[index] = link
        return link

    def _count(self, link: _Link, lost: int) -> None:
        link.lost = (link.lost << 1 | lost) & _ALL
        link.count = min(link.count + 1, _WINDOW)
