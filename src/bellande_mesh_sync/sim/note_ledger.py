"""The simulated network's account of messages between programs: sent = delivered + lost, by reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from bellande_mesh_sync.core.effects import Deliver, Effect, Hangup, Send
from bellande_mesh_sync.core.events import Event, Received
from bellande_mesh_sync.core.messages import Message, Note, RelayedNote

_NOTES: Final = frozenset({Note, RelayedNote})


class NoteLedger:
    """Counts copies: a message to five nodes is five."""

    def __init__(self) -> None:
        self.sent_count = 0
        """What cores gave to the network."""
        self.lost: Counter[str] = Counter()
        """no_link, broken, died (the node on either side was gone before it got to it), hung_up, no_way_on (a
        neighbour had no link with the receiver any more)."""
        self._hung_up: set[tuple[int, int, int]] = set()
        self._relayed: set[tuple[bytes, bool]] = set()
        """Notes over neighbours, as they were dealt with by the neighbour and by the receiver."""

    def sent(self, messages: Sequence[Message]) -> int:
        """How many of these are notes; they are on their way now."""
        count = note_count(messages)
        if count:
            self.sent_count += count - sum(
                type(message) is RelayedNote and message.is_forwarded for message in messages
            )
        return count

    def lose(self, reason: str, count: int) -> None:
        if count:
            self.lost[reason] += count

    def came_after_all(self, messages: Iterable[Message]) -> None:
        """These had been put down as lost with a broken connection."""
        self.lost["broken"] -= note_count(messages)

    def lose_waiting(self, events: Iterable[Event]) -> None:
        """These waited at a node that has died."""
        self.lose("died", sum(note_count(event.messages) for event in events if type(event) is Received))

    def hung_up(self, node: int, boot: int, link: int) -> None:
        """A core hung up: what still comes over this link it need not hear."""
        self._hung_up.add((node, boot, link))

    def _is_first(self, message: Message) -> bool:
        """Whether this is a note on its way; a liar says again what it passed on, which none has to hear."""
        if type(message) is not RelayedNote:
            return type(message) is Note
        hop = (message.id, message.is_forwarded)
        is_first = hop not in self._relayed
        self._relayed.add(hop)
        return is_first

    def handled(
        self, node: int, boot: int, event: Received, effects: Sequence[Effect], *, is_killed: bool
    ) -> None:
        """A core has dealt with what came; what it passed on is in its effects, less those it died before."""
        if not note_count(event.messages):
            return
        came = sum(self._is_first(message) for message in event.messages)
        if not came:
            return
        missing = came - sum(type(effect) is Deliver or _is_forwarding(effect) for effect in effects)
        if is_killed:
            self.lose("died", missing)
        elif (node, boot, event.link) in self._hung_up or any(
            type(effect) is Hangup and effect.link == event.link for effect in effects
        ):
            self.lose("hung_up", missing)
        elif any(type(message) is RelayedNote for message in event.messages):
            self.lose("no_way_on", missing)


def note_count(messages: Iterable[Message]) -> int:
    count = 0
    for message in messages:  # Not a sum(): this runs for every message, and that takes twice as long.
        if type(message) in _NOTES:
            count += 1
    return count


def _is_forwarding(effect: Effect) -> bool:
    return type(effect) is Send and type(effect.message) is RelayedNote and effect.message.is_forwarded
