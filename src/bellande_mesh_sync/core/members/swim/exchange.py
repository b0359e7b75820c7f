"""State exchange, digest first: equal views cost one small packet, others what they differ in.

A: Digest ->  B, whose view is another: Buckets ->  A: Lines of the buckets that differ ->
B: Entries of what is newer there, and whom it would like to hear of ->  A: Entries of these
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bellande_mesh_sync.core.members.swim.messages import (
    SLEEP_S_MAX,
    Entries,
    Entry,
    Line,
    Lines,
    Standing,
)
from bellande_mesh_sync.core.members.swim.roster import BUCKETS
from bellande_mesh_sync.core.members.swim.view import ALIVE, ASLEEP, SUSPECT, UNKNOWN, View
from bellande_mesh_sync.ids import NodeId

ENTRIES_MAX: Final = 512
"""In one message: about 150 kB, at most 600 kB."""
WANTED_MAX: Final = 8_192
"""In one message: 280 kB."""
AGE_S_MAX: Final = 10 * SLEEP_S_MAX
"""No view keeps a member for longer than it sleeps and a while; any more is an error of a clock."""
ALL_BUCKETS: Final = b"\xff" * (BUCKETS // 8)
_SECOND_NS: Final = 1_000_000_000


def bits_of(buckets: Iterable[int]) -> bytes:
    bits = bytearray(BUCKETS // 8)
    for bucket in buckets:
        bits[bucket >> 3] |= 1 << (bucket & 7)
    return bytes(bits)


def buckets_in(bits: bytes) -> list[int]:
    return [bucket for bucket in range(BUCKETS) if bits[bucket >> 3] >> (bucket & 7) & 1]


def lines_of(view: View, buckets: list[int]) -> Lines:
    """What this view knows in these buckets. Cost: O(members in them)."""
    lines = []
    for bucket in buckets:
        for index in view.known_in(bucket):
            record = view.record(index)
            lines.append(Line(record.node, record.incarnation, settled(view.standings[index])))
    return Lines(bits_of(buckets), tuple(lines))


def answer(view: View, lines: Lines, now_ns: int) -> list[Entries]:
    """What the sender of `lines` lacks, and whom it knows better. Cost: O(members in the buckets)."""
    newer: list[int] = []
    wanted: list[NodeId] = []
    told: dict[int, None] = {}
    for line in lines.lines:
        index = view.roster.find(line.node)
        standing = view.standing(index)
        told[index] = None
        if standing == UNKNOWN:
            wanted.append(line.node)
            continue
        mine = (view.incarnation(index), settled(standing))
        if mine > (line.incarnation, line.standing):
            newer.append(index)
        elif mine < (line.incarnation, line.standing):
            wanted.append(line.node)
    for bucket in buckets_in(lines.buckets):
        newer += [index for index in view.known_in(bucket) if index not in told]
    return list(pages(view, newer, tuple(wanted), now_ns))


def pages(view: View, indexes: list[int], wanted: tuple[NodeId, ...], now_ns: int) -> Iterator[Entries]:
    """In messages that fit a frame, however large the records are."""
    count = max(-(-len(indexes) // ENTRIES_MAX), -(-len(wanted) // WANTED_MAX), 1)
    for page in range(count):
        some = indexes[page * ENTRIES_MAX : (page + 1) * ENTRIES_MAX]
        entries = tuple(entry_of(view, index, now_ns) for index in some)
        yield Entries(entries, wanted[page * WANTED_MAX : (page + 1) * WANTED_MAX])


def entry_of(view: View, index: int, now_ns: int) -> Entry:
    standing = settled(view.standings[index])
    age_s = 0 if standing == ALIVE else (now_ns - view.since_ns(index)) // _SECOND_NS
    notice = view.roster.notice(view.number(index)) if standing == ASLEEP else None
    return Entry(view.record(index), standing, min(max(age_s, 0), AGE_S_MAX), notice)


def entry_for_itself(view: View, index: int, now_ns: int) -> Entry:
    """What a member should hear of itself: also that it is suspected, which is no part of the views."""
    entry = entry_of(view, index, now_ns)
    if view.standings[index] != SUSPECT:
        return entry
    return Entry(entry.record, SUSPECT, 0, None)


def settled(standing: int) -> int:
    """A suspicion is not part of what views must agree on: it ends by itself."""
    return ALIVE if standing == SUSPECT else standing


def is_standing(number: int) -> bool:
    return Standing.ALIVE <= number <= Standing.REMOVED
