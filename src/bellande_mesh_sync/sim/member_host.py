"""A simulated machine that runs membership and nothing else: crashes, pauses, runs late, sleeps."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from blake3 import blake3

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import Log, MemberChanged, PeerForgotten, PeerRecorded, Stop
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.config import SwimConfig
from bellande_mesh_sync.core.members.swim.effects import (
    GoodbyeSaid,
    SendDatagram,
    SendStream,
    SetTimer,
    SwimEffect,
)
from bellande_mesh_sync.core.members.swim.messages import Datagram, StreamMessage
from bellande_mesh_sync.core.members.swim.timers import SwimTimer
from bellande_mesh_sync.core.members.swim.view import View
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim import identity
from bellande_mesh_sync.sim.datagrams import DatagramNetwork
from bellande_mesh_sync.sim.identity import SimIdentity
from bellande_mesh_sync.sim.member_links import MemberLinks, number_in
from bellande_mesh_sync.sim.world import MILLISECOND_NS, World

SOCKET_PACKETS_MAX: Final = 512
"""Packets that a paused process's socket holds for it; the rest gets lost."""


class Membership(Protocol):
    """What a host runs; `Swim` is one."""

    def start(self, now_ns: int, *, tells_records: bool = True) -> list[SwimEffect]: ...

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]: ...

    def handle_stream(self, sender: NodeId, message: StreamMessage, now_ns: int) -> list[SwimEffect]: ...

    def handle_timer(self, timer: SwimTimer, now_ns: int) -> list[SwimEffect]: ...

    def leave(self, now_ns: int) -> list[SwimEffect]: ...

    def sleep(self, for_s: int, now_ns: int) -> list[SwimEffect]: ...

    def wake(self, now_ns: int) -> list[SwimEffect]: ...

    def remove(self, node: NodeId, now_ns: int) -> tuple[bool, list[SwimEffect]]: ...

    def hint_silent(self, node: NodeId, now_ns: int) -> list[SwimEffect]: ...

    def met(
        self, node: NodeId, record: MemberRecord, now_ns: int, *, exchange: bool = False
    ) -> list[SwimEffect]: ...

    @property
    def own_record(self) -> MemberRecord: ...

    def change_self(self, me: LocalNode, now_ns: int) -> list[SwimEffect]: ...

    @property
    def view(self) -> View: ...

    @property
    def incarnation(self) -> int: ...

    @property
    def queued_count(self) -> int: ...


MakeMembership = Callable[[SwimConfig, LocalNode, View, int, random.Random, Counters], Membership]


class HostWatcher(Protocol):
    """What checkers hear of a host."""

    def changed(self, host: MemberHost, effect: MemberChanged) -> None: ...

    def stopped(self, host: MemberHost, reason: str) -> None: ...

    def sends(self, host: MemberHost, effect: SendDatagram) -> None: ...

    def logged(self, host: MemberHost, effect: Log) -> None: ...


