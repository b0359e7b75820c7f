"""How statements get around: the sets compared on each link, what is missing asked for, news pushed on.

A digest of 32 bytes is compared on every new link and with each repair. What arrives is judged by the
shell first (signature and certificate, beside the event loop), and only then takes effect here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Effect, JudgeStatements, Log, Reject, Resolve, Send
from bellande_mesh_sync.core.events import AddStatements, StatementsJudged
from bellande_mesh_sync.core.messages import StatementDigest, StatementIds, Statements, StatementWant
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.kinds import fault_of
from bellande_mesh_sync.core.statements.statement import Judged, Statement, StatementId, id_of, size_of
from bellande_mesh_sync.ids import Now

JUDGED_MAX: Final = 1_024
"""Statements under judgement at once; what comes beyond is asked for again by the next comparison."""
REFUSED_KEPT_MAX: Final = 4_096
"""Ids of statements that do not hold, so that nobody can have the same one judged over and over."""
REFUSALS_PER_LINK_MAX: Final = 32
"""After so many that do not hold, nothing more of this kind is taken from a link."""
MESSAGE_BYTES_MAX: Final = 512 * 1024

AddedStatements = Callable[[Sequence[Judged], Now], list[Effect]]
"""What else to do when statements take effect."""


class StatementSpreading:
    def __init__(
        self, links: Links, counters: Counters, replica: Replica, book: StatementBook,
        on_added: AddedStatements,
    ) -> None:  # fmt: skip
        self.book = book
        self._links = links
        self._counters = counters
        self._replica = replica
        self._on_added = on_added
        self._judging: dict[StatementId, None] = {}
        self._refused: OrderedDict[StatementId, None] = OrderedDict()
        self._link_refusals: dict[int, int] = {}
        self._waiting: list[tuple[int, int]] = []
        """Commit and request of callers whose statements are not on the disk yet."""

    def __len__(self) -> int:
        """What waits for the shell or the disk."""
        return len(self._judging) + len(self._waiting)

    # -- comparing

    def compare(self, links: Iterable[Link]) -> list[Effect]:
        """Open a comparison. A mesh in which nothing was ever stated does not pay for it."""
        if not len(self.book):
            return []
        digest = StatementDigest(self.book.digest)
        return [Send(link.link, digest) for link in links]

    def handle_digest(self, link: Link, message: StatementDigest, now: Now) -> list[Effect]:
        if message.digest == self.book.digest:
            return []
        return [Send(link.link, StatementIds(self.book.ids()))]

    def handle_ids(self, link: Link, message: StatementIds, now: Now) -> list[Effect]:
        theirs = set(message.ids)
        lacking = [each for each in self.book.ids() if each not in theirs]
        wanted = [each for each in self.book.missing(message.ids) if not self._is_settled(each)]
        effects = self._send([link], self.book.statements(lacking))
        return [*effects, Send(link.link, StatementWant(tuple(wanted)))] if wanted else effects

    def handle_want(self, link: Link, message: StatementWant, now: Now) -> list[Effect]:
        return self._send([link], self.book.statements(message.ids))

    def _is_settled(self, statement: StatementId) -> bool:
        return statement in self._refused or statement in self._judging

    def _send(self, links: Sequence[Link], statements: Sequence[Statement]) -> list[Effect]:
        parts = [Statements(part) for part in _parts_of(statements)]
        return [Send(link.link, part) for link in links for part in parts]

    # -- arriving

    def handle_statements(self, link: Link, message: Statements, now: Now) -> list[Effect]:
        wanted: list[Statement] = []
        for statement in message.statements:
            name = id_of(statement)
            if name in self.book or self._is_settled(name):
                continue
            if self._link_refusals.get(link.link, 0) >= REFUSALS_PER_LINK_MAX or self._is_full():
                self._counters["statements_dropped"] += 1
                continue
            self._judging[name] = None
            wanted.append(statement)
        return [JudgeStatements(link.link, tuple(wanted))] if wanted else []

    def _is_full(self) -> bool:
        return len(self._judging) >= JUDGED_MAX

    def handle_judged(self, event: StatementsJudged, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for statement, reason in event.refused:
            effects += self._refuse(event.link, statement, reason)
        taken: list[Judged] = []
        for judged in event.judged:
            self._judging.pop(id_of(judged.statement), None)
            reason = fault_of(judged) or self.book.room_for(judged.statement)
            if reason:
                effects += self._refuse(event.link, judged.statement, reason)
            elif self.book.add(judged):
                taken.append(judged)
        return effects + self._took(taken, event.link, now)

    def _refuse(self, number: int, statement: Statement, reason: str) -> list[Effect]:
        name = id_of(statement)
        self._judging.pop(name, None)
        self._refused[name] = None
        if len(self._refused) > REFUSED_KEPT_MAX:
            self._refused.popitem(last=False)
        count = self._counters["statements_refused"] = self._counters["statements_refused"] + 1
        link = self._links.get(number)
        if link is not None:
            self._link_refusals[number] = self._link_refusals.get(number, 0) + 1
        if count & (count - 1):
            return []  # Each power of two: the first is always told, and a flood fills no disk with lines.
        sender = link.peer.hex() if link is not None else ""
        facts = {"kind": statement.kind, "reason": reason, "from": sender, "so far": count}
        return [Log("warning", "statement_refused", facts)]

    def _took(self, taken: Sequence[Judged], source: int, now: Now) -> list[Effect]:
        if not taken:
            return []
        self._replica.draft.statements += taken
        self._counters["statements_taken"] += len(taken)
        others = [link for link in self._links.records_links() if link.link != source]
        effects = self._send(others, [judged.statement for judged in taken])
        return effects + self._on_added(taken, now)

    # -- made here

    def add(self, command: AddStatements, now: Now) -> list[Effect]:
        """They take effect and spread at once; the answer comes when they are on this disk."""
        for judged in command.judged:
            reason = fault_of(judged) or self.book.room_for(judged.statement)
            if reason:
                return [Reject(command.request, "usage", {"reason": reason})]
        taken = [judged for judged in command.judged if self.book.add(judged)]
        if not taken:
            return [Resolve(command.request, None)]
        self._waiting.append((self._replica.next_commit, command.request))
        return self._took(taken, 0, now)

    # -- the disk, and links that end

    def committed(self, commit: int) -> list[Effect]:
        done = [request for number, request in self._waiting if number <= commit]
        self._waiting = [each for each in self._waiting if each[0] > commit]
        return [Resolve(request, None) for request in done]

    def commits_failed(self, code: str, reason: str) -> list[Effect]:
        """What the disk refused goes with the next batch; it is in effect here and elsewhere meanwhile."""
        waiting, self._waiting = self._waiting, []
        return [Reject(request, code, {"reason": reason}) for _, request in waiting]

    def link_gone(self, link: Link) -> None:
        self._link_refusals.pop(link.link, None)


def _parts_of(statements: Sequence[Statement]) -> Iterator[tuple[Statement, ...]]:
    """In messages that fit a frame."""
    part: list[Statement] = []
    size_bytes = 0
    for statement in statements:
        if part and size_bytes + size_of(statement) > MESSAGE_BYTES_MAX:
            yield tuple(part)
            part, size_bytes = [], 0
        part.append(statement)
        size_bytes += size_of(statement)
    if part:
        yield tuple(part)
