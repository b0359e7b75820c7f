"""A simulated network: dials, delays, resets, partitions, and ends that learn late."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.events import DialFailed
from bellande_mesh_sync.core.messages import RECORDS_LANE, Goodbye, Hello, Message, Records
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.connection import End, Host, Parcel
from bellande_mesh_sync.sim.envelope import Unpacker, pack
from bellande_mesh_sync.sim.note_ledger import NoteLedger
from bellande_mesh_sync.sim.packets import PacketNetwork
from bellande_mesh_sync.sim.wire_time import NetworkConfig as NetworkConfig
from bellande_mesh_sync.sim.wire_time import Way, WireTime
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, World

DIAL_TIMEOUT_NS: Final = 10 * SECOND_NS
"""As the shell's: for the connection, TLS and both Hellos together."""


Bend = Callable[[bytes, bool], tuple[bytes, str]]
"""(frames, whether they are a Hello) -> (what goes out instead, what is false about it)."""


def _nowhere(frames: bytes) -> None:
    """Where frames are told to when nobody listens."""


class Network:
    """All hosts, addresses and connections, and what is wrong between them."""

    def __init__(
        self, world: World, config: NetworkConfig, links: Iterable[tuple[int, int, NetworkConfig]] = ()
    ) -> None:
        self.world = world
        self._config = config
        self._pairs = {(min(a, b), max(a, b)): special for a, b, special in links}
        """Pairs of hosts with a network of their own between them."""
        self.bent: dict[int, Bend] = {}
        """Hosts whose bytes go out otherwise than they say them."""
        self.liars: set[int] = set()
        """Hosts of which bytes may come that no decoder takes."""
        self.expelled: set[int] = set()
        """Nodes that the mesh itself has revoked."""
        self.outsiders: set[int] = set()
        """Hosts whose certificate no longer counts: TLS refuses them, and nothing may reach them."""
        self.tap: Callable[[bytes], None] = _nowhere
        """Told what frames are put on the wire, once for all who get them in one turn."""
        self.counts: dict[str, int] = {
            "dials": 0,
            "resets": 0,
            "stalls": 0,
            "queue_overflow": 0,
            "bytes": 0,
            "dials_failed": 0,
            "chunks_corrupted": 0,
            "torn_writes": 0,
            "outsiders_refused": 0,
            "lies_refused": 0,
        }
        self.notes = NoteLedger()
        self.record_bytes_in_flight_max = 0
        self.unpacker = Unpacker()
        self._rng = world.rng("network")
        self.times = WireTime(world, self._rng)
        self.cuts_next_stream = False
        """The next connection that somebody writes records to breaks at that moment."""
        self._hosts: dict[int, Host] = {}
        self._addresses: dict[str, Host] = {}
        self._blocks: dict[int, list[tuple[int, int]]] = {}
        self._block_count = 0
        self._blocked: Counter[tuple[int, int]] = Counter()
        """How many blocks lie on each way; one without any is not in here."""
        self._ends: dict[tuple[int, int], End] = {}
        """By host index and link number; every end that is not over."""
        self.packets = PacketNetwork(self)

    # -- hosts

    def config_between(self, a: int, b: int) -> NetworkConfig:
        """What the network is like between two hosts."""
        return self._pairs.get((min(a, b), max(a, b)), self._config)

    def register(self, host: Host, address: str) -> None:
        """`host` listens at `address`, and nowhere else any more."""
        self._hosts[host.index] = host
        self._addresses = {known: other for known, other in self._addresses.items() if other is not host}
        self._addresses[address] = host

    def rehome(self, host: Host, address: str) -> None:
        """`host` is reached elsewhere, and by none of its connections: to both ends they fall silent."""
        self.register(host, address)
        for end in [end for end in self._ends.values() if host in (end.host, end.other.host)]:
            end.is_severed = end.other.is_severed = True

    def _give_up_opening(self, end: End) -> None:
        """As the shell does, at either end: a Hello may be on its way for minutes."""
        if not (end.is_open or end.is_over):
            end.fail("deadline")
            self.learn_later(end.other)

    def host_at(self, address: str) -> Host | None:
        """Who listens there."""
        return self._addresses.get(address)

    def host_died(self, host: Host, *, power: bool) -> None:
        """All its connections end. With the power gone too, nobody is there to say so."""
        for end in [end for end in self._ends.values() if end.host is host]:
            end.is_over = True
            self.forget(end)
            end.other.drop_way()
            if power:
                self._tear(end)
                end.drop_way()
                self.learn_later(end.other)
            elif not end.other.is_over:
                end.way.append(Parcel(self.world.now_ns, 0, end=True))
                if len(end.way) == 1:
                    self.world.after(self.draw_delay(end), end.pump)

    # -- dialling

    def dial(
        self, host: Host, dial: int, address: str, peer: NodeId | None, lane: int, *, is_wanted: bool = False
    ) -> None:
        self.counts["dials"] += 1
        there = self._addresses.get(address)
        config = self._config if there is None else self.config_between(host.index, there.index)
        if there is None:
            self._fail_dial(host, dial, "unreachable", self._delay_ns(config))
        elif there is host:
            self._fail_dial(host, dial, "self", MILLISECOND_NS)
        elif self.is_blocked(host.index, there.index) or self.is_blocked(there.index, host.index):
            self._fail_dial(host, dial, "unreachable", DIAL_TIMEOUT_NS)
        elif not there.is_running:
            self._fail_dial(host, dial, "unreachable", 2 * self._delay_ns(config))
        elif (clogged_ns := self._clogged_ns(host.index, there.index)) > DIAL_TIMEOUT_NS:
            self._fail_dial(host, dial, "deadline", DIAL_TIMEOUT_NS)
        else:
            # TCP and TLS 1.3 take two round trips before the dialler may speak.
            delay_ns = clogged_ns + 4 * self._delay_ns(config, host, there)
            if delay_ns > DIAL_TIMEOUT_NS:
                self._fail_dial(host, dial, "deadline", DIAL_TIMEOUT_NS)
                return
            self.world.after(
                delay_ns, self._accept, host, host.boot, dial, address, there, peer, lane, is_wanted
            )

    def _clogged_ns(self, a: int, b: int) -> int:
        """How long nothing passes between two hosts, in one direction at least."""
        until_ns = max(self.times.clogged_until_ns((a, b)), self.times.clogged_until_ns((b, a)))
        return max(until_ns - self.world.now_ns, 0)

    def _accept(
        self,
        host: Host,
        boot: int,
        dial: int,
        address: str,
        there: Host,
        peer: NodeId | None,
        lane: int,
        is_wanted: bool,
    ) -> None:
        if host.boot != boot or not host.is_running:
            return
        config = self.config_between(host.index, there.index)
        is_gone = self._addresses.get(address) is not there
        if is_gone or self.is_blocked(host.index, there.index) or self.is_blocked(there.index, host.index):
            self._fail_dial(host, dial, "unreachable", DIAL_TIMEOUT_NS)
        elif not there.is_running or self._rng.random() < config.dial_failure_ratio:
            self._fail_dial(host, dial, "unreachable", self._delay_ns(config))
        elif there.is_paused or host.is_paused:
            self._fail_dial(host, dial, "deadline", DIAL_TIMEOUT_NS)
        elif host.index in self.outsiders or there.index in self.outsiders:
            self.counts["outsiders_refused"] += 1
            self._fail_dial(host, dial, "authentication_failed", self._delay_ns(config))
        elif peer is not None and there.node != peer:
            self._fail_dial(host, dial, "wrong_node", self._delay_ns(config))
        else:
            self._connect(host, dial, address, there, peer, lane, is_wanted)

    def _connect(
        self,
        host: Host,
        dial: int,
        address: str,
        there: Host,
        peer: NodeId | None,
        lane: int,
        is_wanted: bool,
    ) -> None:
        near = End(self, host, host.new_link(), lane, dial, address)
        near.is_wanted = is_wanted
        near.expected = peer
        far = End(self, there, there.new_link(), lane, 0, f"10.9.9.9:{40_000 + near.link % 20_000}")
        near.other, far.other = far, near
        near.config = far.config = self.config_between(host.index, there.index)
        for end in (near, far):
            self._ends[(end.host.index, end.link)] = end
            self.world.after(DIAL_TIMEOUT_NS, self._give_up_opening, end)
        # The one who dialled speaks first, so that a stranger gets no word out of the other.
        near.say_hello()

    def _fail_dial(self, host: Host, dial: int, code: str, delay_ns: int) -> None:
        self.counts["dials_failed"] += 1
        self.world.after(delay_ns, self._tell_dial_failed, host, host.boot, dial, code)

    def _tell_dial_failed(self, host: Host, boot: int, dial: int, code: str) -> None:
        if host.boot == boot and host.is_running:
            host.post(DialFailed(dial, code, "simulated"))

    # -- sending

    def send(self, host: Host, outgoing: Mapping[int, Sequence[Message]]) -> None:
        """Put messages on links, those of each link in one write."""
        packed: dict[tuple[int, ...], tuple[bytes, int]] = {}
        for link, messages in outgoing.items():
            end = self._ends.get((host.index, link))
            notes = self.notes.sent(messages)
            if end is None or not end.is_open:
                self.notes.lose("no_link", notes)
                continue
            # A broadcast is the same objects for everyone: encoded once, as the shell does it.
            same = tuple(map(id, messages))
            found = packed.get(same)
            if found is None:
                found = packed[same] = self._pack(messages)
            parcel = self._parcel(host, *found)
            parcel.notes = notes
            end.send(parcel)
            if end.record_bytes > self.record_bytes_in_flight_max:
                self.record_bytes_in_flight_max = end.record_bytes

    def send_chunk(self, host: Host, link: int, hash: bytes, body: bytes) -> None:
        end = self._ends.get((host.index, link))
        if end is None or not end.is_open:
            return
        if self._rng.random() < end.config.corrupt_chunk_ratio:
            self.counts["chunks_corrupted"] += 1
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.counts["bytes"] += len(body)
        end.send(Parcel(0, len(body), chunk=(hash, body)))

    def hangup(self, host: Host, link: int, code: str, reason: str) -> None:
        end = self._ends.get((host.index, link))
        if end is not None:
            end.finish(code, reason)

    def send_frames(self, host: Host, link: int, frames: bytes) -> None:
        """Put these bytes on a link, whatever they are."""
        self.tap(frames)
        end = self._ends.get((host.index, link))
        if end is not None and end.is_open:
            end.send(Parcel(0, len(frames), frames))

    def hello_of(self, host: Host, hello: Hello) -> Parcel:
        return self._parcel(host, *self._pack((hello,)), is_hello=True)

    def goodbye_of(self, host: Host, goodbye: Goodbye) -> Parcel:
        return self._parcel(host, *self._pack((goodbye,)))

    def _parcel(self, host: Host, frames: bytes, record_bytes: int, *, is_hello: bool = False) -> Parcel:
        falsehood = ""
        bend = self.bent.get(host.index)
        if bend is not None:
            frames, falsehood = bend(frames, is_hello)
            self.tap(frames)
        self.counts["bytes"] += len(frames)
        return Parcel(0, len(frames), frames, record_bytes=record_bytes, falsehood=falsehood)

    def _pack(self, messages: Sequence[Message]) -> tuple[bytes, int]:
        frames = pack(messages)
        self.tap(frames)
        return frames, len(frames) if has_records(messages) else 0

    # -- trouble

    def cut_off(self, host: Host) -> None:
        """This host's certificate counts no more, for good: its connections end, and it gets no new one."""
        self.outsiders.add(host.index)
        # Also what is left of connections of which its own end is over: a last word may be on its way.
        for end in [end for end in self._ends.values() if host in (end.host, end.other.host)]:
            for each in (end, end.other):
                each.drop_way()
                each.fail("authentication_failed")

    def block(self, pairs: Iterable[tuple[int, int]]) -> int:
        """Packets from the first to the second of each pair get lost, until `unblock` of what this returns
        and of every other block on that way."""
        self._block_count += 1
        self._blocks[self._block_count] = list(dict.fromkeys(pairs))
        self._blocked.update(self._blocks[self._block_count])
        return self._block_count

    def unblock(self, block: int) -> None:
        """Take this block back, unless `unblock_all` has done so."""
        for pair in self._blocks.pop(block, ()):
            self._blocked[pair] -= 1
            if not self._blocked[pair]:
                del self._blocked[pair]
        self._resume_stalled()

    def unblock_all(self) -> None:
        self._blocks.clear()
        self._blocked.clear()
        self._resume_stalled()

    def is_blocked(self, source: int, target: int) -> bool:
        # An ack must come back for a write to count, so a one-way fault stops streams both ways
        # sooner or later; here it stops just the stream it names.
        return (source, target) in self._blocked

    def hampered_ways(self) -> list[Way]:
        """Those that are closed, stand still, or let only little pass."""
        return [*self._blocked, *self.times.slow_ways(self.world.now_ns)]

    def _resume_stalled(self) -> None:
        for end in list(self._ends.values()):
            for stream in (end, end.other):
                is_held = stream.is_severed or self.is_blocked(stream.host.index, stream.other.host.index)
                if stream.stalled_ns >= 0 and not is_held:
                    stream.resume()

    def stall(self, end: End) -> None:
        if end.stalled_ns >= 0:
            return
        self.counts["stalls"] += 1
        end.stalled_ns = self.world.now_ns
        patience_ns = int(self._rng.expovariate(1.0) * end.config.stall_timeout_mean_ns) + SECOND_NS
        self.world.after(patience_ns, self._give_up, end, end.stalled_ns)

    def _give_up(self, end: End, stalled_ns: int) -> None:
        if end.stalled_ns == stalled_ns and end.way:
            self.break_connection(end, "timeout")

    def break_connection(self, end: End, code: str) -> None:
        """All that is under way is lost. `end` hears of it at once, the other end in its own time."""
        self.counts["resets"] += 1
        self._tear(end)
        end.drop_way()
        end.other.drop_way()
        end.fail(code)
        self.learn_later(end.other)

    def _tear(self, end: End) -> None:
        """Of the write under way from this end, the other one may have got a part."""
        if end.way and end.config.torn_ratio and self._rng.random() < end.config.torn_ratio:
            self.world.after(0, self._arrive_torn, end.other, end.way[0], self._rng.random())

    def _arrive_torn(self, end: End, parcel: Parcel, part: float) -> None:
        self.counts["torn_writes"] += end.receive_part(parcel, part)

    def break_random(self, rng: random.Random) -> bool:
        """Break some connection; whether there was one."""
        ends = list(self._ends.values())
        if ends:
            self.break_connection(rng.choice(ends), "reset")
        return bool(ends)

    def learn_soon(self, end: End) -> None:
        if not (end.will_learn or end.is_severed):
            end.will_learn = True
            self.world.after(2 * self.draw_delay(end), self._learn, end)

    def learn_later(self, end: End) -> None:
        if end.is_over or end.is_severed:
            return
        if self._rng.random() < end.config.late_notice_ratio:
            delay_ns = int(self._rng.expovariate(1.0) * end.config.late_notice_mean_ns)
        else:
            delay_ns = self.draw_delay(end)
        self.world.after(delay_ns, self._learn, end)

    def _learn(self, end: End) -> None:
        end.will_learn = False
        if end.is_over or end.is_severed:
            return
        if self.is_blocked(end.other.host.index, end.host.index):
            self.world.after(5 * SECOND_NS, self._learn, end)  # The reset gets lost too.
            return
        end.fail("reset")

    # -- chance

    def breaks(self, end: End) -> bool:
        if self.cuts_next_stream and end.record_bytes:
            self.cuts_next_stream = False
            return True
        ratio = end.config.reset_ratio
        return ratio > 0 and self._rng.random() < ratio

    def draw_delay(self, end: End) -> int:
        return self.times.arrival_ns(end.config, (end.host.index, end.other.host.index))

    def _delay_ns(self, config: NetworkConfig, host: Host | None = None, there: Host | None = None) -> int:
        way = None if host is None or there is None else (host.index, there.index)
        return self.times.delay_ns(config, way)

    # -- books

    def forget(self, end: End) -> None:
        self._ends.pop((end.host.index, end.link), None)

    def links_open(self, host: Host) -> list[int]:
        """The links that this host's core knows, in the order in which they came about."""
        return [end.link for end in self._ends.values() if end.host is host and end.is_open]

    def links_of(self, host: Host) -> int:
        return sum(end.host is host for end in self._ends.values())

    def lanes_in_flight(self) -> Iterable[tuple[int, int, int]]:
        """(host index, link, bytes of records under way) of every records lane.

        Those to a liar are left out: it gives what credit it likes.
        """
        return [
            (end.host.index, end.link, end.record_bytes)
            for end in self._ends.values()
            if end.lane == RECORDS_LANE and end.other.host.index not in self.liars
        ]


def has_records(messages: Sequence[Message]) -> bool:
    return any(isinstance(message, Records) for message in messages)


def is_intact(hash: bytes, body: bytes) -> bool:
    return blake3(body).digest() == hash
