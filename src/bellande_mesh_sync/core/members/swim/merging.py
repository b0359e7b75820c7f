"""Keeping views equal and parts together: exchanges with the live, new tries with the dead, joining."""

from __future__ import annotations

import random
from itertools import islice
from typing import Final

from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram, SendStream, SetTimer, SwimEffect
from bellande_mesh_sync.core.members.swim.exchange import (
    ALL_BUCKETS,
    answer,
    is_standing,
    lines_of,
    pages,
)
from bellande_mesh_sync.core.members.swim.gossip import Update
from bellande_mesh_sync.core.members.swim.messages import (
    DIGEST_BYTES,
    VERDICT_BYTES,
    Buckets,
    Digest,
    Entries,
    Line,
    Lines,
)
from bellande_mesh_sync.core.members.swim.timers import ExchangeDue, HealDue
from bellande_mesh_sync.core.members.swim.view import ALIVE, DEAD, REMOVED
from bellande_mesh_sync.ids import NodeId

GOSSIPED_MAX: Final = 32
"""News from one exchange that are gossiped on; more of them travel by more exchanges."""
REMOVED_DIALLED: Final = 8
"""Of so many tries of a removed member one is made over a link."""
FORGOTTEN_MAX: Final = 16
"""Down members looked at in one round of healing, to see whether to forget them."""


