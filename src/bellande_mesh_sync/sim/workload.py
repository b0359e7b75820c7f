"""Clients: they read, write, delete and send messages; the oracle hears all they ask and are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import TOMBSTONE, ChunkRef
from bellande_mesh_sync.core.effects import Reject, Resolve
from bellande_mesh_sync.core.events import ChunksAdded, Receipt, Write
from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.sim.checkers import AckChecker, DiskChecker, Violation
from bellande_mesh_sync.sim.draws import Keys, Values, draw_weighted
from bellande_mesh_sync.sim.history import (
    Answered,
    Asked,
    AskedWrite,
    Refused,
    Unknown,
)
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.note_clients import NoteClients
from bellande_mesh_sync.sim.oracle import Oracle
from bellande_mesh_sync.sim.reading import Reading, answer, read, shown
from bellande_mesh_sync.sim.requests import Requests
from bellande_mesh_sync.sim.workload_config import COUNTERS
from bellande_mesh_sync.sim.workload_config import WorkloadConfig as WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, WALL_START_MS, World

NOTHING_WRITTEN: Final = frozenset(
    {"precondition_failed", "conflict_limit", "busy", "disk_full", "storage", "corrupt_store"}
)
"""Rejections that promise that the write never happened."""
AUDIT_INTERVAL_NS: Final = 5 * SECOND_NS
SIBLINGS_MAX: Final = 32
AUDIT_KEYS: Final = 3
"""How many keys are read at every node each time."""
PAIR: Final = "then"
"""What stands in `counts` between two kinds of operations that met on one key."""


Hear = Callable[[Resolve | Reject | None], None]
"""Told how a request ended; None when its node died before."""


def _unheard(*_: object) -> None:
    """Where things are told to when nobody listens."""


class Client:
    """One program, and what it remembers of what it has read."""

    def __init__(self, home: int) -> None:
        self.home = home
        self.memory: dict[str, Reading] = {}


class Workload:
    """All clients of a run."""

    def __init__(
        self,
        world: World,
        config: WorkloadConfig,
        nodes: Sequence[SimNode],
        disks: DiskChecker,
        acks: AckChecker,
        oracle: Oracle,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.is_over = False
        self.resolved: Callable[[int, Sequence[Write], Sequence[Receipt]], None] = _unheard
        """Told of each request of a node that was answered with receipts."""
        self._world = world
        self._config = config
        self._nodes = nodes  # The mesh's own list: whoever joins is in it.
        self._disks = disks
        self._acks = acks
        self._oracle = oracle
        self._rng = rng = world.rng("workload")
        self._keys = Keys(config, rng)
        self._values = Values(config, rng)
        self._clients = [Client(rng.randrange(len(nodes))) for _ in range(config.clients)]
        self._audit_rng = world.rng("audit")
        self._used: dict[str, str] = {}
        """Every key that was asked for, and the last kind of operation on it."""
        self._requests = Requests(world)
        self.notes = NoteClients(rng, self._values, self._requests, oracle, self.counts)

    def start(self) -> None:
        self._world.after(self._draw_gap(), self._arrive)
        self._world.after(AUDIT_INTERVAL_NS, self._audit)
        if self._config.burst_s:
            self._world.after(self._draw_ns(self._config.burst_s), self._burst)

    def stop(self) -> None:
        self.is_over = True

    # -- who acts when

    def _arrive(self) -> None:
        if not self.is_over:
            self._world.after(self._draw_gap(), self._arrive)
            self._act()

    def _burst(self) -> None:
        if self.is_over:
            return
        self.counts["bursts"] += 1
        for _ in range(self._config.burst_requests):
            self._world.after(self._rng.randrange(SECOND_NS), self._act)
        self._world.after(self._draw_ns(self._config.burst_s), self._burst)

    def _draw_gap(self) -> int:
        return self._draw_ns(1 / self._config.requests_per_s)

    def _draw_ns(self, mean_s: float) -> int:
        return int(self._rng.expovariate(1.0) * mean_s * SECOND_NS)

    def _act(self) -> None:
        running = [n for n in self._nodes if n.is_running and not n.is_leaving and n.takes_clients]
        if self.is_over or not running:
            return
        client = self._rng.choice(self._clients)
        node = self._rng.choice(running)
        if self._rng.random() >= self._config.roam_ratio:
            node = next((each for each in running if each.index == client.home), node)
        chance = self._rng.random()
        if chance < self._config.note_ratio:
            self.notes.send(node, self._nodes)
        elif chance - self._config.note_ratio < self._config.read_ratio:
            self._look(client, node, self._keys.draw())
        else:
            self._ask(client, node)

    # -- reading

    def _look(self, client: Client, node: SimNode, key: str) -> None:
        if not node.is_paused:
            self._note_kind(key, "read")
            self._read(client, node, key)

    def _read(self, client: Client, node: SimNode, key: str) -> Reading:
        """Read at a node that runs, and tell the oracle what came. Clients remember for long."""
        reading = read(node, key)
        self._oracle.hear(shown(node, key, reading.siblings, self._world.now_ns))
        self.counts["reads"] += 1
        if key not in client.memory or self._rng.random() < 0.3:
            client.memory[key] = reading
        return reading

    def _audit(self) -> None:
        """Some keys are looked at everywhere, whoever wrote them."""
        if self.is_over:
            return
        self._world.after(AUDIT_INTERVAL_NS, self._audit)
        used = list(self._used)
        for node in self._nodes:
            if used and node.is_running and not node.is_paused:
                self._check_keys(node, self._audit_rng.choices(used, k=AUDIT_KEYS))

    def _check_keys(self, node: SimNode, keys: Sequence[str]) -> None:
        for key in keys:
            self._oracle.hear(shown(node, key, node.disk.shown(key), self._world.now_ns))

    # -- writing

    def _ask(self, client: Client, node: SimNode) -> None:
        """A request, of one write or a batch, is drawn now and comes to the node a moment later."""
        writes: list[Write] = []
        asked: list[AskedWrite] = []
        key = self._keys.draw()
        count = 1
        if self._rng.random() < self._config.batch_ratio:
            count = self._rng.randint(2, self._config.batch_max)
            self.counts["batches"] += 1
        for _ in range(count):
            write, told = self._draw_write(client, node, key)
            writes.append(write)
            asked.append(told)
            if self._rng.random() >= self._config.twin_ratio:
                key = self._keys.draw()
        ack = draw_weighted(self._rng, self._config.acks)
        timeout_ns = self._rng.choice((SECOND_NS, 5 * SECOND_NS, 10 * SECOND_NS))
        delay_ns = self._rng.randrange(5 * MILLISECOND_NS)  # The shell's way from the chunks to the write.
        self._world.after(
            delay_ns, self._submit, node, node.boot, tuple(writes), tuple(asked), ack, timeout_ns
        )

    def _draw_write(self, client: Client, node: SimNode, key: str) -> tuple[Write, AskedWrite]:
        style = self._draw_style(node, key)
        is_delete = self._rng.random() < self._config.delete_ratio
        self._note_kind(key, f"delete {style}" if is_delete else style)
        seen, if_match = self._draw_condition(client, node, key, style)
        context: Context | None = None if seen is None else seen.context
        write = Write(key, TOMBSTONE) if is_delete else self._draw_value(node, key)
        write = msgspec.structs.replace(write, context=context, if_match=if_match)
        versions = None if seen is None else seen.versions
        return write, AskedWrite(key, write.digest, versions, if_match, write.expires_ms > 0)

    def _draw_style(self, node: SimNode, key: str) -> str:
        style = draw_weighted(self._rng, self._config.styles)
        if style in ("blind", "stale") and len(node.disk.shown(key)) > SIBLINGS_MAX:
            return "modify"  # Somebody has to tidy up, or everything gets slow.
        if style == "implicit" and self._keys.is_careful(key):
            return self._rng.choice(("modify", "modify", "stale", "blind"))
        return style

    def _draw_condition(
        self, client: Client, node: SimNode, key: str, style: str
    ) -> tuple[Reading | None, str | None]:
        """(what the writer has seen, if_match)"""
        if style == "implicit":
            return None, None
        if style == "blind":
            return _NOTHING_SEEN, None
        reading = client.memory.get(key)
        if node.is_paused or not node.is_running:  # It may have died of what the request brought before.
            reading = reading or _NOTHING_SEEN
        elif reading is None or style != "stale":
            reading = self._read(client, node, key)
        if style != "match":
            return reading, None
        return reading if self._keys.is_careful(key) else None, reading.visible

    def _draw_value(self, node: SimNode, key: str) -> Write:
        drawn = self._values.draw(key)
        if drawn.chunks:
            node.disk.add_chunks(drawn.chunks)  # The chunks go to the disk first, as a shell does it.
            self.counts["chunked"] += 1
            if self._rng.random() < 0.5:
                self._tell(node, drawn.refs)
        if self._rng.random() >= self._config.expiry_ratio:
            return drawn.write
        wall_ms = WALL_START_MS + self._world.now_ns // MILLISECOND_NS
        return msgspec.structs.replace(drawn.write, expires_ms=wall_ms + self._rng.randint(-1_000, 60_000))

    def _tell(self, node: SimNode, refs: tuple[ChunkRef, ...]) -> None:
        """The shell says what it stored before the write; now and then the write never comes."""
        told = refs if self._rng.random() < 0.8 else refs[: self._rng.randrange(len(refs))]
        if told:
            node.post(ChunksAdded(told))
            self.counts["chunks_told"] += len(told)

    def _note_kind(self, key: str, kind: str) -> None:
        """Which kinds of operations have met on one key: what never did is a blind spot."""
        if self._keys.is_hot(key):
            before = self._used.get(key)
            if before is not None:
                self.counts[f"{before} {PAIR} {kind}"] += 1
        self._used[key] = kind

    # -- questions and answers

    def _submit(
        self,
        node: SimNode,
        boot: int,
        writes: tuple[Write, ...],
        asked: tuple[AskedWrite, ...],
        ack: str,
        timeout_ns: int,
        hear: Hear = _unheard,
    ) -> None:
        if node.boot != boot or not node.is_running or node.is_leaving:
            return  # It died meanwhile, perhaps of telling about the chunks: nobody is there to ask.
        self.counts["requests"] += 1
        self.counts["writes"] += len(writes)
        number = self._requests.begin(f"{ack} write of {writes[0].key} at {node.name}")
        now_ns = self._world.now_ns
        self._oracle.hear(Asked(number, node.index, asked, ack, now_ns))
        if ack != "local":  # There just the disk counts, however slow it is.
            self._requests.expect(number, node, now_ns + timeout_ns)
        node.write(self._answered(number, node, writes, ack, hear), writes, ack, timeout_ns)

    def put(self, node: SimNode, write: Write, ack: str, timeout_ns: int, hear: Hear) -> None:
        """One more write, at a node that runs, whoever asks for it."""
        asked = (AskedWrite(write.key, write.digest),)
        self._submit(node, node.boot, (write,), asked, ack, timeout_ns, hear)

    def _answered(self, number: int, node: SimNode, writes: tuple[Write, ...], ack: str, hear: Hear) -> Hear:
        asked_ns = self._world.now_ns
        owners = self._acks.owners(node.index)

        def answer(effect: Resolve | Reject | None) -> None:
            self._requests.end(number)
            if effect is None:
                self.counts["died"] += 1
                self._oracle.hear(Unknown(number, self._world.now_ns))
            elif isinstance(effect, Resolve):
                self.counts[f"acked {ack}"] += 1
                now_ns = self._world.now_ns
                self._acks.resolved(node.index, writes, effect.result, ack, asked_ns, now_ns, owners)
                self.resolved(node.index, writes, effect.result)
                self._acknowledged(number, writes, effect.result)
            else:
                self._rejected(number, node, writes, effect)
            hear(effect)

        return answer

    def _acknowledged(self, number: int, writes: tuple[Write, ...], receipts: tuple[Receipt, ...]) -> None:
        nodes = tuple(self._oracle.nodes[node.hex()] for node in receipts[0].nodes)
        versions = tuple(receipt.version for receipt in receipts)
        self._oracle.hear(Answered(number, versions, nodes, self._world.now_ns))
        for write in writes:
            self._values.acknowledged(write)
        place = self._nodes[self._audit_rng.choice(nodes)]
        if place.is_running and not place.is_paused:
            self._check_keys(place, [writes[-1].key])

    def _rejected(self, number: int, node: SimNode, writes: tuple[Write, ...], effect: Reject) -> None:
        self.counts[effect.code] += 1
        now_ns = self._world.now_ns
        if effect.code == "ack_timeout":
            facts = effect.facts
            self._acks.timed_out(node.index, writes, facts["nodes"], facts["versions"])
            nodes = tuple(self._oracle.nodes[each] for each in facts["nodes"])
            self._oracle.hear(Unknown(number, now_ns, tuple(facts["versions"]), nodes))
        elif effect.code in NOTHING_WRITTEN:
            if effect.code == "corrupt_store":
                self._check_rotten(node, writes)
            for write in writes:
                if write.digest and write.digest not in self._values.repeated:
                    self._disks.refused(write.digest, effect.code)
            self._oracle.hear(Refused(number, effect.code, now_ns))
        else:
            raise Violation("answers", node.name, f"a write was rejected with {effect.code}: {effect.facts}")

    def _check_rotten(self, node: SimNode, writes: tuple[Write, ...]) -> None:
        rotten = {key for key, _ in node.disk.platter.ever_rotten}
        if rotten.isdisjoint(write.key for write in writes):
            raise Violation("answers", node.name, "a write is said to meet damage where there was none")

    # -- at rest

    def check_at_rest(self, settled: Sequence[SimNode]) -> None:
        """Every call has ended, and a client that reads everything gets the same at each of these nodes."""
        self._requests.check_at_rest()
        wall_ms = WALL_START_MS + self._world.now_ns // MILLISECOND_NS
        found = {key for node in settled for key in node.disk.visible_keys() if space_of(key) != COUNTERS}
        keys = sorted({*self._used, *found})
        for node in settled:
            self._check_keys(node, keys)
        answers = [{key: answer(node, key, wall_ms) for key in keys} for node in settled]
        self._oracle.check_at_rest([node.index for node in settled], answers)


_NOTHING_SEEN: Final = Reading((), (), "")
