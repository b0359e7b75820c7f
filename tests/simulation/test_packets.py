"""Datagrams between simulated nodes: what gets lost, who can open them, and what waits where."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.effects import SendDatagram
from bellande_mesh_sync.core.events import DatagramReceived
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.members.swim.messages import (
    ENVELOPE_BYTES,
    PING_BYTES,
    SEAL_BYTES,
    Datagram,
    Digest,
    Ping,
)
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.network import Network, NetworkConfig
from bellande_mesh_sync.sim.packets import PACKET_COUNTS, REPLAY_MAX_NS
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, World
from tests.simulation.test_network import Host

PING_PACKET_BYTES = SEAL_BYTES + ENVELOPE_BYTES + PING_BYTES


class PacketHost(Host):
    """A node without a core that keeps the datagrams it gets."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.peers: dict[NodeId, MemberRecord] = {}
        self.datagrams: list[Datagram] = []
        self.has_room = True
        self.restart(b"%d" % index * 32)

    def restart(self, seal_key: bytes, address: str = "") -> None:
        me = self.identity
        self.seal_key = seal_key
        self.address = address or f"10.0.0.{self.index}:7000"
        self.record = signed(
            MemberRecord(
                me.node, me.public_key, me.name, (self.address,), "writer", 1, False, "test",
                datagram_port=7000, seal_key=seal_key,
            ),
            me.sign,
        )  # fmt: skip

    def take_packet(self, event: DatagramReceived) -> bool:
        if self.has_room:
            self.datagrams.append(event.datagram)
        return self.has_room

    def sequences(self) -> list[int]:
        return [datagram.body.sequence for datagram in self.datagrams if isinstance(datagram.body, Ping)]


class Net:
    """Two hosts that know each other."""

    def __init__(self, config: NetworkConfig | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world, config or NetworkConfig())
        self.a, self.b = PacketHost(0), PacketHost(1)
        for host, other in ((self.a, self.b), (self.b, self.a)):
            self.network.register(host, host.address)
            self.network.packets.add(host)
            host.peers[other.node] = other.record

    def ping(self, sequence: int = 1, *, size_bytes: int = PING_PACKET_BYTES) -> None:
        effect = SendDatagram(self.b.node, Datagram(Ping(sequence, 1)), size_bytes)
        self.network.packets.send(self.a, effect)

    def pings(self, count: int, pause_s: float = 0.01) -> None:
        for sequence in range(count):
            self.ping(sequence)
            self.rest(pause_s)
        self.rest(10)

    def rest(self, seconds: float = 10) -> None:
        self.world.run_until(self.world.now_ns + int(seconds * SECOND_NS))

    def counts(self) -> dict[str, int]:
        """What became of the packets, beside how many there were."""
        fates = PACKET_COUNTS[2:]
        return {name: self.network.counts[name] for name in fates if self.network.counts[name]}


def test_a_datagram_comes_once_to_whom_it_is_for() -> None:
    net = Net()
    net.ping(7)
    net.rest()
    assert (net.a.sequences(), net.b.sequences()) == ([], [7])
    assert net.counts() == {"packets_delivered": 1}


def test_packets_get_lost_for_good_at_the_ratio_of_the_network() -> None:
    net = Net(NetworkConfig(loss_ratio=0.3))
    net.pings(1000)
    assert 620 < len(net.b.datagrams) < 780
    assert net.counts() == {
        "packets_delivered": len(net.b.datagrams),
        "packets_lost": 1000 - len(net.b.datagrams),
    }


def test_packets_overtake_each_other_and_links_do_not() -> None:
    net = Net(NetworkConfig(latency_mean_ns=SECOND_NS // 10))
    net.pings(100)
    sequences = net.b.sequences()
    assert sequences != sorted(sequences)
    assert sorted(sequences) == list(range(100))


def test_the_second_copy_of_a_packet_is_not_taken() -> None:
    net = Net(NetworkConfig(duplicate_ratio=0.5))
    net.pings(100)
    assert sorted(net.b.sequences()) == list(range(100))
    assert 30 < net.counts()["packets_repeated"] < 70


def test_a_packet_that_comes_again_minutes_later_is_not_taken() -> None:
    net = Net(NetworkConfig(replay_ratio=1.0))
    net.pings(10)
    net.rest(REPLAY_MAX_NS / SECOND_NS)
    assert len(net.b.datagrams) == 10
    assert net.counts() == {"packets_delivered": 10, "packets_repeated": 10}


def test_a_block_of_one_way_lets_the_other_way_pass() -> None:
    net = Net()
    net.network.block([(1, 0)])
    net.ping()
    net.network.packets.send(net.b, SendDatagram(net.a.node, Datagram(Ping(1, 1)), PING_PACKET_BYTES))
    net.rest()
    assert (len(net.a.datagrams), len(net.b.datagrams)) == (0, 1)
    net.network.unblock_all()
    net.rest()
    assert net.a.datagrams == []


def test_a_packet_under_way_is_lost_when_its_way_is_blocked() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS))
    net.ping()
    net.network.block([(0, 1)])
    net.rest()
    assert net.counts() == {"packets_lost": 1}


