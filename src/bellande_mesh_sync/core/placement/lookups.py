"""Lookups: reads of what this node does not hold. An owner is asked; if it may lack something, the next one.

The last resort is everybody in reach: what was just moved, or written by somebody cut off from the owners, is
with a node that is no owner (see release.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Effect, Reject, Resolve, Send, SetTimer
from bellande_mesh_sync.core.events import ReadKeys, ScanKeys
from bellande_mesh_sync.core.messages import ReadAnswer, ReadWant, ScanAnswer, ScanWant
from bellande_mesh_sync.core.placement.placement import Placement
from bellande_mesh_sync.core.placement.questions import KeyQuestion, ScanQuestion
from bellande_mesh_sync.core.placement.shards import placed_shard
from bellande_mesh_sync.core.placement.wholeness import Wholeness
from bellande_mesh_sync.core.reader import RecordReader
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.weight import weight_of
from bellande_mesh_sync.core.timers import LookupDue
from bellande_mesh_sync.ids import NodeId, Now, Shard

LOOKUPS_MAX: Final = 1_000
PATIENCE_NS: Final = 1_000_000_000
"""After this long without an answer another node is asked too."""
STRANGERS_MAX: Final = 64
"""Nodes asked at once that are no owners."""
ANSWER_BYTES_MAX: Final = 512 * 1024
KEYS_MAX: Final = 1_000
"""Keys in one question, and in one page of a listing."""


@dataclass(slots=True, eq=False)
class Lookup:
    question: KeyQuestion | ScanQuestion
    open: dict[int, None]
    """Items that nobody who knows has answered."""
    heard: dict[int, set[NodeId]] = field(default_factory=dict)
    tried: dict[int, set[NodeId]] = field(default_factory=dict)
    waiting: dict[int, tuple[NodeId, tuple[int, ...]]] = field(default_factory=dict)
    """By number: whom we have asked for what, and wait for."""
    late: dict[int, tuple[NodeId, tuple[int, ...]]] = field(default_factory=dict)
    """Those that we wait for no more; their answers still count."""
    has_asked_strangers: bool = False
    asks_all: bool = False
    """An owner that is sure does not end it."""


class Lookups:
    def __init__(
        self, config: CoreConfig, local: NodeId, placement: Placement, wholeness: Wholeness, links: Links,
        replica: Replica, reader: RecordReader, counters: Counters,
    ) -> None:  # fmt: skip
        self._config = config
        self._local = local
        self._placement = placement
        self._wholeness = wholeness
        self._links = links
        self._replica = replica
        self._reader = reader
        self._counters = counters
        self._lookups: dict[int, Lookup] = {}
        self._asked: dict[int, int] = {}
        """By number of a question on its way: which lookup it belongs to."""
        self._next_number = 1

    def __len__(self) -> int:
        return len(self._lookups)

    # -- asking

    def read(self, command: ReadKeys, now: Now) -> list[Effect]:
        if len(self._lookups) >= LOOKUPS_MAX:
            return [_busy(command.request)]
        shards = [self._placement.shard_of(key) for key in command.keys]
        until_ns = now.mono_ns + command.timeout_ns
        question = KeyQuestion(command.request, until_ns, command.keys, shards)
        held = self._replica.siblings(command.keys)
        lookup = Lookup(question, {}, asks_all=command.asks_all)
        for item, key in enumerate(command.keys):
            question.add_own(item, held[key])
            is_unknown = not self._knows(shards[item], now) or self._replica.is_damaged(key)
            if is_unknown or command.asks_all:
                lookup.open[item] = None
        return self._start(lookup, now)

    def scan(self, command: ScanKeys, now: Now) -> list[Effect]:
        if len(self._lookups) >= LOOKUPS_MAX:
            return [_busy(command.request)]
        placed = self._placement.spaces[command.space]
        until_ns = now.mono_ns + command.timeout_ns
        limit = min(command.limit, KEYS_MAX)
        question = ScanQuestion(
            command.request, until_ns, placed, command.prefix, command.after, limit
        )  # fmt: skip
        every = tuple(range(placed.shards))
        own = ScanWant(0, placed.space, placed.shards, every, command.prefix, command.after, limit)
        answer = self._scanned(own, now)
        question.add(answer)
        return self._start(Lookup(question, dict.fromkeys(answer.unsure)), now)

    def _knows(self, shard: Shard, now: Now) -> bool:
        return self._wholeness.is_whole(shard, now)

    def _start(self, lookup: Lookup, now: Now) -> list[Effect]:
        self._lookups[lookup.question.request] = lookup
        if lookup.open:
            self._counters["lookups"] += 1
        effects = self._advance(lookup, now)
        return effects + self._watch(lookup, now)

    def _watch(self, lookup: Lookup, now: Now) -> list[Effect]:
        request = lookup.question.request
        if request not in self._lookups:
            return []
        at_ns = min(lookup.question.until_ns, now.mono_ns + PATIENCE_NS)
        return [SetTimer(LookupDue(request), at_ns)]

    def due(self, request: int, now: Now) -> list[Effect]:
        """Who has not answered by now is passed over."""
        lookup = self._lookups.get(request)
        if lookup is None:
            return []
        if now.mono_ns >= lookup.question.until_ns:
            return self._finish(lookup)
        lookup.late.update(lookup.waiting)
        lookup.waiting.clear()
        return self._advance(lookup, now) + self._watch(lookup, now)

    def _advance(self, lookup: Lookup, now: Now) -> list[Effect]:
        """Ask the next owners, once those asked before have answered; then everybody; then that is it."""
        if not lookup.open:
            return self._finish(lookup)
        if lookup.waiting:
            return []
        batches = self._next_owners(lookup)
        if not batches and not lookup.has_asked_strangers:
            lookup.has_asked_strangers = True
            batches = self._strangers(lookup)
        if not batches:
            return self._finish(lookup) if not lookup.late else []
        return [effect for peer, items in batches.items() for effect in self._ask(lookup, peer, items)]

    def _next_owners(self, lookup: Lookup) -> dict[NodeId, list[int]]:
        """For each open item an owner that it was not asked of; rather one that is asked already."""
        batches: dict[NodeId, list[int]] = {}
        for item in lookup.open:
            tried = lookup.tried.setdefault(item, set())
            shard = lookup.question.shards[item]
            left = [
                owner
                for owner in (self._placement.owners(shard) if self._placement.is_placed(shard) else ())
                if owner != self._local and owner not in tried and self._links.to(owner) is not None
            ]
            if left:
                peer = next((owner for owner in left if owner in batches), left[0])
                batches.setdefault(peer, []).append(item)
        return batches

    def _strangers(self, lookup: Lookup) -> dict[NodeId, list[int]]:
        batches: dict[NodeId, list[int]] = {}
        for peer in self._links.linked_peers()[:STRANGERS_MAX]:
            items = [item for item in lookup.open if peer not in lookup.tried.setdefault(item, set())]
            if items:
                batches[peer] = items
        return batches

    def _ask(self, lookup: Lookup, peer: NodeId, items: list[int]) -> list[Effect]:
        link = self._links.to(peer)
        if link is None:
            return []
        for item in items:
            lookup.tried.setdefault(item, set()).add(peer)
        effects: list[Effect] = []
        at_once = len(items) if isinstance(lookup.question, ScanQuestion) else KEYS_MAX
        for start in range(0, len(items), at_once):
            part = tuple(items[start : start + at_once])
            number, self._next_number = self._next_number, self._next_number + 1
            self._asked[number] = lookup.question.request
            lookup.waiting[number] = (peer, part)
            effects.append(Send(link.link, lookup.question.want(number, part)))
        return effects

    # -- answers

    def _answered(self, link: Link, number: int) -> tuple[Lookup | None, tuple[int, ...]]:
        """The lookup that this answers, and which of its items; None if that peer was not asked."""
        lookup = self._lookups.get(self._asked.get(number, 0))
        found = None if lookup is None else lookup.waiting.get(number) or lookup.late.get(number)
        if lookup is None or found is None or found[0] != link.peer:
            return None, ()
        lookup.waiting.pop(number, None)
        lookup.late.pop(number, None)
        del self._asked[number]
        return lookup, found[1]

    def handle_read_answer(self, link: Link, answer: ReadAnswer, now: Now) -> list[Effect]:
        lookup, items = self._answered(link, answer.number)
        question = lookup.question if lookup is not None else None
        if lookup is None or not isinstance(question, KeyQuestion):
            return []
        question.add(link.peer, items, answer)
        told = min(len(items), len(answer.found))
        for item, is_sure in zip(items, answer.is_sure[:told], strict=False):
            self._heard(lookup, item, link.peer, is_sure=is_sure)
        effects: list[Effect] = []
        if told and (rest := [item for item in items[told:] if item in lookup.open]):
            effects = self._ask(lookup, link.peer, rest)  # They did not fit into one answer.
        return effects + self._advance(lookup, now)

    def handle_scan_answer(self, link: Link, answer: ScanAnswer, now: Now) -> list[Effect]:
        lookup, items = self._answered(link, answer.number)
        question = lookup.question if lookup is not None else None
        if lookup is None or not isinstance(question, ScanQuestion):
            return []
        question.add(answer)
        unsure = set(answer.unsure)
        for item in items:
            self._heard(lookup, item, link.peer, is_sure=item not in unsure)
        return self._advance(lookup, now)

    def _heard(self, lookup: Lookup, item: int, peer: NodeId, *, is_sure: bool) -> None:
        lookup.heard.setdefault(item, set()).add(peer)
        if is_sure and not lookup.asks_all:
            lookup.open.pop(item, None)

    def link_gone(self, link: Link, now: Now) -> list[Effect]:
        if self._links.to(link.peer) is not None:
            return []
        effects: list[Effect] = []
        for lookup in list(self._lookups.values()):
            for waiting in (lookup.waiting, lookup.late):
                for number in [number for number, (peer, _) in waiting.items() if peer == link.peer]:
                    del waiting[number]
                    self._asked.pop(number, None)
            effects += self._advance(lookup, now)
        return effects

    def _finish(self, lookup: Lookup) -> list[Effect]:
        question = lookup.question
        del self._lookups[question.request]
        for number in [*lookup.waiting, *lookup.late]:
            self._asked.pop(number, None)
        is_sure = [
            item not in lookup.open or self._have_all_answered(lookup, item)
            for item in range(len(question.shards))
        ]
        return [Resolve(question.request, question.result(is_sure))]

    def _have_all_answered(self, lookup: Lookup, item: int) -> bool:
        """No owner is sure, but each has said what it has, and so has everybody else in reach."""
        shard = lookup.question.shards[item]
        heard = lookup.heard.get(item, set()) | {self._local}
        owners = self._placement.owners(shard) if self._placement.is_placed(shard) else ()
        return not self._wholeness.is_minority and all(owner in heard for owner in owners)

    # -- answering

    def handle_read(self, link: Link, want: ReadWant, now: Now) -> list[Effect]:
        held = self._replica.siblings(want.keys)
        found: list[tuple[Record, ...]] = []
        is_sure: list[bool] = []
        size_bytes = 0
        for key in want.keys:
            size_bytes += sum(weight_of(record) for record in held[key])
            if found and size_bytes > ANSWER_BYTES_MAX:
                break
            found.append(held[key])
            is_sure.append(
                self._knows(self._placement.shard_of(key), now) and not self._replica.is_damaged(key)
            )
        self._counters["lookups_answered"] += 1
        return [Send(link.link, ReadAnswer(want.number, tuple(found), tuple(is_sure)))]

    def handle_scan(self, link: Link, want: ScanWant, now: Now) -> list[Effect]:
        placed = self._placement.spaces.get(want.space)
        if placed is None or placed.shards != want.count:
            return [Send(link.link, ScanAnswer(want.number, (), "", want.shards))]
        self._counters["lookups_answered"] += 1
        return [Send(link.link, self._scanned(want, now))]

    def _scanned(self, want: ScanWant, now: Now) -> ScanAnswer:
        """What this node holds of these shards, deletes too: somebody may still hold what was deleted."""
        shards = {placed_shard(want.space, want.count, index): index for index in want.shards}
        limit = min(want.limit, KEYS_MAX)
        keys = self._reader.scan_keys(want.prefix, want.after, limit)
        asked_for = [key for key in keys if self._placement.shard_of(key) in shards]
        held = self._replica.siblings(asked_for)
        records: list[Record] = []
        cursor = keys[-1] if len(keys) == limit else ""
        size_bytes = 0
        before = want.after
        for key in asked_for:
            size_bytes += sum(weight_of(record) for record in held[key])
            if records and size_bytes > ANSWER_BYTES_MAX:
                cursor = before
                break
            records += held[key]
            before = key
        damaged = tuple(key for key in asked_for if self._replica.is_damaged(key))
        unsure = tuple(index for shard, index in shards.items() if not self._wholeness.is_whole(shard, now))
        return ScanAnswer(want.number, tuple(records), cursor, unsure, damaged)


def _busy(request: int) -> Effect:
    return Reject(request, "busy", {"what": "the queue for reads at other nodes", "limit": f"{LOOKUPS_MAX}"})