class MemberHost:
    """Numbered as in the network. Without a machine it is down."""

    def __init__(
        self, index: int, who: SimIdentity, world: World, network: DatagramNetwork, watcher: HostWatcher,
        hosts: dict[NodeId, int], links: MemberLinks | None = None,
    ) -> None:  # fmt: skip
        """With `links` its datagrams are sealed: only who has its present record can open them."""
        self.index = index
        self.who = who
        self.machine: Membership | None = None
        self.incarnation_stored = 0
        """What its peer book says, for the next start."""
        self._world = world
        self._network = network
        self._watcher = watcher
        self._hosts = hosts
        self._links = links
        self._nodes: list[NodeId] = []
        self._records: dict[NodeId, MemberRecord] = {}
        """Where others are reached, as the machine says."""
        self.boot_id = b""
        self.renew()
        self.counters = Counters()
        self._boot = 0
        self._is_paused = self._is_asleep = False
        self._lag_ns = 0
        self._mailbox: list[tuple[Callable[..., list[SwimEffect]], tuple[Any, ...]]] = []
        self._packets_held = 0

    @property
    def node(self) -> NodeId:
        return self.who.node

    @property
    def is_running(self) -> bool:
        return self.machine is not None and not self._is_asleep

    @property
    def is_late(self) -> bool:
        return self._lag_ns > 0

    def knows_where(self, record: MemberRecord) -> bool:
        """Whether the machine told it of this record, and of none since."""
        return self._records.get(record.node) == record

    @property
    def address(self) -> str:
        return f"host:{self.index}"

    def local_node(self, seeds: tuple[str, ...], zone: str = "") -> LocalNode:
        who = self.who
        return LocalNode(
            who.node, who.public_key, b"simulated mesh 1", who.name, "writer", self.boot_id, "sim",
            (self.address,), seeds, who.sign, identity.verify, self.started_ms, zone=zone,
        )  # fmt: skip

    # -- life

    def start(self, machine: Membership, nodes: list[NodeId]) -> None:
        """`nodes`: the id of every host, by number."""
        self.machine = machine
        self._nodes = nodes
        self._boot += 1
        # Ten thousand nodes that each tell of ten thousand: too much where nothing is sealed.
        self.perform(machine.start(self._world.now_ns, tells_records=self._links is not None))

    def kill(self) -> None:
        if self.machine is not None:
            self.incarnation_stored = self.machine.incarnation
        self.machine = None
        self._records = {}
        if self._links is not None:
            self._links.drop(self.index)
        self._boot += 1
        self._is_paused = self._is_asleep = False
        self._lag_ns = 0
        self._drop_mail()

    def renew(self) -> None:
        """The next start is another run."""
        self.started_ms = self._world.now_ns // MILLISECOND_NS
        self.boot_id = blake3(f"{self.index} at {self._world.now_ns}".encode()).digest(8)

    def pause(self) -> None:
        self._is_paused = True

    def resume(self) -> None:
        """Everything that came in and fell due meanwhile comes at once, timers and packets in their order."""
        self._is_paused = False
        mail = self._mailbox
        self._mailbox, self._packets_held = [], 0
        for handle, arguments in mail:
            self._now(handle, *arguments)

    def run_late(self, lag_ns: int) -> None:
        """From now on each event is handled this much late; 0: no more."""
        self._lag_ns = lag_ns

    def command(self, handle: Callable[[int], list[SwimEffect]]) -> None:
        self.perform(handle(self._world.now_ns))

    def fall_silent(self) -> None:
        """Asleep: the machine's memory lives on, but it hears and does nothing."""
        self._is_paused = self._is_asleep = True
        self._boot += 1
        if self._links is not None:
            self._links.drop(self.index)

    def wake(self) -> None:
        assert self.machine is not None, "only a sleeping host wakes"
        self._is_paused = self._is_asleep = False
        self._drop_mail()
        self.perform(self.machine.wake(self._world.now_ns))

    def _drop_mail(self) -> None:
        self._mailbox, self._packets_held = [], 0

    # -- links

    def hello(self) -> MemberRecord:
        """What it says of itself to the other end of a new link."""
        assert self.machine is not None, "only a running host has links"
        return self.machine.own_record

    def meet(self, record: MemberRecord, *, exchange: bool) -> None:
        if self.machine is not None:
            self._handle(partial(self.machine.met, exchange=exchange), record.node, record)

    def miss(self, node: NodeId) -> None:
        if self.machine is not None:
            self._handle(self.machine.hint_silent, node)

    def can_open(self, node: NodeId, boot_id: bytes) -> bool:
        """Whether it has the key of what this run of that node seals."""
        record = self._records.get(node)
        return record is not None and record.boot == boot_id

    # -- events

    def receive(self, source: int, datagram: Datagram) -> None:
        machine = self.machine
        if machine is None:
            return
        if self._is_paused or self._lag_ns:
            if self._packets_held < SOCKET_PACKETS_MAX:
                self._packets_held += self._is_paused
                self._later(machine.handle_datagram, self._nodes[source], datagram)
            return
        self.perform(machine.handle_datagram(self._nodes[source], datagram, self._world.now_ns))

    def receive_stream(self, source: int, message: StreamMessage) -> None:
        if self.machine is not None:
            self._handle(self.machine.handle_stream, self._nodes[source], message)

    def _handle(self, handle: Callable[..., list[SwimEffect]], *arguments: Any) -> None:
        if self._is_paused or self._lag_ns:
            self._later(handle, *arguments)
        else:
            self.perform(handle(*arguments, self._world.now_ns))

    def _fire(self, boot: int, timer: SwimTimer) -> None:
        machine = self.machine
        if machine is None or boot != self._boot:
            return
        if self._is_paused or self._lag_ns:
            self._later(machine.handle_timer, timer)
            return
        self.perform(machine.handle_timer(timer, self._world.now_ns))

    def _later(self, handle: Callable[..., list[SwimEffect]], *arguments: Any) -> None:
        if self._is_paused:
            self._mailbox.append((handle, arguments))
        else:
            self._world.after(self._lag_ns, self._late, self._boot, handle, arguments)

    def _late(self, boot: int, handle: Callable[..., list[SwimEffect]], arguments: tuple[Any, ...]) -> None:
        if boot != self._boot:
            return
        if self._is_paused:
            self._mailbox.append((handle, arguments))
        else:
            self._now(handle, *arguments)

    def _now(self, handle: Callable[..., list[SwimEffect]], *arguments: Any) -> None:
        if self.machine is not None:
            self.perform(handle(*arguments, self._world.now_ns))

    # -- effects

    def perform(self, effects: list[SwimEffect]) -> None:
        for effect in effects:
            if type(effect) is SendDatagram:
                self._watcher.sends(self, effect)
                number = self._hosts[effect.target] if self._links is None else self._seal(effect.target)
                if number >= 0:
                    self._network.send(self.index, number, effect.datagram, effect.size_bytes)
            elif type(effect) is SetTimer:
                timer = effect.timer
                self._world.at(timer.due_ns, self._fire, self._boot, timer)
            elif type(effect) is SendStream:
                self._send_stream(effect)
            elif type(effect) is MemberChanged:
                self._watcher.changed(self, effect)
            elif type(effect) is GoodbyeSaid:
                self._watcher.stopped(self, "goodbye")
            elif type(effect) is PeerRecorded:
                self._records[effect.record.node] = effect.record
            elif type(effect) is PeerForgotten:
                del self._records[effect.node]
            elif type(effect) is Log:
                self._watcher.logged(self, effect)
            elif type(effect) is Stop:
                self._watcher.stopped(self, effect.code)

    def _seal(self, target: NodeId) -> int:
        """The host that a datagram for this node goes to, and that can open it; else -1."""
        record = self._records.get(target)
        assert self._links is not None
        if record is None or not self._links.takes_datagrams(self.index, record):
            return -1
        return number_in(record.addresses[0])

    def _send_stream(self, effect: SendStream) -> None:
        target = effect.target
        if isinstance(target, str):
            number = number_in(target)
            if self._links is not None and not self._links.dial(self.index, number, exchange=False):
                return
        elif self._links is not None:
            record = self._records.get(target)
            address = -1 if record is None else number_in(record.addresses[0])
            self._links.send(self.index, target, address, effect.message)
            return
        else:
            number = self._hosts[target]
        if number != self.index:
            self._network.send_stream(self.index, number, effect.message)
