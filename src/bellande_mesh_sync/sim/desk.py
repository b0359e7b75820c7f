"""One simulated node's side towards its programs: their commands in, its news out, through all restarts."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import msgspec
from blake3 import blake3

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.data.history import KeyStory
from bellande_mesh_sync.core.data.record import Record, order_of
from bellande_mesh_sync.core.effects import Changed, Deliver, Reject, Resolve
from bellande_mesh_sync.core.events import Event, SendNote, Write, WriteMany
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import NotRunningError, error_of
from bellande_mesh_sync.feeds import Feeds
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.observe import past, views
from bellande_mesh_sync.sim.checkers import AckChecker
from bellande_mesh_sync.sim.loop import VirtualLoop
from bellande_mesh_sync.sim.merge_checker import MergeChecker
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.note_checker import NoteChecker
from bellande_mesh_sync.sim.values_io import DiskValues
from bellande_mesh_sync.sim.world import World
from bellande_mesh_sync.times import Time
from bellande_mesh_sync.values import Entry, MeshMessage

_DEFAULT_POLICY = SpacePolicy()


class Desk:
    """What all programs of one node share. Nothing of it runs on a program's stack but reading.

    A program's command reaches the node as an action of its own, so that a promise that breaks on the
    way ends the run and not the program, which might go on as if nothing had happened.
    """

    def __init__(
        self,
        world: World,
        loop: VirtualLoop,
        node: SimNode,
        policies: Mapping[str, SpacePolicy],
        merges: MergeChecker,
        acks: AckChecker,
        notes: NoteChecker,
    ) -> None:
        self.node = node
        self.feeds = Feeds()
        self.values = DiskValues(node.disk)
        self.counts: Counter[str] = Counter()
        self.waits_ns: dict[str, list[int]] = defaultdict(list)
        """How long acknowledged writes took, by level."""
        self._world = world
        self._loop = loop
        self._policies = policies
        self._merges = merges
        self._acks = acks
        self._notes = notes
        self._rng = world.rng(f"desk {node.index}")

    # -- the node

    def is_running(self, boot: int | None) -> bool:
        """Whether the node takes calls; of that very run if `boot` is given."""
        node = self.node
        return node.is_running and not node.is_leaving and boot in (None, node.boot)

    @property
    def core(self) -> NodeCore:
        if self.node.core is None:
            raise NotRunningError
        return cast("NodeCore", self.node.core)

    def ended(self) -> None:
        """The node's process is gone, and with it all that listened there."""
        self.feeds.close()
        self.feeds = Feeds()

    # -- reading

    def policy(self, key: str) -> SpacePolicy:
        return self._policies.get(space_of(key), _DEFAULT_POLICY)

    def find(self, key: str) -> tuple[Entry, Callable[[], bytes]] | None:
        """What a reader of this key is told, and how to get at the bytes."""
        return self.entry_of(self.node.disk.shown(key))

    def story(self, key: str) -> KeyStory:
        """All that the node has of this key, what was replaced among it."""
        disk = self.node.disk
        old = tuple((each.until, each.record) for each in disk.platter.history.get(key, ()))
        return KeyStory(key, disk.shown(key), old)

    def find_past(self, key: str, at: Time | None, version: str | None) -> tuple[Entry, Callable[[], bytes]]:
        """What a reader of this key was told at a time, or of one version. Raises as `past.found_in`."""
        core, now_ms = self.core, self.node.clock.now().wall_ms

        def see(siblings: Sequence[Record], wall_ms: int) -> tuple[Record, Entry] | None:
            return views.entry_of(core, siblings, wall_ms)

        record, entry = past.found_in(self.story(key), see, at, version, now_ms)
        return entry, lambda: self.values.read(record)

    def entry_of(self, siblings: Sequence[Record]) -> tuple[Entry, Callable[[], bytes]] | None:
        core = self.core
        if siblings and self._merges.covers(siblings[0].key):
            return self._merged_entry(core, siblings)
        found = views.entry_of(core, siblings, self.node.clock.now().wall_ms)
        if found is None:
            return None
        record, entry = found
        return entry, lambda: self.values.read(record)

    def _merged_entry(
        self, core: NodeCore, siblings: Sequence[Record]
    ) -> tuple[Entry, Callable[[], bytes]] | None:
        values = [record for record in siblings if not record.is_tombstone]
        if not values:
            return None
        newest = max(values, key=order_of)
        entry = views.describe(core, newest, siblings)
        merged = self._merges.merged(self.node.name, siblings, self.values.read)
        if merged is None:
            return entry, lambda: self.values.read(newest)
        digest = blake3(merged).hexdigest()
        return msgspec.structs.replace(entry, size=len(merged), digest=digest), lambda: merged

    # -- commands

    def write(
        self, boot: int | None, writes: tuple[Write, ...], ack: str, timeout_ns: int
    ) -> asyncio.Future[Any]:
        """Ends with the core's receipts or with the error of the tree that they are refused with."""
        asked_ns = self._world.now_ns

        def check(effect: Resolve | Reject) -> None:
            if isinstance(effect, Resolve):
                now_ns = self._world.now_ns
                self._acks.resolved(self.node.index, writes, effect.result, ack, asked_ns, now_ns)
                self.waits_ns[ack].append(now_ns - asked_ns)
            elif effect.code == "ack_timeout":
                nodes, versions = effect.facts.get("nodes", ()), effect.facts.get("versions", ())
                self._acks.timed_out(self.node.index, writes, nodes, versions)

        self.counts["writes"] += len(writes)
        return self._ask(boot, lambda request: WriteMany(request, writes, ack, timeout_ns), check)

    def send_note(self, boot: int | None, to: NodeId | None, topic: str, body: bytes) -> asyncio.Future[Any]:
        self._notes.sent(self.node.node, to, topic, body)
        identifier = self._rng.randbytes(16)
        return self._ask(boot, lambda request: SendNote(request, to, topic, body, identifier))

    def _ask(
        self,
        boot: int | None,
        make: Callable[[int], Event],
        check: Callable[[Resolve | Reject], None] = lambda effect: None,
    ) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()

        def answer(effect: Resolve | Reject | None) -> None:
            if effect is not None:
                self.counts["answers" if isinstance(effect, Resolve) else effect.code] += 1
                check(effect)
            if future.done():
                return  # The program does not wait any more.
            if isinstance(effect, Resolve):
                future.set_result(effect.result)
            elif effect is not None:
                future.set_exception(error_of(effect.code, effect.facts))
            else:
                future.set_exception(NotRunningError())

        def submit() -> None:
            if self.is_running(boot):
                self.node.command(make, answer)
            else:
                answer(None)

        self._world.after(0, submit)
        return future

    # -- news

    def changed(self, effect: Changed) -> None:
        if not self.feeds.has_watches:
            return
        keys = {record.key: record for record in effect.records if self.feeds.is_watched(record.key)}
        for key, record in keys.items():
            found = self.find(key)
            self.feeds.changed(views.change_of(record, found[0] if found else None))

    def delivered(self, effect: Deliver) -> None:
        self._notes.delivered(self.node.index, self.node.node, effect)
        self.feeds.message(MeshMessage(effect.sender.hex(), effect.topic, effect.body))
