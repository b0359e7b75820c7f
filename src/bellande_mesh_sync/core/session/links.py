"""The links a core knows: one for records to each peer, and one for chunks where needed."""

from __future__ import annotations

from dataclasses import dataclass

from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE
from bellande_mesh_sync.ids import NodeId

CROSSED_DIALS_NS = 10_000_000_000
"""Two links to one peer that open within this time, one from each end, are dials that crossed."""


@dataclass(slots=True, eq=False)
class Link:
    """One open link."""

    link: int
    peer: NodeId
    lane: int
    boot: bytes
    address: str
    is_outbound: bool
    opened_ns: int
    last_heard_ns: int
    credit: int
    """Bytes of records that the peer still accepts."""
    rtt_ns: int = -1
    ping_number: int = 0
    ping_sent_ns: int = 0
    used_ns: int = 0
    """When it last carried something but signs of life."""
    doubted_ns: int = 0
    """An address has changed at one end: when that was, until something comes over it again."""
    owed: int = 0
    """Bytes of records dealt with for which the peer has not been given credit yet."""

    @property
    def is_doubted(self) -> bool:
        """Whether an address has changed at one end, and nothing came over it since."""
        return 0 < self.doubted_ns >= self.last_heard_ns


class Links:
    """Which links are open, and which of two to one peer stays."""

    def __init__(self, local: NodeId) -> None:
        self._local = local
        self.healthy_ns = 10_000_000_000
        """A link that was heard so recently is not lost. Less than the silence that ends a link."""
        self._by_number: dict[int, Link] = {}
        self._records: dict[NodeId, Link] = {}
        self._chunks: dict[NodeId, list[Link]] = {}

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Link | None:
        return self._by_number.get(number)

    def to(self, peer: NodeId) -> Link | None:
        """The link for control and records to this peer."""
        return self._records.get(peer)

    def for_chunks(self, peer: NodeId) -> Link | None:
        lanes = self._chunks.get(peer)
        return lanes[0] if lanes else None

    def chunk_lanes(self, peer: NodeId) -> list[Link]:
        return list(self._chunks.get(peer, ()))

    def longest_silent_chunk_lane(self) -> Link | None:
        """The first to go when there are too many links."""
        lanes = (lane for lanes in self._chunks.values() for lane in lanes)
        return min(lanes, key=lambda lane: lane.last_heard_ns, default=None)

    def longest_unused(self, idle_ns: int, now_ns: int) -> Link | None:
        """The link for records that was used least recently, if that is at least `idle_ns` ago."""
        least = min(self._records.values(), key=lambda link: link.used_ns, default=None)
        return least if least is not None and now_ns - least.used_ns >= idle_ns else None

    def records_links(self) -> list[Link]:
        """One link a peer, in the order in which they opened."""
        return list(self._records.values())

    def all_links(self) -> list[Link]:
        return list(self._by_number.values())

    def linked_peers(self) -> tuple[NodeId, ...]:
        return tuple(sorted(self._records))

    def add(self, link: Link) -> Link | None:
        """Take in a new link; return the one to hang up because of it (perhaps itself), if any."""
        if link.lane == CHUNKS_LANE:
            self._by_number[link.link] = link
            self._chunks.setdefault(link.peer, []).append(link)
            return None
        other = self._records.get(link.peer)
        if other is not None and not self._replaces(link, other):
            return link
        if other is not None:
            self.remove(other.link)
        self._by_number[link.link] = link
        self._records[link.peer] = link
        return other

    def remove(self, number: int) -> Link | None:
        link = self._by_number.pop(number, None)
        if link is None:
            return None
        if link.lane == RECORDS_LANE and self._records.get(link.peer) is link:
            del self._records[link.peer]
        elif link.lane == CHUNKS_LANE:
            lanes = self._chunks[link.peer]
            lanes.remove(link)
            if not lanes:
                del self._chunks[link.peer]
        return link

    def _replaces(self, new: Link, old: Link) -> bool:
        """Both ends must come to the same answer without asking each other.

        When both have dialled at once, the link dialled by the smaller node id stays. Otherwise a link
        that works stays: the new one may be a dial of an address of which nobody knew who is there. Only
        a restarted peer, or one of which nothing is heard any more, no longer knows the old link.
        """
        if new.boot != old.boot:
            return True
        is_crossing = new.opened_ns - old.opened_ns <= CROSSED_DIALS_NS
        if is_crossing and new.is_outbound != old.is_outbound:
            return new.is_outbound == (self._local < new.peer)
        return old.is_doubted or new.opened_ns - old.last_heard_ns > self.healthy_ns
