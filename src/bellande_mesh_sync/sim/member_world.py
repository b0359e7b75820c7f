"""A world of nodes that run membership and nothing else: up to ten thousand in one thread."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import Log, MemberChanged
from bellande_mesh_sync.core.members.swim.config import LAN, SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.messages import SEAL_BYTES, Standing
from bellande_mesh_sync.core.members.swim.roster import Roster
from bellande_mesh_sync.core.members.swim.view import View
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim import identity
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.datagrams import DatagramConfig, DatagramNetwork
from bellande_mesh_sync.sim.identity import SimIdentity, make_identity
from bellande_mesh_sync.sim.member_host import MakeMembership, MemberHost, Membership
from bellande_mesh_sync.sim.member_links import MemberLinks, number_in
from bellande_mesh_sync.sim.member_promises import (
    ABSENT,
    ASLEEP,
    DOUBLED,
    DOWN,
    HEAL_NS,
    INCARNATIONS_MAX,
    LEFT,
    PAUSED,
    RETURN_NS,
    SLEEP_GRACE_S,
    STOPPED,
    UP,
    Life,
    MemberChecker,
    detection_bound_ns,
    double_bound_ns,
    missing_bound_ns,
)
from bellande_mesh_sync.sim.world import SECOND_NS, World

SEEDS: Final = 3
"""A node that joins is told the addresses of this many others."""
ENCODED_EVERY: Final = 61
"""One in this many packets is encoded, to see that its size is as it says."""
_STANDINGS: Final = {
    UP: Standing.ALIVE, PAUSED: Standing.ALIVE, DOWN: Standing.DEAD, ASLEEP: Standing.ASLEEP,
    LEFT: Standing.LEFT, ABSENT: Standing.UNKNOWN,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MemberScenario:
    nodes: int
    seed: int = 1
    config: SwimConfig = LAN
    network: DatagramConfig = field(default_factory=DatagramConfig)
    expects_accuracy: bool = True
    """Off where more is lost or late than the promise covers; then false deaths are only counted."""
    is_sealed: bool = False
    """Datagrams reach only those who have the keys for them; links are opened and break. Costs time."""
    bytes_per_second_max: int = 40_000
    """Of one node, over the whole run."""


def make_swim(
    config: SwimConfig, me: LocalNode, view: View, incarnation: int, rng: random.Random, counters: Counters
) -> Swim:
    return Swim(config, me, view, incarnation, rng, counters)


class MemberWorld:
    """Everybody knows everybody at the start. Then do to them what you like, and let time pass."""

    def __init__(self, scenario: MemberScenario, make: MakeMembership = make_swim) -> None:
        self.scenario = scenario
        self.world = World(scenario.seed)
        self.network = DatagramNetwork(self.world, scenario.network)
        self.roster = Roster(identity.verify, is_shared=True)
        lives = [Life(UP) for _ in range(scenario.nodes)]
        self.checker = MemberChecker(scenario.config, lives, expects_accuracy=scenario.expects_accuracy)
        self.hosts: list[MemberHost] = []
        self._links = MemberLinks(self.world, self.network, self.hosts) if scenario.is_sealed else None
        self.packet_bytes_max = 0
        self._make = make
        self._nodes: list[NodeId] = []
        self._hosts_by_node: dict[NodeId, int] = {}
        self._packet_count = 0
        self._encode = msgspec.msgpack.Encoder().encode
        for _ in range(scenario.nodes):
            self._add_host()
        self._template = self._everybody()
        for host in self.hosts:
            self._start(host, self._template.copy(), ())
        self._watch_bounds()

    def _add_host(self, who: SimIdentity | None = None) -> MemberHost:
        index = len(self.hosts)
        who = who or make_identity(self.scenario.seed, index)
        host = MemberHost(index, who, self.world, self.network, self, self._hosts_by_node, self._links)
        self.hosts.append(host)
        self._nodes.append(who.node)
        self._hosts_by_node[who.node] = index
        self.network.add(host)
        return host

    def _everybody(self) -> View:
        view = View(self.roster)
        for host in self.hosts:
            number = self.roster.number_of(host.local_node(()).record(1))
            view.put(self.roster.find(host.who.node), number, Standing.ALIVE, 0)
        return view

    def _start(self, host: MemberHost, view: View, seeds: tuple[str, ...]) -> None:
        host.start(self._machine(host, view, seeds), self._nodes)
        self._dial(host.index, seeds)

    def _dial(self, index: int, addresses: tuple[str, ...]) -> None:
        if self._links is not None:
            for address in addresses:
                self._links.dial(index, number_in(address), exchange=True)

    def _machine(self, host: MemberHost, view: View, seeds: tuple[str, ...]) -> Membership:
        rng = self.world.rng(f"node/{host.index}/{host.incarnation_stored}/{self.world.now_ns}")
        me, incarnation = host.local_node(seeds), host.incarnation_stored + 1
        return self._make(self.scenario.config, me, view, incarnation, rng, host.counters)

    def make_machine(self, index: int) -> Membership:
        """One more machine for a host of the beginning, as it was then; to be weighed, not run."""
        return self._machine(self.hosts[index], self._template.copy(), ())

    # -- what the hosts tell

    def changed(self, host: MemberHost, effect: MemberChanged) -> None:
        subject = self._hosts_by_node[effect.node]
        self.checker.changed(host.index, subject, effect.new_state, self.world.now_ns)

    def stopped(self, host: MemberHost, reason: str) -> None:
        if reason != "goodbye":
            self.checker.stopped_double(host.index, self.world.now_ns)
            host.kill()
            return
        if self.checker.lives[host.index].state == ASLEEP:
            host.fall_silent()
        else:
            host.kill()

    def logged(self, host: MemberHost, effect: Log) -> None:
        self.checker.reported(host.index, effect.code)

    def sends(self, host: MemberHost, effect: SendDatagram) -> None:
        self._packet_count += 1
        if effect.size_bytes > self.packet_bytes_max:
            self.packet_bytes_max = effect.size_bytes
            if effect.size_bytes > self.scenario.config.packet_bytes_max:
                raise Violation("packet", host.who.name, f"a packet of {effect.size_bytes} bytes")
        if self._packet_count % ENCODED_EVERY == 0:
            size = len(self._encode(effect.datagram)) + SEAL_BYTES
            if size > effect.size_bytes:
                raise Violation("packet", host.who.name, f"{size} bytes were said to be {effect.size_bytes}")

    # -- what happens to them

    def run_for(self, seconds: float) -> None:
        self.world.run_until(self.world.now_ns + int(seconds * SECOND_NS))

    def kill(self, index: int) -> None:
        self.hosts[index].kill()
        self._happened(index, DOWN)
        now_ns = self.world.now_ns
        bound_ns = detection_bound_ns(self.scenario.config, len(self.hosts))
        self.world.after(bound_ns, self._check_known_dead, index, now_ns)

    def restart(self, index: int, *, with_book: bool = True) -> None:
        """Start a killed host again; without its peer book it knows only some addresses."""
        host = self.hosts[index]
        if not with_book:
            host.incarnation_stored = 0
        host.renew()
        self.checker.forget_told(index)
        self._come_back(index)
        view = self._template.copy() if with_book else View(self.roster)
        self._start(host, view, self._some_addresses(index))

    def join(self) -> int:
        """A node that nobody knows: its number."""
        host = self._add_host()
        self.checker.add()
        self._happened(host.index, UP)
        self._start(host, View(self.roster), self._some_addresses(host.index))
        self._expect_back(host.index)
        return host.index

    def _some_addresses(self, index: int) -> tuple[str, ...]:
        rng = self.world.rng(f"seeds/{index}/{self.world.now_ns}")
        up = [host.address for host in self.hosts if self._is_up(host.index) and host.index != index]
        return tuple(rng.sample(up, min(SEEDS, len(up))))

    def pause(self, index: int) -> None:
        self.hosts[index].pause()
        self._happened(index, PAUSED)

    def resume(self, index: int) -> None:
        self._come_back(index)
        self.hosts[index].resume()

    def run_late(self, index: int, lag_ns: int) -> None:
        self.hosts[index].run_late(lag_ns)

    def leave(self, index: int) -> None:
        machine = self.hosts[index].machine
        assert machine is not None, "only a running node leaves"
        self._happened(index, LEFT)
        self.hosts[index].command(machine.leave)

    def sleep(self, index: int, for_s: int = 3600) -> None:
        """Asleep until `wake`, whatever it says of how long."""
        machine = self.hosts[index].machine
        assert machine is not None, "only a running node goes to sleep"
        self._happened(index, ASLEEP)
        self.hosts[index].command(partial(machine.sleep, for_s))
        now_ns = self.world.now_ns
        self.checker.lives[index].missed_ns = now_ns + (for_s + SLEEP_GRACE_S) * SECOND_NS
        late_ns = (for_s + SLEEP_GRACE_S) * SECOND_NS + missing_bound_ns(self.scenario.config)
        self.world.after(late_ns, self._check_known_missing, index, now_ns)

    def wake(self, index: int) -> None:
        self._come_back(index)
        self.hosts[index].wake()
        self._dial(index, self._some_addresses(index))

    def twin(self, index: int) -> int:
        """A copy of a node's disk starts as a second node with the same identity: its number."""
        assert self._links is not None, "only where it matters whose key a packet is sealed for"
        original = self.hosts[index]
        assert original.machine is not None, "only a running node has a double"
        twin = self._add_host(original.who)
        twin.incarnation_stored = original.machine.incarnation
        self.checker.doubled(index, self.world.now_ns)
        self._start(twin, self._template.copy(), self._some_addresses(twin.index))
        self.world.after(double_bound_ns(self.scenario.config), self._check_one_left, index, twin.index)
        return twin.index

    @property
    def has_double(self) -> bool:
        return any(life.state == DOUBLED for life in self.checker.lives)

    def remove(self, operator: int, victim: int) -> None:
        """An operator says on one node that another one, which is down, will not come back."""
        machine = self.hosts[operator].machine
        assert machine is not None, "only a running node is told something"
        is_removed, effects = machine.remove(self._nodes[victim], self.world.now_ns)
        self.checker.lives[victim].is_removed |= is_removed
        self.hosts[operator].perform(effects)

    def change(self, index: int) -> None:
        """A node says something new about itself."""
        host = self.hosts[index]
        assert host.machine is not None, "only a running node changes"
        me = host.local_node(self._some_addresses(index), f"zone {self.world.now_ns}")
        self.checker.lives[index].zone = me.zone
        host.command(partial(host.machine.change_self, me))

    def split(self, apart: list[int]) -> None:
        self.network.split(apart)
        found = frozenset(apart)
        if self._links is not None:
            self._links.watch_split()
        self.checker.split([int(index in found) for index in range(len(self.hosts))], self.world.now_ns)

    def cut_one_way(self, source: int, target: int) -> None:
        self.network.block([(source, target)])

    def heal(self) -> None:
        self.network.heal()
        now_ns = self.world.now_ns
        self.checker.healed(now_ns)
        self.world.after(HEAL_NS, self._check_one_mesh, now_ns)

    def _happened(self, index: int, state: str) -> None:
        self.checker.happened(index, state, self.world.now_ns)

    def _come_back(self, index: int) -> None:
        self._happened(index, UP)
        self._expect_back(index)

    def _expect_back(self, index: int) -> None:
        self.world.after(RETURN_NS, self._check_known_back, index, self.world.now_ns)

    def _is_up(self, index: int) -> bool:
        return self.checker.lives[index].state == UP

    # -- checks

    def _check_known_dead(self, index: int, since_ns: int) -> None:
        self.checker.check_known_dead(index, since_ns, self.world.now_ns)

    def _check_known_missing(self, index: int, since_ns: int) -> None:
        self.checker.check_known_missing(index, since_ns, self.world.now_ns)

    def _check_one_left(self, older: int, newer: int) -> None:
        self.checker.check_one_left(older, newer, self.world.now_ns)

    def _check_known_back(self, index: int, since_ns: int) -> None:
        self.checker.check_known_back(index, since_ns, self.world.now_ns)

    def _check_one_mesh(self, since_ns: int) -> None:
        self.checker.check_one_mesh(since_ns, self.world.now_ns)

    def _watch_bounds(self) -> None:
        """Safety, every second, at one host after the other: ten thousand are not looked at at once."""
        for index in range(self.world.now_ns // SECOND_NS % 10, len(self.hosts), 10):
            self.check_bounds(self.hosts[index])
        self.world.after(SECOND_NS, self._watch_bounds)

    def check_bounds(self, host: MemberHost) -> None:
        machine = host.machine
        if machine is None:
            return
        config = self.scenario.config
        if machine.queued_count > config.updates_max + config.accusations_max:
            raise Violation("queue", host.who.name, f"{machine.queued_count} updates wait")
        if self._links is not None:
            self._check_records(host, machine.view)
        if machine.incarnation > INCARNATIONS_MAX:
            raise Violation("incarnation", host.who.name, f"is in incarnation {machine.incarnation}")

    def _check_records(self, host: MemberHost, view: View) -> None:
        for index in view.known():
            if view.roster.nodes[index] != host.node and not host.knows_where(view.record(index)):
                raise Violation("peers", host.who.name, "was not told where a member is reached")

    def check_traffic(self, seconds: float) -> None:
        for host in self.hosts:
            rate = self.network.sent_bytes[host.index] / seconds
            if rate > self.scenario.bytes_per_second_max:
                raise Violation("traffic", host.who.name, f"{rate:.0f} bytes a second")

    def check_agreement(self) -> None:
        """At rest every view is the truth. Cost: O(nodes) for each view."""
        truth = bytearray(len(self.roster))
        own = [0] * len(self.roster)
        for host in self.hosts:
            index = self.roster.find(host.who.node)
            if index >= 0 and self.checker.lives[host.index].state not in (DOUBLED, STOPPED):
                truth[index] = _STANDINGS[self.checker.lives[host.index].state]
                own[index] = host.incarnation_stored if host.machine is None else host.machine.incarnation
        up = [host for host in self.hosts if host.machine is not None and self._is_up(host.index)]
        for host in up:
            assert host.machine is not None
            self._say_removed(host.machine.view, truth)
        for host in up:
            assert host.machine is not None
            self._check_view(host, host.machine.view, truth, own)

    def _say_removed(self, view: View, truth: bytearray) -> None:
        """What an operator said is true from then on; if all who heard it went down at once, nobody knows."""
        for host, life in zip(self.hosts, self.checker.lives, strict=True):
            index = self.roster.find(host.who.node)
            if life.is_removed and view.standing(index) == Standing.REMOVED:
                truth[index] = Standing.REMOVED

    def _check_view(self, host: MemberHost, view: View, truth: bytearray, own: list[int]) -> None:
        seen = view.standings.ljust(len(truth), b"\0")
        if self.scenario.network.loss_ratio:  # Then there is a suspicion now and then; it ends by itself.
            seen = seen.replace(bytes([Standing.SUSPECT]), bytes([Standing.ALIVE]))
        if seen != truth:
            index = next(i for i in range(len(truth)) if seen[i] != truth[i])
            name = self.hosts[self._hosts_by_node[self.roster.nodes[index]]].who.name
            held, real = Standing(seen[index]).name.lower(), Standing(truth[index]).name.lower()
            raise Violation("agreement", host.who.name, f"holds {name} for {held}, which is {real}")
        for index in range(0, len(truth), max(1, len(truth) // 64)):
            if truth[index] and view.incarnation(index) > own[index]:
                raise Violation("incarnation", host.who.name, "has a record that its node never made")
            life = self.checker.lives[self._hosts_by_node[self.roster.nodes[index]]]
            if life.zone and truth[index] == Standing.ALIVE and view.record(index).zone != life.zone:
                raise Violation("record", host.who.name, f"has an old record of one now in {life.zone}")

    # -- the trace

    def digest(self) -> str:
        """Equal for equal runs: all changes, all packets by host, all views."""
        total = self.checker.digest.copy()
        total.update(self.network.sent_packets.tobytes())
        total.update(self.network.sent_bytes.tobytes())
        for host in self.hosts:
            if host.machine is not None:
                total.update(host.machine.view.fingerprint())
        return blake3(total.digest()).hexdigest()