class Merging:
    """State exchange and healing. Effects go to the list that the whole membership shares."""

    def __init__(
        self, config: SwimConfig, beliefs: Beliefs, seeds: tuple[str, ...], rng: random.Random,
        out: list[SwimEffect],
    ) -> None:  # fmt: skip
        self._config = config
        self._beliefs = beliefs
        self._view = beliefs.view
        self.seeds = seeds
        self._rng = rng
        self._out = out
        self._mark = 0
        self._exchange_due_ns = 0
        self._answers_left = config.answers_max
        self._forget_place = 0

    def start(self, run: int, now_ns: int) -> None:
        if self._view.live_count > 1 and not self._beliefs.gossip:
            self._set_exchange(now_ns, int(self._rng.random() * self._config.exchange_interval_ns))
        else:
            self._set_exchange(now_ns, self._soon_ns())
        self.heal_due(run, now_ns)

    def new_period(self) -> None:
        self._answers_left = self._config.answers_max

    # -- exchanges

    def exchange_soon(self, now_ns: int) -> None:
        if self._exchange_due_ns > now_ns + 2 * self._config.exchange_soon_ns:
            self._set_exchange(now_ns, self._soon_ns())

    def exchange_due(self, timer: ExchangeDue, now_ns: int) -> None:
        if timer.mark != self._mark or self._beliefs.ourselves.is_parting:
            return
        for index in self._view.choose_live(self._rng, 1, self._beliefs.own_index):
            self._send_digest(index)
        self._set_exchange(now_ns, self._jittered(self._config.exchange_interval_ns))

    def _set_exchange(self, now_ns: int, delay_ns: int) -> None:
        self._mark += 1
        self._exchange_due_ns = now_ns + delay_ns
        self._out.append(SetTimer(ExchangeDue(self._exchange_due_ns, self._mark)))

    def _soon_ns(self) -> int:
        return int((1 + self._rng.random()) * self._config.exchange_soon_ns)

    def _jittered(self, delay_ns: int) -> int:
        return int(delay_ns * (0.8 + 0.4 * self._rng.random()))

    def _send_digest(self, index: int) -> None:
        verdict = self._beliefs.against(index)
        first: tuple[Update, ...] = () if verdict is None else (verdict,)
        digest = Digest(self._view.fingerprint())
        datagram, size = self._beliefs.gossip.pack(
            digest, DIGEST_BYTES, self._view.live_count, first, VERDICT_BYTES * len(first)
        )
        self._out.append(SendDatagram(self._view.roster.nodes[index], datagram, size))

    def begin_with(self, node: NodeId, is_alone: bool) -> None:
        """Exchange with the other end of a link that was just opened."""
        self._out.append(SendStream(node, self._first_message(is_alone)))

    def _first_message(self, is_alone: bool) -> Digest | Lines:
        """A node that knows nobody asks for everything at once."""
        if not is_alone:
            return Digest(self._view.fingerprint())
        own = self._beliefs.own
        return Lines(ALL_BUCKETS, (Line(own.node, own.incarnation, ALIVE),))

    def handle(self, sender: NodeId, message: Digest | Buckets | Lines | Entries, now_ns: int) -> None:
        if self._beliefs.ourselves.is_parting:
            return
        match message:
            case Digest():
                self.handle_digest(sender, message)
            case Buckets():
                if message.verdict is not None:
                    self._beliefs.apply_verdict(message.verdict, now_ns)
                unlike = self._view.buckets_unlike(message.sums)
                if unlike:
                    self._out.append(SendStream(sender, lines_of(self._view, unlike)))
            case Lines():
                if self._may_answer():
                    for page in answer(self._view, message, now_ns):
                        self._out.append(SendStream(sender, page))
            case Entries():
                self._handle_entries(sender, message, now_ns)

    def handle_digest(self, sender: NodeId, digest: Digest) -> None:
        if self._beliefs.ourselves.is_parting or digest.fingerprint == self._view.fingerprint():
            return
        if self._may_answer():
            verdict = self._beliefs.against(self._view.roster.find(sender))
            self._out.append(SendStream(sender, Buckets(self._view.sums(), verdict)))

    def _may_answer(self) -> bool:
        self._answers_left -= 1
        return self._answers_left >= 0

    def _handle_entries(self, sender: NodeId, message: Entries, now_ns: int) -> None:
        spread = len(message.entries) <= GOSSIPED_MAX
        is_news = False
        for entry in message.entries:
            if is_standing(entry.standing):
                is_news |= self._beliefs.apply_entry(entry, now_ns, spread=spread)
        if is_news:
            self.exchange_soon(now_ns)
        known = [self._view.roster.find(node) for node in message.wanted]
        indexes = [index for index in known if self._view.standing(index)]
        if indexes:
            for page in pages(self._view, indexes, (), now_ns):
                self._out.append(SendStream(sender, page))

    # -- healing

    def heal_due(self, run: int, now_ns: int) -> None:
        """Try some of the dead and removed and, if anyone is missing, a seed."""
        is_alone = self._view.live_count < 2
        for index in self._some_gone():
            self._send_digest(index)
            if self._view.standings[index] == REMOVED:
                self._call_removed(index)
        if self.seeds and (is_alone or self._view.down):
            seed = self.seeds[int(self._rng.random() * len(self.seeds))]
            self._out.append(SendStream(seed, self._first_message(is_alone)))
        self._beliefs.miss_sleepers(now_ns)
        self._forget_some(now_ns)
        pause_ns = self._config.join_retry_ns if is_alone else self._config.heal_interval_ns
        self._out.append(SetTimer(HealDue(now_ns + self._jittered(pause_ns), run)))

    def _call_removed(self, index: int) -> None:
        """Over a link, now and then: nobody else dials it, and it may have no key for our datagrams."""
        if self._rng.random() * REMOVED_DIALLED < 1:
            self.begin_with(self._view.roster.nodes[index], is_alone=False)

    def _some_gone(self) -> list[int]:
        """Dead, or removed while they were: a split may have made them so, and then only we can find out."""
        down = self._view.down
        chosen: dict[int, dict[int, None]] = {DEAD: {}, REMOVED: {}}
        for _ in range(4 * self._config.heal_count if down else 0):
            index = down.choose(self._rng)
            some = chosen.get(self._view.standings[index])
            if some is not None:
                some[index] = None
        return [index for some in chosen.values() for index in islice(some, self._config.heal_count)]

    def _forget_some(self, now_ns: int) -> None:
        down = self._view.down
        for _ in range(min(FORGOTTEN_MAX, len(down))):
            self._forget_place = (self._forget_place + 1) % len(down)
            index = down[self._forget_place]
            if self._beliefs.is_outdated(index, now_ns):
                self._beliefs.forget(index)
                if not down:
                    break
