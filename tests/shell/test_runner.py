"""What the runner does with a core's effects, with doubles for the core and the links."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.messages import Message, Note, Ping, RelayedNote
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import NodeId, Now
from bellande_mesh_sync.security.authority import found_mesh
from bellande_mesh_sync.security.statements import StatementJudge
from bellande_mesh_sync.shell.links import Links
from bellande_mesh_sync.shell.runner import NOTES_BUFFER_BYTES_MAX, Runner
from bellande_mesh_sync.store.memory import MemoryStore

ONE, TWO = NodeId(b"1" * 32), NodeId(b"2" * 32)
NOTE = Note(b"i" * 16, "topic", b"body")
RELAYED = RelayedNote(ONE, TWO, b"i" * 16, "topic", b"body", b"s" * 64)


class SendingCore:
    """Answers every event with one message on link 7."""

    def __init__(self, message: Message) -> None:
        self.counters: Counter[str] = Counter()
        self._message = message

    def handle(self, event: on.Event, now: Now) -> list[do.Effect]:
        return [do.Send(7, self._message)]


class SlowLinks:
    def __init__(self, buffered: int) -> None:
        self.buffered = buffered
        self.sent: list[Message] = []

    def buffered_bytes(self, link: int) -> int:
        return self.buffered

    def send(self, link: int, message: Message) -> None:
        self.sent.append(message)


def _send(message: Message, buffered: int) -> tuple[list[Message], int]:
    """What went on the link, and how many notes were counted as dropped."""

    async def scene() -> tuple[list[Message], int]:
        def ignore(_: Any) -> None:
            return None

        with ThreadPoolExecutor(1) as executor:
            runner = Runner(
                MemoryStore(new_epoch=lambda: bytes(8)), executor,
                on_changed=ignore, on_message=ignore, on_member=ignore, on_stop=ignore,
                judge=StatementJudge(found_mesh("fleet", "alice")[0].certificate_pem),
            )  # fmt: skip
            core, links = SendingCore(message), SlowLinks(buffered)
            runner.core, runner.links = cast("NodeCore", core), cast("Links", links)
            runner.feed(on.LoopLate(1))
            return links.sent, core.counters["notes_dropped"]

    return asyncio.run(scene())


@pytest.mark.parametrize("message", [NOTE, RELAYED])
def test_notes_are_dropped_and_counted_for_a_peer_that_does_not_read(message: Message) -> None:
    assert _send(message, NOTES_BUFFER_BYTES_MAX + 1) == ([], 1)
    assert _send(message, NOTES_BUFFER_BYTES_MAX) == ([message], 0)


def test_all_else_is_queued_however_long_the_queue_is() -> None:
    assert _send(Ping(1), NOTES_BUFFER_BYTES_MAX + 1) == ([Ping(1)], 0)
