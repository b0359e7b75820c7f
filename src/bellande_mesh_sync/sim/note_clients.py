"""Clients that send messages to programs on other nodes, and those programs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence

from bellande_mesh_sync.core.effects import Deliver, Reject, Resolve
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.draws import Values
from bellande_mesh_sync.sim.history import NoteAsked, NoteHeard, NoteSent, NoteUnknown
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.oracle import Oracle
from bellande_mesh_sync.sim.requests import Requests


class NoteClients:
    """Sends to one node or to all, and tells the oracle what became of it."""

    def __init__(
        self, rng: random.Random, values: Values, requests: Requests, oracle: Oracle, counts: Counter[str]
    ) -> None:
        self._rng = rng
        self._values = values
        self._requests = requests
        self._oracle = oracle
        self._counts = counts

    def send(self, node: SimNode, nodes: Sequence[SimNode]) -> None:
        body = b"note " + self._values.mark()
        to = None if self._rng.random() < 0.5 else self._rng.choice(nodes)
        number = self._requests.begin(f"note at {node.name}")
        self._oracle.hear(NoteAsked(number, node.index, None if to is None else to.index, body))
        topic = "topic" if to is None else ""
        receiver = None if to is None else to.node
        node.send_note(self._sent(number, node), receiver, topic, body, self._rng.randbytes(16))

    def _sent(self, number: int, node: SimNode) -> Callable[[Resolve | Reject | None], None]:
        def answer(effect: Resolve | Reject | None) -> None:
            self._requests.end(number)
            if effect is None:
                self._oracle.hear(NoteUnknown(number))
            elif isinstance(effect, Resolve):
                self._counts["notes"] += 1
                self._oracle.hear(NoteSent(number, effect.result))
            elif effect.code == "unreachable":
                self._counts["notes unreachable"] += 1
                self._oracle.hear(NoteSent(number, 0))
            else:
                raise Violation("answers", node.name, f"a note was rejected with {effect.code}")

        return answer

    def delivered(self, node: SimNode, effect: Deliver) -> None:
        """A note came to programs on `node`."""
        self._counts["notes delivered"] += 1
        self._oracle.hear(NoteHeard(node.index, effect.sender.hex(), effect.body))