def test_a_clogged_way_holds_packets_back_and_loses_none() -> None:
    net = Net()
    net.network.times.clog((0, 1), 5 * SECOND_NS)
    net.pings(3)
    assert len(net.b.datagrams) == 3
    net.network.times.clog((0, 1), net.world.now_ns + 5 * SECOND_NS)
    net.ping()
    net.rest(4)
    assert len(net.b.datagrams) == 3


def test_congestion_makes_packets_late() -> None:
    net = Net(NetworkConfig(latency_min_ns=10 * MILLISECOND_NS, latency_mean_ns=0))
    net.network.times.slowdown = 200
    net.ping()
    net.rest(1.9)
    assert net.b.datagrams == []
    net.rest(0.2)
    assert len(net.b.datagrams) == 1


def test_a_slow_way_drops_what_would_wait_for_more_than_a_second() -> None:
    net = Net()
    net.network.times.slow_down((0, 1), 5_000)
    net.pings(200, pause_s=0)
    packets_a_second = 5_000 // 80
    assert packets_a_second - 5 < len(net.b.datagrams) < packets_a_second + 15
    net.pings(10)
    assert net.b.sequences()[-10:] == list(range(10))


@pytest.mark.parametrize("who", ["sender", "receiver"])
def test_after_a_restart_nothing_is_opened_until_the_new_record_is_known(who: str) -> None:
    net = Net()
    host, other = (net.a, net.b) if who == "sender" else (net.b, net.a)
    host.restart(b"n" * 32)
    net.ping(1)
    net.rest()
    assert net.counts() == {"packets_unopened": 1}
    other.peers[host.node] = host.record
    net.ping(2)
    net.rest()
    assert net.b.sequences() == [2]


def test_a_packet_for_an_earlier_run_is_not_opened_by_the_next_one() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS))
    net.ping()
    net.b.restart(b"n" * 32)
    net.rest()
    assert net.counts() == {"packets_unopened": 1}


def test_a_forgotten_peer_is_not_heard_and_not_written_to() -> None:
    net = Net()
    del net.b.peers[net.a.node]
    net.ping()
    net.rest()
    del net.a.peers[net.b.node]
    net.ping()
    net.rest()
    assert net.b.datagrams == []
    assert net.counts() == {"packets_unopened": 1, "packets_unsealed": 1}


def test_packets_go_to_where_the_record_says_and_are_lost_when_it_is_old() -> None:
    net = Net()
    net.b.restart(net.b.seal_key, "10.0.1.1:7000")
    net.network.register(net.b, net.b.address)
    net.ping()
    net.rest()
    assert net.counts() == {"packets_astray": 1}
    net.a.peers[net.b.node] = net.b.record
    net.ping()
    net.rest()
    assert len(net.b.datagrams) == 1


def test_no_packet_passes_between_members_and_who_is_cut_off() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS))
    net.ping()
    net.network.cut_off(net.a)
    net.ping()
    net.network.packets.send(net.b, SendDatagram(net.a.node, Datagram(Ping(1, 1)), PING_PACKET_BYTES))
    net.rest()
    assert (net.a.datagrams, net.b.datagrams) == ([], [])
    assert net.counts() == {"packets_refused": 3}


def test_a_node_that_is_down_or_has_no_room_takes_no_packet() -> None:
    net = Net()
    net.b.is_running = False
    net.ping()
    net.rest()
    net.b.is_running, net.b.has_room = True, False
    net.ping()
    net.rest()
    assert net.counts() == {"packets_undelivered": 2}


@pytest.mark.parametrize(
    ("datagram", "size_bytes"),
    [
        (Datagram(Ping(1 << 40, 1 << 40)), 20),
        (Datagram(Digest(b"x" * 1300)), 1400),
        (Datagram(Ping(1, 1)), 1201),
    ],
)
def test_a_datagram_larger_than_it_says_or_may_be_is_a_violation(datagram: Datagram, size_bytes: int) -> None:
    net = Net()
    with pytest.raises(Violation, match="packet: n0"):
        net.network.packets.send(net.a, SendDatagram(net.b.node, datagram, size_bytes))


def test_a_datagram_for_a_node_without_a_port_is_a_violation() -> None:
    net = Net()
    me = net.b.identity
    net.a.peers[net.b.node] = MemberRecord(
        me.node, me.public_key, me.name, (net.b.address,), "writer", 1, False, "test"
    )
    with pytest.raises(Violation, match="off"):
        net.ping()


def test_what_cannot_be_decoded_is_refused_from_a_liar_and_an_error_from_anybody_else() -> None:
    net = Net()
    net.network.liars.add(0)
    net.network.packets.send_bytes(net.a, net.b.record, b"\xc1 no datagram")
    net.rest()
    assert net.network.counts["lies_refused"] == 1
    net.network.liars.clear()
    net.network.packets.send_bytes(net.a, net.b.record, b"\xc1 no datagram")
    with pytest.raises(DecodeError):
        net.rest()


def test_the_same_seed_gives_the_same_packets_the_same_fate() -> None:
    def run(seed: int) -> tuple[list[int], dict[str, int]]:
        config = NetworkConfig(
            loss_ratio=0.1,
            duplicate_ratio=0.2,
            reorder_ratio=0.2,
            replay_ratio=0.1,
            latency_base_max_ns=SECOND_NS,
        )
        net = Net(config, seed)
        net.pings(200)
        return net.b.sequences(), net.counts()

    assert run(1) == run(1)
    assert run(1) != run(2)
