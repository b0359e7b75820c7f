"""A few NodeCores in one process: messages, disks and timers move when the test says so.

Everything that is deterministic in a core stays so here: no clock, and order only from lists (or
from a seeded generator, for tests that want any order).
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bellande_mesh_sync.core import effects as do
from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.examination import Examination, examination_of
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.core.effects import Effect
from bellande_mesh_sync.core.messages import RECORDS_LANE, ChunkMissing, Message
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.core.placement.shards import shard_parts
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.timers import Timer
from bellande_mesh_sync.errors import ChunkMissingError
from bellande_mesh_sync.ids import Dot, Now, Shard
from bellande_mesh_sync.sim.statements import judge_all
from bellande_mesh_sync.store.interface import ChangesView
from bellande_mesh_sync.store.memory import MemoryStore
from tests.core.making import SHARD, WALL_MS, live_records, local_node, node_of_name

ROUNDS_MAX = 20_000
"""More than any of these tests needs: two nodes that never come to rest fail instead of hanging."""


@dataclass(eq=False)
class End:
    """One end of a link. What its owner sends waits in `outbox`."""

    owner: Node
    number: int
    outbox: deque[Any] = field(default_factory=deque)
    other: End | None = None
    is_held: bool = False
    """Nothing that was sent from here arrives for now."""
    is_open: bool = True


class _Closed:
    """In an outbox: the link ends here."""


class _Chunk:
    def __init__(self, hash: bytes, body: bytes) -> None:
        self.hash, self.body = hash, body


class Node:
    """A core, its store, and what came out of it."""

    def __init__(self, world: World, name: str, boot: int, bootstrap: Sequence[str]) -> None:
        self.world = world
        self.name = name
        self.boot = boot
        self.bootstrap = bootstrap
        self.is_running = True
        self.is_disk_full = False
        self.is_disk_slow = False
        self.rotten: set[Dot] = set()
        self.is_examined = True
        """Whether an Examine is answered; else the test does that."""
        self.ends: dict[int, End] = {}
        self.commits: deque[do.Commit] = deque()
        self.jobs: deque[on.Event] = deque()
        """Answers that are ready: reads, failed dials."""
        self.views: dict[int, ChangesView] = {}
        self.timers: list[tuple[int, int, Timer]] = []
        self.answers: dict[int, do.Resolve | do.Reject] = {}
        self.effects: list[Effect] = []
        self.epochs = 0
        self.store = MemoryStore(new_epoch=self._new_epoch)
        self.core: NodeCore

    def _new_epoch(self) -> bytes:
        self.epochs += 1
        return f"{self.name[:4]}{self.epochs:4}".encode()

    def boot_up(self) -> None:
        state = self.store.open()
        me = local_node(self.name, boot=self.boot, bootstrap=self.bootstrap)
        rng = random.Random(f"{self.name} {self.boot}")
        self.core = NodeCore(self.world.config, me, self.store, state, rng, self._new_epoch)
        self.do(self.core.start(self.world.now))

    def handle(self, event: on.Event) -> None:
        if self.is_running:
            self.do(self.core.handle(event, self.world.now))

    def do(self, effects: list[Effect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case do.Send(link=link, message=message):
                if link in self.ends:
                    self.ends[link].outbox.append(message)
            case do.Hangup(link=link):
                self.world.close(self.ends.get(link))
            case do.Dial():
                self.world.dial(self, effect)
            case do.SetTimer(timer=timer, at_ns=at_ns):
                heapq.heappush(self.timers, (at_ns, len(self.effects), timer))
            case do.Commit():
                self.commits.append(effect)
            case do.OpenChanges(reading=reading, shard=shard, dots=dots):
                self.views[reading] = self.store.open_changes(shard, dots)
                self._read(reading)
            case do.NextPage(reading=reading):
                self._read(reading)
            case do.CloseChanges(reading=reading):
                self.views.pop(reading).close()
            case do.FindMissing(fetch=fetch, manifest=manifest):
                self.jobs.append(on.MissingFound(fetch, *self.store.missing_chunks(manifest)))
            case do.Examine(shard=shard):
                if self.is_examined:
                    self.jobs.append(on.Examined(shard, self.examine(shard)))
            case do.JudgeStatements(link=link, statements=statements):
                self.jobs.append(on.StatementsJudged(link, *judge_all(statements)))
            case do.SendChunks(link=link, hashes=hashes):
                self._send_chunks(link, hashes)
            case do.Resolve(request=request) | do.Reject(request=request):
                assert request not in self.answers, "a request was answered twice"
                self.answers[request] = effect
            case do.Changed(records=records):
                self._note_written(records)
            case do.SendDatagram():
                raise AssertionError("these nodes have links only")
            case do.Stop():
                self.is_running = False
            case do.Deliver() | do.MemberChanged() | do.Log() | do.PeerRecorded() | do.PeerForgotten():
                pass

    def examine(self, shard: Shard) -> Examination:
        """What a reading of all the shard's records finds, as `rotten` is now."""
        found = self.store.examine(shard).run()
        rotten = [record for record in live_records(self.store, shard) if record.dot in self.rotten]
        live = Knowledge()
        for record in live_records(self.store, shard):
            if record.dot not in self.rotten:
                live.add(record.author, record.sequence, record.sequence)
        return examination_of(
            shard,
            found.knowledge,
            live,
            fingerprint_stored=found.fingerprint_stored,
            fingerprint=(found.fingerprint - sum(map(fingerprint_of, rotten))) % (1 << 256),
            damaged=[DamagedRecord(shard, record.dot, record.key) for record in rotten],
        )

    def _read(self, reading: int) -> None:
        view = self.views[reading]
        page = view.read_page(self.world.config.page_bytes)
        knowledge = view.knowledge() if page.is_last else ()
        self.jobs.append(on.PageRead(reading, page.records, page.size_bytes, page.is_last, knowledge))

    def _send_chunks(self, link: int, hashes: tuple[bytes, ...]) -> None:
        end = self.ends.get(link)
        for hash in hashes if end is not None else ():
            assert end is not None
            try:
                end.outbox.append(_Chunk(hash, self.store.read_chunk(hash)))
            except ChunkMissingError:
                end.outbox.append(ChunkMissing((hash,)))

    def _note_written(self, records: tuple[Record, ...]) -> None:
        for record in records:
            if record.author[:32] == self.core.me.node:
                self.world.written[self.core.replica.shard_of(record.key), record.dot] = record

    # -- what a test does with a node

    def commit(self) -> None:
        """Let the disk take (or refuse) everything that waits for it."""
        if self.is_disk_full:
            self.commits.clear()
            self.handle(on.CommitFailed("disk_full", "no space left"))
            return
        done = [self.commits.popleft() for _ in range(len(self.commits))]
        batches = [commit.batch for commit in done]
        self.store.apply(batches)
        self.store.publish(batches)
        self.handle(on.Committed(done[-1].commit))

    def submit(self, *writes: on.Write, ack: str = "local", timeout_s: float = 10.0) -> int:
        self.world.requests += 1
        self.handle(on.WriteMany(self.world.requests, writes, ack, round(timeout_s * 1e9)))
        return self.world.requests

    def get(self, key: str) -> set[bytes | None]:
        """The bodies of the key's siblings on disk; None for a tombstone."""
        return {record.inline for record in self.store.siblings([key])[0]}

    def seen(self, kind: type) -> list[Any]:
        """The effects of this kind so far; for a message kind, the messages sent."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        sent = [e.message for e in self.effects if isinstance(e, do.Send) and isinstance(e.message, kind)]
        return found or sent


class World:
    """The nodes and what lies between them."""

    def __init__(self, *names: str, config: CoreConfig | None = None, seed: int | None = None) -> None:
        self.config = config or CoreConfig()
        self.now = Now(SECOND_NS_START, WALL_MS)
        self.rng = None if seed is None else random.Random(seed)
        self.nodes: dict[str, Node] = {}
        self.written: dict[tuple[Shard, Dot], Record] = {}
        """Every write that became durable at its author."""
        self.requests = 0
        self.next_link = 1
        self.is_dialling = False
        """Dials fail, so that tests open links by hand, unless this is set."""
        self.apart: set[frozenset[str]] = set()
        for name in names:
            self.add(name)

    def add(self, name: str, *, store: MemoryStore | None = None, bootstrap: Sequence[str] = ()) -> Node:
        """A node; a second one of the same name is its next run."""
        before = self.nodes.get(name)
        node = Node(self, name, before.boot + 1 if before else 1, bootstrap)
        if before is not None:
            node.store, node.epochs = before.store, before.epochs
        if store is not None:
            node.store = store
        self.nodes[name] = node
        node.boot_up()
        return node

    def crash(self, name: str) -> None:
        node = self.nodes[name]
        node.is_running = False
        node.commits.clear()
        for end in list(node.ends.values()):
            self.close(end)

    # -- links

    def connect(self, a: str, b: str, *, lane: int = RECORDS_LANE, dial: int = 0) -> tuple[End, End]:
        """Open a link that `a` dialled."""
        left, right = End(self.nodes[a], self.next_link), End(self.nodes[b], self.next_link + 1)
        self.next_link += 2
        left.other, right.other = right, left
        for end in (left, right):
            end.owner.ends[end.number] = end
        for end, other, number in ((left, right, dial or -1), (right, left, 0)):
            hello = other.owner.core.hello(lane)
            peer = other.owner
            end.owner.handle(on.LinkOpened(end.number, peer.core.me.node, hello, f"{peer.name}:1", number))
        return left, right

    def dial(self, node: Node, dial: do.Dial) -> None:
        name = dial.address.removesuffix(":1")
        if name == node.name:
            node.jobs.append(on.DialFailed(dial.dial, "self", "that is me"))
        elif (
            self.is_dialling
            and name in self.nodes
            and self.nodes[name].is_running
            and frozenset((name, node.name)) not in self.apart
        ):
            self.connect(node.name, name, lane=dial.lane, dial=dial.dial)
        else:
            node.jobs.append(on.DialFailed(dial.dial, "unreachable", "nobody there"))

    def close(self, end: End | None) -> None:
        """This end hangs up; what it sent before still arrives."""
        if end is None or not end.is_open:
            return
        end.is_open = False
        end.owner.ends.pop(end.number, None)
        end.outbox.append(_Closed())
        end.owner.jobs.append(on.LinkClosed(end.number, "closing", ""))

    def cut(self, a: str, b: str) -> None:
        """Every link between the two breaks now, and what was on its way is lost."""
        for end in list(self.nodes[a].ends.values()):
            other = end.other
            if other is not None and other.owner is self.nodes[b]:
                for each in (end, other):
                    each.outbox.clear()
                    each.is_open = False
                    each.owner.ends.pop(each.number, None)
                for each in (end, other):
                    each.owner.handle(on.LinkClosed(each.number, "closed", "cut"))

    def end(self, a: str, b: str) -> End:
        """The end at `a` of the one link between the two."""
        (found,) = [
            end
            for end in self.nodes[a].ends.values()
            if end.other is not None and end.other.owner is self.nodes[b]
        ]
        return found

    def tell(self, sender: str, receiver: str, *messages: Message) -> None:
        """Messages that the sender's core did not make, as a hostile peer would send."""
        end = self.end(receiver, sender)
        end.owner.handle(on.Received(end.number, messages, 100))

    # -- time

    def run(self) -> None:
        """Deliver and commit until nothing is left to do, without time passing."""
        for _ in range(ROUNDS_MAX):
            actions = self._actions()
            if not actions:
                return
            if self.rng is not None:
                actions = [self.rng.choice(actions)]
            for action in actions:
                action()
        raise AssertionError("the nodes do not come to rest")

    def step(self) -> bool:
        """One action, chosen by the world's generator; False if there is none."""
        actions = self._actions()
        if not actions:
            return False
        assert self.rng is not None
        self.rng.choice(actions)()
        return True

    def _actions(self) -> list[Any]:
        actions: list[Any] = []
        ends: list[End] = []
        for node in self.nodes.values():
            if node.jobs:
                actions.append(lambda node=node: node.jobs and node.handle(node.jobs.popleft()))
            if node.commits and not node.is_disk_slow:
                actions.append(lambda node=node: node.commits and node.commit())
            ends += node.ends.values()
        seen = {id(end) for end in ends}
        for end in list(ends):
            if end.other is not None and id(end.other) not in seen:
                ends.append(end.other)  # Closed there, and not yet known here.
        waiting = [end for end in ends if end.outbox and not end.is_held]
        return actions + [lambda end=end: self._deliver(end) for end in waiting]

    def _deliver(self, end: End) -> None:
        """What is of one kind arrives together, as it would in a frame."""
        other = end.other
        assert other is not None
        messages: list[Message] = []
        while end.outbox:
            item = end.outbox.popleft()
            if isinstance(item, _Closed | _Chunk):
                if messages:
                    end.outbox.appendleft(item)
                elif isinstance(item, _Closed):
                    self._closed(other)
                elif other.is_open:
                    other.owner.store.add_chunks([(item.hash, item.body)])
                    other.owner.handle(on.ChunksStored(other.number, (item.hash,)))
                break
            messages.append(item)
            if self.rng is not None and self.rng.random() < 0.5:
                break
        if messages and other.is_open:
            other.owner.handle(on.Received(other.number, tuple(messages), 100))

    def _closed(self, end: End) -> None:
        if end.is_open:
            end.is_open = False
            end.owner.ends.pop(end.number, None)
            end.owner.handle(on.LinkClosed(end.number, "closed", "the other end hung up"))

    def pass_time(self, seconds: float) -> None:
        """Fire every timer that falls due, in order, and let things come to rest in between."""
        self.run()
        end_ns = self.now.mono_ns + round(seconds * 1e9)
        for _ in range(ROUNDS_MAX):
            due = [
                (node.timers[0][0], name)
                for name, node in self.nodes.items()
                if node.timers and node.timers[0][0] <= end_ns and node.is_running
            ]
            if not due:
                break
            at_ns, name = min(due)
            self._set_time(max(at_ns, self.now.mono_ns))
            _, _, timer = heapq.heappop(self.nodes[name].timers)
            self.nodes[name].handle(on.TimerFired(timer))
            self.run()
        else:
            raise AssertionError("timers without end")
        self._set_time(end_ns)

    def _set_time(self, mono_ns: int) -> None:
        self.now = Now(mono_ns, WALL_MS + (mono_ns - SECOND_NS_START) // 1_000_000)

    # -- what must always hold

    def check(self) -> None:
        """On every disk: the fingerprint is that of the live records, and each dot known is accounted for."""
        for node in self.nodes.values():
            self._check_node(node)

    def _check_node(self, node: Node) -> None:
        for shard, state in node.core.replica.shards():
            live = live_records(node.store, shard)
            assert node.store.fingerprints().get(shard, 0) == sum(map(fingerprint_of, live)) % (1 << 256)
            for author, ranges in node.store.open_changes(shard, ()).knowledge():
                for low, high in ranges:
                    for sequence in range(low, high + 1):
                        self._check_dot(node, shard, Dot(author, sequence), live)
            if node.is_running and not node.commits:
                assert state.seen == state.committed
                assert state.committed.delta() == node.store.open_changes(shard, ()).knowledge()

    def _check_dot(self, node: Node, shard: Shard, dot: Dot, live: set[Record]) -> None:
        record = self.written.get((shard, dot))
        if record is None:
            # A number that was taken for no record, when its node let a shard go.
            assert shard_parts(shard)[1], f"{node.name} claims {dot.sequence} of {shard}, which nobody wrote"
            return
        held = [other for other in live if other.key == record.key]
        is_replaced = any(covers(other.context, *dot) for other in held)
        is_gone = is_replaced or self._is_collected(node, shard, record)
        assert record in held or is_gone, f"{node.name} claims {record.key} {dot.sequence} without it"

    def _is_collected(self, node: Node, shard: Shard, record: Record) -> bool:
        """Whether a delete of it, or that was it, has been collected somewhere and is known to be here."""
        cut = node.core.replica.shard(shard).collected
        return any(
            other.is_tombstone
            and other.key == record.key
            and (other == record or covers(other.context, *record.dot))
            and other.sequence <= cut.get(other.author, 0)
            for other in self.written.values()
        )

    def assert_converged(self) -> None:
        self.check()
        stores = [node.store for node in self.nodes.values() if node.is_running]
        shards = {shard for node in self.nodes.values() for shard, _ in node.core.replica.shards()}
        for shard in sorted(shards):
            assert len({store.open_changes(shard, ()).knowledge() for store in stores}) == 1
            first, *rest = (values_and_conflicts(store, shard) for store in stores)
            assert all(other == first for other in rest)


def values_and_conflicts(store: MemoryStore, shard: Shard) -> set[Record]:
    """What is live, less the keys that have nothing but tombstones: these go at different times."""
    live = live_records(store, shard)
    shown = {record.key for record in live if not record.is_tombstone}
    return {record for record in live if record.key in shown}


SECOND_NS_START = 1_000_000_000
"""Monotonic time when a world begins."""

__all__ = ["SHARD", "End", "Node", "World", "node_of_name"]
