"""Updates on their way to everybody: each sent a bounded number of times, the unsent first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.messages import (
    ENVELOPE_BYTES,
    NOTICE_BYTES,
    SEAL_BYTES,
    VERDICT_BYTES,
    Body,
    Datagram,
    SleepNotice,
    Verdict,
)
from bellande_mesh_sync.ids import NodeId

Update: TypeAlias = Verdict | MemberRecord | SleepNotice
Key: TypeAlias = tuple[NodeId, int]
Waiting: TypeAlias = tuple[Update, int, int]
"""Update, bytes, times sent."""
_RECORD, _NOTICE, _DEATH, _SUSPICION = 0, 1, 2, 3
"""What of a member is waiting; suspicions take this number and those above it, one for each accuser."""
_HEADER_BYTES: Final = SEAL_BYTES + ENVELOPE_BYTES


class GossipQueue:
    """Newer updates push out older ones of the same kind about the same member.

    A record and a verdict about one member wait side by side, for the verdict means nothing to those
    who do not have the record; and so do the findings of different accusers, which confirm each other.
    """

    __slots__ = ("_config", "_fresh", "_kinds", "_sent", "dropped_count")

    def __init__(self, config: SwimConfig) -> None:
        self._config = config
        self._kinds = range(_DEATH, _SUSPICION + config.suspicion_mult)
        self._fresh: dict[Key, Waiting] = {}
        self._sent: dict[Key, Waiting] = {}
        """The one that waits longest first."""
        self.dropped_count = 0

    def __len__(self) -> int:
        return len(self._fresh) + len(self._sent)

    def add_record(self, record: MemberRecord, size_bytes: int) -> None:
        self.withdraw_verdicts(record.node)
        self._add((record.node, _RECORD), record, size_bytes)

    def add_notice(self, notice: SleepNotice) -> None:
        self.withdraw_verdicts(notice.node)
        self._add((notice.node, _NOTICE), notice, NOTICE_BYTES)

    def add_suspicion(self, verdict: Verdict, accuser: int) -> None:
        """The finding of the first, second, ... accuser (0, 1, ...)."""
        self._add((verdict.node, _SUSPICION + accuser), verdict, VERDICT_BYTES)

    def add_death(self, verdict: Verdict) -> None:
        self.withdraw_verdicts(verdict.node)
        self._add((verdict.node, _DEATH), verdict, VERDICT_BYTES)

    def withdraw_verdicts(self, node: NodeId) -> None:
        """What was found about this member is outdated."""
        for kind in self._kinds:
            self._fresh.pop((node, kind), None)
            self._sent.pop((node, kind), None)

    def withdraw(self, node: NodeId) -> None:
        """Nothing more is to be told of this member."""
        for kind in (_RECORD, _NOTICE):
            self._fresh.pop((node, kind), None)
            self._sent.pop((node, kind), None)
        self.withdraw_verdicts(node)

    def withdraw_all_verdicts(self) -> None:
        """What was found about anybody is not worth passing on. Cost: O(updates)."""
        for queue in (self._fresh, self._sent):
            for key in [key for key in queue if key[1] >= _DEATH]:
                del queue[key]

    def _add(self, key: Key, update: Update, size_bytes: int) -> None:
        self._sent.pop(key, None)
        self._fresh[key] = (update, size_bytes, 0)
        while len(self) > self._config.updates_max:
            queue = self._sent or self._fresh
            del queue[next(iter(queue))]
            self.dropped_count += 1

    def pack(
        self, body: Body, body_bytes: int, members: int, first: Sequence[Update] = (), first_bytes: int = 0
    ) -> tuple[Datagram, int]:
        """A datagram with `first` and as many waiting updates as fit: (datagram, its bytes at most)."""
        size = _HEADER_BYTES + body_bytes + first_bytes
        if not self._fresh and not self._sent:
            return (_datagram(body, first) if first else Datagram(body)), size
        updates = list(first)
        room = self._config.packet_bytes_max - size
        for key, waiting in self._take(room):
            update, size_bytes, sent = waiting
            size += size_bytes
            updates.append(update)
            if sent + 1 < self._config.transmissions_max(members):
                self._sent[key] = (update, size_bytes, sent + 1)
        return _datagram(body, updates), size

    def _take(self, room: int) -> list[tuple[Key, Waiting]]:
        """Take out those whose turn it is, of no more than `room` bytes."""
        taken: list[tuple[Key, Waiting]] = []
        for queue in (self._fresh, self._sent):
            start = len(taken)
            for key, waiting in queue.items():
                room -= waiting[1]
                if room < 0:
                    break
                taken.append((key, waiting))
            for key, _ in taken[start:]:
                del queue[key]
            if room < 0:
                break
        return taken


def _datagram(body: Body, updates: Sequence[Update]) -> Datagram:
    verdicts = tuple([update for update in updates if type(update) is Verdict])
    if len(verdicts) == len(updates):
        return Datagram(body, verdicts)
    return Datagram(
        body,
        verdicts,
        tuple([update for update in updates if type(update) is MemberRecord]),
        tuple([update for update in updates if type(update) is SleepNotice]),
    )
