"""Two real cores and the real codec, with nothing between them but a count of what crosses.

No time passes, disks answer at once, and all that one says at a time is one frame or few. So bytes and
round trips are those of the protocol itself, the same on every machine and in every run.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.effects import CloseChanges, Commit, Effect, NextPage, OpenChanges, Send
from bellande_mesh_sync.core.events import Committed, Event, LinkOpened, PageRead, Received, Write, WriteMany
from bellande_mesh_sync.core.messages import RECORDS_LANE, Message, Records
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import NodeId, Now
from bellande_mesh_sync.sim.identity import make_identity, verify
from bellande_mesh_sync.store.interface import ChangesView
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.wire.codec import decode_body, encode_message, to_message
from bellande_mesh_sync.wire.frames import LENGTH_BYTES, encode_frames

LINK: Final = 1
"""There is one link, and both ends call it so."""


def node_of_half(index: int) -> NodeId:
    return make_identity(0, index).node


class Half:
    """One core, its store, and what it has to say."""

    def __init__(self, index: int, store: MemoryStore, now: Now) -> None:
        identity = make_identity(0, index)
        local = LocalNode(
            node=identity.node, public_key=identity.public_key, mesh=b"m" * 16, name=identity.name,
            role="writer", boot=index.to_bytes(8, "big"), software="0", addresses=(f"{identity.name}:1",),
            bootstrap=(), sign=identity.sign, verify=verify,
        )  # fmt: skip
        self.now = now
        self.store = store
        self.outbox: list[Message] = []
        self.config = CoreConfig()
        self._views: dict[int, ChangesView] = {}
        self._todo: deque[Event] = deque()
        rng = random.Random(index)
        self.core = NodeCore(self.config, local, store, store.open(), rng, lambda: rng.randbytes(8))
        self._perform(self.core.start(now))

    def handle(self, event: Event) -> None:
        """Take the event, and all that follows from it on this side."""
        self._todo.append(event)
        while self._todo:
            self._perform(self.core.handle(self._todo.popleft(), self.now))

    def write(self, writes: Sequence[Write]) -> None:
        self.handle(WriteMany(1, tuple(writes), "local", 10**10))

    def _perform(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message=message):
                    self.outbox.append(message)
                case Commit(commit=commit, batch=batch):
                    self.store.apply([batch])
                    self.store.publish([batch])
                    self._todo.append(Committed(commit))
                case OpenChanges(reading=reading, shard=shard, dots=dots):
                    self._views[reading] = self.store.open_changes(shard, dots)
                    self._read(reading)
                case NextPage(reading=reading):
                    self._read(reading)
                case CloseChanges(reading=reading):
                    self._views.pop(reading).close()
                case _:
                    pass  # Timers, dials and news: no time passes, and there is nobody else.

    def _read(self, reading: int) -> None:
        view = self._views[reading]
        page = view.read_page(self.config.page_bytes)
        knowledge = view.knowledge() if page.is_last else ()
        self._todo.append(PageRead(reading, page.records, page.size_bytes, page.is_last, knowledge))

    def holds(self) -> dict[str, tuple[object, int]]:
        """What it knows and holds durably, by shard; equal on two nodes that are in step."""
        return {
            shard: (state.committed.delta(), state.fingerprint) for shard, state in self.core.replica.shards()
        }


class CorePair:
    """Two halves and the count of what crosses between them."""

    def __init__(self, stores: Sequence[MemoryStore]) -> None:
        now = Now(1_000_000_000, time.time_ns() // 1_000_000)  # Not before what is in the stores.
        self.halves = [Half(index, store, now) for index, store in enumerate(stores)]
        self.bytes_total = 0
        """Frames of both directions, before TLS; the Hellos are not among them."""
        self.record_bytes = 0
        """Of these, the records as such."""
        self.record_count = 0
        self.trips = 0
        """One-way trips until both held the same."""
        self.by_kind: dict[str, int] = {}

    def link(self) -> None:
        """Open the link, and let them talk until neither has anything more to say."""
        hellos = [half.core.hello(RECORDS_LANE) for half in self.halves]
        for index, half in enumerate(self.halves):
            half.outbox.clear()
            other = self.halves[1 - index]
            peer = other.core.me
            half.handle(LinkOpened(LINK, peer.node, hellos[1 - index], peer.addresses[0], 1 - index))
        trip = 0
        while any(half.outbox for half in self.halves):
            trip += 1
            said = [half.outbox for half in self.halves]
            for half in self.halves:
                half.outbox = []
            for index, messages in enumerate(said):
                self._carry(messages, self.halves[1 - index])
            if not self.trips and self.is_equal():
                self.trips = trip
        if not self.is_equal():
            raise RuntimeError("the two came to rest without holding the same")

    def is_equal(self) -> bool:
        return self.halves[0].holds() == self.halves[1].holds()

    def _carry(self, messages: Sequence[Message], to: Half) -> None:
        for frame in encode_frames(messages):
            self.bytes_total += len(frame)
            arrived = tuple(map(to_message, decode_body(frame[LENGTH_BYTES:])))
            for message in arrived:
                kind = type(message).__name__
                self.by_kind[kind] = self.by_kind.get(kind, 0) + len(encode_message(message))
                if isinstance(message, Records):
                    self.record_bytes += sum(len(encode_message(record)) for record in message.records)
                    self.record_count += len(message.records)
            to.handle(Received(LINK, arrived, len(frame)))
