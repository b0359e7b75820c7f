"""Messages between programs, as programs see them: sent by somebody, to whom they came, and once."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.history import NoteAsked, NoteHeard, NoteSent


class NoteOracle:
    """What was asked and what was heard; no two messages of a run have the same body."""

    def __init__(self, nodes: Mapping[str, int], liars: AbstractSet[int]) -> None:
        self.told_count = 0
        """Copies that senders were told went out."""
        self.heard_count = 0
        self._nodes = nodes
        self._liars = liars
        self._asked: dict[bytes, NoteAsked] = {}
        self._open: dict[int, NoteAsked] = {}
        self._untold: set[bytes] = set()
        """Bodies whose sender never learnt on how many links they went out."""
        self._heard: dict[bytes, set[int]] = {}
        self._told: dict[bytes, int] = {}

    def asked(self, note: NoteAsked) -> None:
        self._asked[note.body] = self._open[note.request] = note

    def sent(self, fact: NoteSent) -> None:
        note = self._open.pop(fact.request)
        most = 1 if note.to is not None else len(self._nodes) - 1
        if not 0 <= fact.count <= most:
            raise Violation(
                "notes", f"n{note.node}", f"{note.body!r} went out on {fact.count} links of {most}"
            )
        self.told_count += fact.count
        self._told[note.body] = fact.count
        heard = len(self._heard.get(note.body, ()))
        if heard > fact.count:
            self._tell_too_many(note, heard)

    def unknown(self, request: int) -> None:
        self._untold.add(self._open.pop(request).body)

    def heard(self, fact: NoteHeard) -> None:
        self.heard_count += 1
        note = self._asked.get(fact.body)
        sender = self._nodes.get(fact.sender, -1)
        where = f"n{fact.node}"
        if note is None:
            if sender in self._liars:
                return
            raise Violation("notes", where, f"{fact.body!r} came, and nobody sent it")
        if sender != note.node:
            raise Violation("notes", where, f"{fact.body!r} came from n{sender}, and n{note.node} sent it")
        if note.to not in (None, fact.node):
            raise Violation("notes", where, f"{fact.body!r} came, and was sent to n{note.to}")
        heard = self._heard.setdefault(fact.body, set())
        if fact.node in heard:
            raise Violation("notes", where, f"{fact.body!r} came twice")
        heard.add(fact.node)
        if len(heard) > self._told.get(fact.body, len(self._nodes)):
            self._tell_too_many(note, len(heard))

    def _tell_too_many(self, note: NoteAsked, heard: int) -> None:
        told = self._told[note.body]
        raise Violation(
            "notes", f"n{note.node}", f"{note.body!r} went out on {told} links and was heard by {heard} nodes"
        )

    def check_ledger(self, sent_count: int, lost: Mapping[str, int]) -> None:
        """Nothing is under way any more: all that was sent was heard, or is counted as lost."""
        lost_count = sum(lost.values())
        if sent_count != self.heard_count + lost_count:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(lost.items())) or "none"
            text = f"{sent_count} were sent, {self.heard_count} heard and {lost_count} lost ({why})"
            raise Violation("notes_ledger", "", text)
        # Who died before it said how many may have sent to everybody, or to nobody.
        more_max = len(self._untold) * (len(self._nodes) - 1)
        if not self.told_count <= sent_count <= self.told_count + more_max:
            text = f"senders were told of {self.told_count} copies, {sent_count} went out"
            raise Violation("notes_ledger", "", text)
