"""Messages between programs: nobody hears what was not said to them, or hears it too often."""

from __future__ import annotations

from collections import Counter

from bellande_mesh_sync.core.effects import Deliver
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation


class NoteChecker:
    """Counts messages of each content. They are best effort, so fewer may arrive than were sent."""

    def __init__(self) -> None:
        self._sent: Counter[tuple[NodeId, NodeId | None, str, bytes]] = Counter()
        self._heard: Counter[tuple[int, NodeId, str, bytes]] = Counter()

    def sent(self, sender: NodeId, to: NodeId | None, topic: str, body: bytes) -> None:
        self._sent[sender, to, topic, body] += 1

    def delivered(self, index: int, node: NodeId, effect: Deliver) -> None:
        sender, topic, body = effect.sender, effect.topic, effect.body
        self._heard[index, sender, topic, body] += 1
        sent = self._sent[sender, None, topic, body] + self._sent[sender, node, topic, body]
        if self._heard[index, sender, topic, body] > sent:
            what = f"{body[:40]!r} on {topic!r}"
            raise Violation("notes", f"n{index}", f"{what} came more often than the {sent} times it was sent")
