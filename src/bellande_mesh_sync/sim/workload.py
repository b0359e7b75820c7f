"""Clients: they write, overwrite and delete, and remember what they were told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.context import Context, join
from bellande_mesh_sync.core.data.record import (
    INLINE_BYTES_MAX,
    TOMBSTONE,
    VALUE,
    ChunkRef,
    Manifest,
    order_of,
)
from bellande_mesh_sync.core.effects import Deliver, Reject, Resolve
from bellande_mesh_sync.core.events import ChunksAdded, Receipt, Write
from bellande_mesh_sync.sim.checkers import AckChecker, DiskChecker, Violation
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, World

NOTHING_WRITTEN: Final = frozenset({"precondition_failed", "busy", "disk_full", "storage"})
"""Rejections that promise that the write never happened."""
ANSWER_SLACK_NS: Final = 15 * SECOND_NS
"""How much later than its timeout a write may be answered at rest; the disk may hold it up."""


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    clients: int = 5
    pause_mean_ns: int = 500 * MILLISECOND_NS
    """Between two requests of a client."""
    hot_keys: int = 10
    hot_ratio: float = 0.6
    """How many writes go to the hot keys, the rest to keys of their own."""
    delete_ratio: float = 0.15
    batch_ratio: float = 0.1
    batch_max: int = 12
    chunked_ratio: float = 0.05
    chunk_bytes: int = 20_000
    chunks_max: int = 5
    limit_ratio: float = 0.02
    """How many values are about as large as may stand inside a record."""
    context_ratio: float = 0.2
    """How many writes carry the context of an earlier read; as many more carry an if_match."""
    note_ratio: float = 0.05
    spaces: int = 2
    acks: tuple[tuple[str, int], ...] = (("local", 4), ("one", 2), ("quorum", 2), ("all", 1))


def _unheard(index: int, writes: Sequence[Write], receipts: Sequence[Receipt]) -> None:
    """Where receipts are told to when nobody listens."""


class Workload:
    """All clients of a run. Each request goes to a node that runs, chosen at random."""

    def __init__(
        self,
        world: World,
        config: WorkloadConfig,
        nodes: Sequence[SimNode],
        disks: DiskChecker,
        acks: AckChecker,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.is_over = False
        self.resolved: Callable[[int, Sequence[Write], Sequence[Receipt]], None] = _unheard
        self._world = world
        self._config = config
        self._nodes = nodes  # The mesh's own list: whoever joins is in it.
        self._disks = disks
        self._acks = acks
        self._rng = world.rng("workload")
        self._value_count = 0
        self._open: dict[int, tuple[int, str]] = {}
        """Requests under way: when the answer must be here, and what they are."""
        self._open_count = 0
        self._notes: dict[bytes, tuple[int, bytes]] = {}
        self._heard: set[tuple[int, bytes]] = set()
        self._contexts: dict[str, Context] = {}
        """What some client has read under a key, perhaps long ago."""

    def start(self) -> None:
        for client in range(self._config.clients):
            self._world.after(self._draw_pause(), self._act, client)

    def stop(self) -> None:
        self.is_over = True

    # -- one client's turn

    def _act(self, client: int) -> None:
        if self.is_over:
            return
        self._world.after(self._draw_pause(), self._act, client)
        running = [n for n in self._nodes if n.is_running and not n.is_leaving and n.takes_clients]
        if not running:
            return
        node = self._rng.choice(running)
        if self._rng.random() < self._config.note_ratio:
            self._send_note(node)
            return
        count = 1
        if self._rng.random() < self._config.batch_ratio:
            count = self._rng.randint(2, self._config.batch_max)
        writes = tuple(self._draw_write(node) for _ in range(count))
        levels, weights = zip(*self._config.acks, strict=True)
        ack = self._rng.choices(levels, weights)[0]
        timeout_ns = self._rng.choice((SECOND_NS, 5 * SECOND_NS, 10 * SECOND_NS))
        delay_ns = self._rng.randrange(5 * MILLISECOND_NS)  # The shell's way from the chunks to the write.
        self._world.after(delay_ns, self._submit, node, node.boot, writes, ack, timeout_ns)

    def _submit(self, node: SimNode, boot: int, writes: tuple[Write, ...], ack: str, timeout_ns: int) -> None:
        if node.boot != boot or not node.is_running or node.is_leaving:
            return  # It died meanwhile, perhaps of telling about the chunks: nobody is there to ask.
        self.counts["requests"] += 1
        self.counts["writes"] += len(writes)
        asked_ns = self._world.now_ns
        number = self._begin(asked_ns + timeout_ns, f"{ack} write of {writes[0].key} at {node.name}")
        node.write(self._answered(number, node, writes, ack, asked_ns), writes, ack, timeout_ns)

    def _answered(
        self, number: int, node: SimNode, writes: tuple[Write, ...], ack: str, asked_ns: int
    ) -> Callable[[Resolve | Reject | None], None]:
        def answer(effect: Resolve | Reject | None) -> None:
            del self._open[number]
            if effect is None:
                self.counts["died"] += 1
            elif isinstance(effect, Resolve):
                self.counts[f"acked {ack}"] += 1
                now_ns = self._world.now_ns
                self._acks.resolved(node.index, writes, effect.result, ack, asked_ns, now_ns)
                self.resolved(node.index, writes, effect.result)
            else:
                self._rejected(node, writes, effect)

        return answer

    def _rejected(self, node: SimNode, writes: tuple[Write, ...], effect: Reject) -> None:
        self.counts[effect.code] += 1
        if effect.code == "ack_timeout":
            self._acks.timed_out(
                node.index, writes, effect.facts.get("nodes", ()), effect.facts.get("versions", ())
            )
        elif effect.code in NOTHING_WRITTEN:
            for write in writes:
                if write.digest:
                    self._disks.refused(write.digest, effect.code)
        else:
            raise Violation("answers", node.name, f"a write was rejected with {effect.code}: {effect.facts}")

    def _begin(self, due_ns: int, what: str) -> int:
        self._open_count += 1
        self._open[self._open_count] = (due_ns, what)
        return self._open_count

    def check_answers(self) -> None:
        """At rest every call has ended, with an answer or with its node. (A paused node answers late.)"""
        for due_ns, what in self._open.values():
            if self._world.now_ns > due_ns + ANSWER_SLACK_NS:
                raise Violation("answers", "", f"{what} was never answered")

    # -- writes

    def _draw_write(self, node: SimNode) -> Write:
        key = self._draw_key()
        context, if_match = self._draw_condition(node, key)
        if self._rng.random() < self._config.delete_ratio:
            return Write(key, TOMBSTONE, context=context, if_match=if_match)
        self._value_count += 1
        mark = b"%d " % self._value_count  # No two values are equal, so a digest tells whose it is.
        if self._rng.random() < self._config.chunked_ratio:
            return self._store_value(node, key, mark, context, if_match)
        inline = mark + self._rng.randbytes(self._draw_size())
        inline = inline[:INLINE_BYTES_MAX]
        return Write(
            key,
            VALUE,
            len(inline),
            blake3(inline).digest(),
            "x/y",
            inline,
            context=context,
            if_match=if_match,
        )

    def _tell(self, node: SimNode, refs: tuple[ChunkRef, ...]) -> None:
        """The shell says what it stored before the write; now and then the write never comes."""
        told = refs if self._rng.random() < 0.8 else refs[: self._rng.randrange(len(refs))]
        if told:
            node.post(ChunksAdded(told))
            self.counts["chunks_told"] += len(told)

    def _store_value(
        self, node: SimNode, key: str, mark: bytes, context: Context | None, if_match: str | None
    ) -> Write:
        """A large value: its chunks go to the disk first, as a shell does it."""
        count = self._rng.randint(1, self._config.chunks_max)
        size_bytes = max(self._config.chunk_bytes, INLINE_BYTES_MAX // count + 100)
        bodies = [mark + self._rng.randbytes(size_bytes) for _ in range(count)]
        if self._rng.random() < 0.2:
            bodies.append(b"the same everywhere" * 100)  # Chunks that many values share.
        chunks = {blake3(body).digest(): body for body in bodies}
        refs = tuple(ChunkRef(blake3(body).digest(), len(body)) for body in bodies)
        manifest = Manifest(1, refs)
        if self._rng.random() < 0.1:
            index = msgspec.msgpack.encode(list(refs))
            chunks[blake3(index).digest()] = index
            manifest = Manifest(2, (ChunkRef(blake3(index).digest(), len(index)),))
        node.disk.add_chunks(chunks)
        if self._rng.random() < 0.5:
            self._tell(node, refs)
        self.counts["chunked"] += 1
        value = b"".join(bodies)
        return Write(
            key,
            VALUE,
            len(value),
            blake3(value).digest(),
            "x/y",
            None,
            manifest,
            context=context,
            if_match=if_match,
        )

    def _draw_key(self) -> str:
        config = self._config
        space = f"s{self._rng.randrange(config.spaces)}"
        if self._rng.random() < config.hot_ratio:
            # Zipf with exponent 1, near enough: the first keys get most.
            index = int(config.hot_keys ** self._rng.random()) - 1
            return f"{space}/hot/{index}"
        return f"{space}/own/{self._value_count}-{self._rng.randrange(1000)}"

    def _draw_condition(self, node: SimNode, key: str) -> tuple[Context | None, str | None]:
        """(context, if_match): mostly none; else of a read just now, or of one long ago."""
        if self._rng.random() >= 2 * self._config.context_ratio:
            return None, None
        siblings = node.disk.shown(key)
        if self._rng.random() < 0.5:
            context = join((s.context for s in siblings), (s.dot for s in siblings), lambda author: 0)
            old = self._contexts.setdefault(key, context)
            if self._rng.random() < 0.3:
                self._contexts[key] = context
            return (old if self._rng.random() < 0.3 else context), None
        winner = max(siblings, key=order_of, default=None)
        return None, "" if winner is None or winner.is_tombstone else winner.version

    def _draw_size(self) -> int:
        if self._rng.random() < self._config.limit_ratio:
            return INLINE_BYTES_MAX - self._rng.randrange(12)
        return int(self._rng.expovariate(1 / 60))

    def _draw_pause(self) -> int:
        return int(self._rng.expovariate(1.0) * self._config.pause_mean_ns)

    # -- notes

    def _send_note(self, node: SimNode) -> None:
        self._value_count += 1
        body = b"note %d" % self._value_count
        to = None if self._rng.random() < 0.5 else self._rng.choice(self._nodes).node
        self._notes[body] = (node.index, to or b"")
        number = self._begin(self._world.now_ns, f"note at {node.name}")
        node.send_note(
            self._noted(number, node), to, "topic" if to is None else "", body, self._rng.randbytes(16)
        )

    def _noted(self, number: int, node: SimNode) -> Callable[[Resolve | Reject | None], None]:
        def answer(effect: Resolve | Reject | None) -> None:
            del self._open[number]
            self.counts["notes"] += isinstance(effect, Resolve)
            if isinstance(effect, Resolve) and not 0 <= effect.result <= len(self._nodes):
                raise Violation("notes", node.name, f"a note went out on {effect.result} links")

        return answer

    def delivered(self, node: SimNode, effect: Deliver) -> None:
        """A note came to programs on `node`: it was sent, to it, by whom it says, and comes once."""
        sent = self._notes.get(effect.body)
        if sent is None or self._nodes[sent[0]].node != effect.sender or sent[1] not in (b"", node.node):
            raise Violation("notes", node.name, f"{effect.body!r} was not sent like this")
        if (node.index, effect.body) in self._heard:
            raise Violation("notes", node.name, f"{effect.body!r} came twice")
        self._heard.add((node.index, effect.body))
        self.counts["notes delivered"] += 1


def spread(rng: random.Random, low: float, high: float) -> float:
    """A figure between, each order of magnitude as likely as the next."""
    return float(low * (high / low) ** rng.random())
