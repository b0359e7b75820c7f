"""Best-effort messages from program to program: over a link, or over a neighbour that has one."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import Deliver, Effect, Reject, Resolve, Send, SetTimer
from bellande_mesh_sync.core.events import SendNote
from bellande_mesh_sync.core.members.membership import Membership
from bellande_mesh_sync.core.messages import Note, ReachAnswer, ReachWant, RelayedNote
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.timers import NoteOverdue
from bellande_mesh_sync.ids import NodeId, Now

WAIT_NS = 5_000_000_000
"""So long a note waits for a link or a neighbour that has one."""
NEIGHBOURS_ASKED = 8
WAITING_MAX = 1_024
ROUTE_NS = 5_000_000_000
"""So long a neighbour that had a link is taken to have it still."""

RECENT_MAX = 4_096

_encode = msgspec.msgpack.Encoder().encode


@dataclass(slots=True, eq=False)
class Waiting:
    """A note for a member that we have no link with."""

    command: SendNote
    target: NodeId
    asked: list[int]
    """Links of the neighbours that have not answered yet."""


class Notes:
    """Sends each note at most once, and over at most one neighbour: so it cannot come twice."""

    def __init__(self, me: LocalNode, links: Links, membership: Membership, counters: Counters) -> None:
        self._me = me
        self._links = links
        self._membership = membership
        self._counters = counters
        self._waiting: dict[int, Waiting] = {}
        self._routes: dict[NodeId, tuple[NodeId, int]] = {}
        """Target -> a neighbour that had a link with it, and when it said so."""
        self._recent: dict[bytes, None] = {}
        """Senders and ids of notes that came over neighbours."""

    def __len__(self) -> int:
        return len(self._waiting)

    # -- sending

    def send(self, command: SendNote, now: Now) -> list[Effect]:
        if command.to is None:
            links = self._links.records_links()
            for link in links:
                link.used_ns = now.mono_ns
            self._counters["notes_sent"] += len(links)
            note = Note(command.id, command.topic, command.body)
            return [*(Send(link.link, note) for link in links), Resolve(command.request, len(links))]
        direct = self._links.to(command.to)
        if direct is not None:
            return self._send_over(direct, command, now)
        return self._look_for_a_way(command, command.to, now)

    def _send_over(self, link: Link, command: SendNote, now: Now) -> list[Effect]:
        link.used_ns = now.mono_ns
        self._counters["notes_sent"] += 1
        note = Note(command.id, command.topic, command.body)
        return [Send(link.link, note), Resolve(command.request, 1)]

    def _look_for_a_way(self, command: SendNote, target: NodeId, now: Now) -> list[Effect]:
        """Ask neighbours, and dial it ourselves meanwhile."""
        if target == self._me.node:
            return self._unroutable(command, target, "it is this node itself")
        if target == self._me.node:
            return self._unroutable(command, target, "it is this node itself")
        if not self._membership.directory.is_live(target):
            return self._unroutable(command, target, "it is not there")
        relay = self._relay_for(target, now)
        if relay is not None:
            return self._send_through(relay, command, target, now)
        if len(self._waiting) >= WAITING_MAX:
            return [Reject(command.request, "busy", {"what": "the queue for messages", "limit": WAITING_MAX})]
        neighbours = self._links.records_links()[-NEIGHBOURS_ASKED:]
        asked = [link.link for link in neighbours]
        self._waiting[command.request] = Waiting(command, target, asked)
        self._membership.want_link(target)
        want = ReachWant(command.request, target)
        return [
            *(Send(link.link, want) for link in neighbours),
            SetTimer(NoteOverdue(command.request), now.mono_ns + WAIT_NS),
        ]

    def _relay_for(self, target: NodeId, now: Now) -> Link | None:
        relay, since_ns = self._routes.get(target, (target, 0))
        if relay == target or now.mono_ns - since_ns > ROUTE_NS:
            self._routes.pop(target, None)
            return None
        return self._links.to(relay)

    def _send_through(self, link: Link, command: SendNote, target: NodeId, now: Now) -> list[Effect]:
        link.used_ns = now.mono_ns
        self._counters["notes_sent"] += 1
        self._counters["notes_sent_over_neighbours"] += 1
        source = self._me.node
        signature = self._me.sign(signed_bytes(source, target, command.id, command.topic, command.body))
        relayed = RelayedNote(source, target, command.id, command.topic, command.body, signature)
        return [Send(link.link, relayed), Resolve(command.request, 1)]

    def _unroutable(self, command: SendNote, target: NodeId, why: str) -> list[Effect]:
        self._counters["notes_unroutable"] += 1
        address = self._membership.directory.name_of(target)
        reason = f"no link with it is open, and {why}"
        return [Reject(command.request, "unreachable", {"address": address, "reason": reason})]

    # -- waiting

    def link_opened(self, link: Link, now: Now) -> list[Effect]:
        """What waited for this peer goes out."""
        self._routes.pop(link.peer, None)
        effects: list[Effect] = []
        for request, waiting in list(self._waiting.items()):
            if waiting.target == link.peer:
                del self._waiting[request]
                effects += self._send_over(link, waiting.command, now)
        return effects

    def handle_answer(self, link: Link, answer: ReachAnswer, now: Now) -> list[Effect]:
        waiting = self._waiting.get(answer.number)
        if waiting is None or link.link not in waiting.asked:
            return []  # Late, or nobody we asked.
        waiting.asked.remove(link.link)
        if not answer.has_link:
            return []
        del self._waiting[answer.number]
        if len(self._routes) >= WAITING_MAX:
            self._routes.clear()
        self._routes[waiting.target] = (link.peer, now.mono_ns)
        return self._send_through(link, waiting.command, waiting.target, now)

    def overdue(self, request: int) -> list[Effect]:
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            return []
        return self._unroutable(waiting.command, waiting.target, "no neighbour has one")

    # -- for others

    def handle_want(self, link: Link, want: ReachWant) -> list[Effect]:
        return [Send(link.link, ReachAnswer(want.number, self._links.to(want.node) is not None))]

    def handle_note(self, link: Link, note: Note) -> list[Effect]:
        self._counters["notes_received"] += 1
        return [Deliver(link.peer, note.topic, note.body)]

    def handle_relayed(self, link: Link, note: RelayedNote, now: Now) -> list[Effect]:
        """For us from a neighbour, or from its sender for a neighbour of ours."""
        if note.target == self._me.node:
            return self._receive(note)
        onward = self._links.to(note.target)
        if note.is_forwarded or note.source != link.peer or onward is None:
            self._counters["notes_not_forwarded"] += 1
            return []
        onward.used_ns = now.mono_ns
        self._counters["notes_forwarded"] += 1
        return [Send(onward.link, msgspec.structs.replace(note, is_forwarded=True))]

    def _receive(self, note: RelayedNote) -> list[Effect]:
        source = self._membership.directory.record_of(note.source)
        text = signed_bytes(note.source, note.target, note.id, note.topic, note.body)
        if source is None or not self._me.verify(source.public_key, note.signature, text):
            self._counters["notes_forged"] += 1
            return []
        key = note.source + note.id
        if key in self._recent:
            return []  # A neighbour that sends it again cannot make it come twice.
        if len(self._recent) >= RECENT_MAX:
            del self._recent[next(iter(self._recent))]
        self._recent[key] = None
        self._counters["notes_received"] += 1
        return [Deliver(note.source, note.topic, note.body)]


def signed_bytes(source: NodeId, target: NodeId, id: bytes, topic: str, body: bytes) -> bytes:
    return b"bms relayed note 1\0" + _encode((source, target, id, topic, body))
