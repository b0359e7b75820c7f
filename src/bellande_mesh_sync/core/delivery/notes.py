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

RECENT_MAX = 1_024
"""Ids remembered of one sender."""
SENDERS_MAX = 512
"""Senders whose ids are remembered."""

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
        self._recent: dict[NodeId, dict[bytes, None]] = {}
        """Sender -> ids of its notes that came over neighbours; who was heard last comes last."""

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
        direct = self._good_link(command.to)
        if direct is not None:
            return self._send_over(direct, command, now)
        return self._look_for_a_way(command, command.to, now)

    def _good_link(self, node: NodeId) -> Link | None:
        """A link that is not in doubt: over another, a note would vanish without a word."""
        link = self._links.to(node)
        return None if link is None or link.is_doubted else link

    def _send_over(self, link: Link, command: SendNote, now: Now) -> list[Effect]:
        link.used_ns = now.mono_ns
        self._counters["notes_sent"] += 1
        note = Note(command.id, command.topic, command.body)
        return [Send(link.link, note), Resolve(command.request, 1)]

    def _look_for_a_way(self, command: SendNote, target: NodeId, now: Now) -> list[Effect]:
        """Ask neighbours, and dial it ourselves meanwhile."""
        if target == self._me.node:
            return self._unroutable(command, target, "it is this node itself")
        if not self._membership.directory.is_live(target):
            return self._unroutable(command, target, "it is not there")
        relay = self._relay_for(target, now)
        if relay is not None:
            return self._send_through(relay, command, target, now)
        if len(self._waiting) >= WAITING_MAX:
            return [Reject(command.request, "busy", {"what": "the queue for messages", "limit": WAITING_MAX})]
        good = [link for link in self._links.records_links() if link.peer != target and not link.is_doubted]
        neighbours = good[-NEIGHBOURS_ASKED:]
        asked = [link.link for link in neighbours]
        self._waiting[command.request] = Waiting(command, target, asked)
        if self._links.to(target) is None:
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
        return self._good_link(relay)

    def _send_through(self, link: Link, command: SendNote, target: NodeId, now: Now) -> list[Effect]:
        link.used_ns = now.mono_ns
        self._counters["notes_sent"] += 1
        self._counters["notes_sent_over_neighbours"] += 1
        note = RelayedNote(self._me.node, target, command.id, command.topic, command.body, b"")
        record = self._membership.directory.record_of(target)
        signature = self._me.sign(signed_bytes(note, b"" if record is None else record.boot))
        relayed = msgspec.structs.replace(note, signature=signature)
        return [Send(link.link, relayed), Resolve(command.request, 1)]

    def _unroutable(self, command: SendNote, target: NodeId, why: str) -> list[Effect]:
        self._counters["notes_unroutable"] += 1
        address = self._membership.directory.name_of(target)
        reason = f"no link with it is open, and {why}"
        return [Reject(command.request, "unreachable", {"address": address, "reason": reason})]

    # -- waiting

    def link_ready(self, link: Link, now: Now) -> list[Effect]:
        """It has opened, or is no longer in doubt: what waited for this peer goes out."""
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

    def overdue(self, request: int, now: Now) -> list[Effect]:
        waiting = self._waiting.pop(request, None)
        if waiting is None:
            return []
        link = self._good_link(waiting.target)
        if link is not None:
            return self._send_over(link, waiting.command, now)
        return self._unroutable(waiting.command, waiting.target, "no neighbour has one")

    # -- for others

    def handle_want(self, link: Link, want: ReachWant) -> list[Effect]:
        return [Send(link.link, ReachAnswer(want.number, self._good_link(want.node) is not None))]

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
        text = signed_bytes(note, self._me.boot)
        if source is None or not self._me.verify(source.public_key, note.signature, text):
            self._counters["notes_forged"] += 1
            return []
        if not self._is_new(note):
            self._counters["notes_repeated"] += 1
            return []
        self._counters["notes_received"] += 1
        return [Deliver(note.source, note.topic, note.body)]

    def _is_new(self, note: RelayedNote) -> bool:
        """A neighbour that sends a note again cannot make it come twice, nor can other senders' notes."""
        ids = self._recent.pop(note.source, {})
        self._recent[note.source] = ids
        if note.id in ids:
            return False
        ids[note.id] = None
        if len(ids) > RECENT_MAX:
            del ids[next(iter(ids))]
        if len(self._recent) > SENDERS_MAX:
            del self._recent[next(iter(self._recent))]
        return True


def signed_bytes(note: RelayedNote, boot: bytes) -> bytes:
    """What the sender signs. `boot`: of the receiver's run, so that its next one does not hear it again."""
    return b"bms relayed note 2\0" + _encode((note.source, note.target, boot, note.id, note.topic, note.body))
