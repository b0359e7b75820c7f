"""The simulated network: order, loss, partitions, and who learns of what when."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.core.events import DialFailed, Event, LinkClosed, LinkOpened, Received
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE, Hello, Message, Ping, Records
from bellande_mesh_sync.ids import Author, NodeId, Shard, Stamp
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.network import DIAL_TIMEOUT_NS, Network, NetworkConfig
from bellande_mesh_sync.sim.node import MESH_ID
from bellande_mesh_sync.sim.world import SECOND_NS, World


class Host:
    """A node without a core: it keeps what it is told."""

    def __init__(self, index: int) -> None:
        self.identity = make_identity(1, index)
        self.index = index
        self.node: NodeId = self.identity.node
        self.boot = 1
        self.is_running = True
        self.is_paused = False
        self.events: list[Event] = []
        self.chunks: list[tuple[int, bytes, bytes]] = []
        self.links = 0

    def make_hello(self, lane: int) -> Hello:
        me = self.identity
        member = signed(
            MemberRecord(me.node, me.public_key, me.name, (), "writer", 1, False, "test"), me.sign
        )
        return Hello(1, 1, MESH_ID, me.node, b"bootboot", lane, member, 1 << 20)

    def new_link(self) -> int:
        self.links += 1
        return self.links

    def post(self, event: Event) -> None:
        self.events.append(event)

    def chunk_arrived(self, link: int, hash: bytes, body: bytes) -> None:
        self.chunks.append((link, hash, body))

    def pings(self) -> list[int]:
        received = [event for event in self.events if isinstance(event, Received)]
        messages = [message for event in received for message in event.messages]
        return [message.number for message in messages if isinstance(message, Ping)]


class Net:
    def __init__(self, config: NetworkConfig | None = None, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world, config or NetworkConfig(late_notice_ratio=0.0))
        self.a, self.b = Host(0), Host(1)
        self.network.register(self.a, "a:1")
        self.network.register(self.b, "b:1")

    def dial(self, address: str = "b:1", peer: NodeId | None = None, lane: int = RECORDS_LANE) -> None:
        self.network.dial(self.a, 5, address, peer, lane)
        self.rest()

    def rest(self, seconds: float = 60) -> None:
        self.world.run_until(self.world.now_ns + int(seconds * SECOND_NS))

    def send(self, *messages: Message) -> None:
        self.network.send(self.a, {1: messages})

    def closed(self, host: Host) -> list[Event]:
        return [event for event in host.events if isinstance(event, LinkClosed)]


def test_a_dial_opens_a_link_at_both_ends_with_the_others_hello() -> None:
    net = Net()
    net.dial(peer=net.b.node)
    (at_a,), (at_b,) = net.a.events, net.b.events
    assert isinstance(at_a, LinkOpened)
    assert isinstance(at_b, LinkOpened)
    assert (at_a.peer, at_a.dial, at_a.address) == (net.b.node, 5, "b:1")
    assert (at_b.peer, at_b.dial) == (net.a.node, 0)
    assert at_b.hello == net.a.make_hello(RECORDS_LANE)


@pytest.mark.parametrize(
    ("address", "peer", "code"),
    [("nowhere:1", None, "unreachable"), ("a:1", None, "self"), ("b:1", b"x" * 32, "wrong_node")],
)
def test_a_dial_that_cannot_succeed_says_why(address: str, peer: NodeId | None, code: str) -> None:
    net = Net()
    net.dial(address, peer)
    (event,) = net.a.events
    assert isinstance(event, DialFailed)
    assert (event.dial, event.code) == (5, code)
    assert net.b.events == []


def test_a_dial_into_a_partition_fails_only_after_the_timeout() -> None:
    net = Net()
    net.network.block([(1, 0)])
    net.network.dial(net.a, 5, "b:1", None, RECORDS_LANE)
    net.world.run_until(DIAL_TIMEOUT_NS - 1)
    assert net.a.events == []
    net.rest()
    assert len(net.a.events) == 1


@pytest.mark.parametrize("loss_ratio", [0.0, 0.5])
def test_messages_come_in_order_whatever_the_delays(loss_ratio: float) -> None:
    net = Net(NetworkConfig(latency_mean_ns=SECOND_NS // 10, loss_ratio=loss_ratio))
    net.dial()
    for number in range(100):
        net.send(Ping(number))
        net.rest(0.01)
    net.rest()
    assert net.b.pings() == list(range(100))


def test_a_partition_holds_messages_back_until_it_heals() -> None:
    net = Net(NetworkConfig(stall_timeout_mean_ns=10_000 * SECOND_NS))
    net.dial()
    block = net.network.block([(0, 1)])
    net.send(Ping(1))
    net.send(Ping(2))
    net.rest(20)
    assert net.b.pings() == []
    net.network.unblock(block)
    net.rest()
    assert net.b.pings() == [1, 2]


def test_a_long_partition_breaks_the_link_at_the_sender_and_the_silent_end_learns_later() -> None:
    net = Net(NetworkConfig(stall_timeout_mean_ns=SECOND_NS, late_notice_ratio=0.0))
    net.dial()
    net.network.block([(0, 1), (1, 0)])
    net.send(Ping(1))
    net.rest(60)
    assert net.closed(net.a) == [LinkClosed(1, "timeout", "the connection broke")]
    assert net.closed(net.b) == []
    net.network.unblock_all()
    net.rest()
    assert net.closed(net.b) == [LinkClosed(1, "reset", "the connection broke")]
    assert net.b.pings() == []


def test_a_reset_loses_what_is_under_way_and_both_ends_hear_once() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS, reset_ratio=0.0))
    net.dial()
    net.send(Ping(1))
    net.network.break_random(net.world.rng("test"))
    net.rest()
    assert net.b.pings() == []
    assert [len(net.closed(host)) for host in (net.a, net.b)] == [1, 1]
    net.send(Ping(2))
    net.rest()
    assert net.b.pings() == []


def test_a_hangup_delivers_what_was_sent_before_it_and_the_reason() -> None:
    net = Net()
    net.dial()
    net.send(Ping(1))
    net.network.hangup(net.a, 1, "closing", "enough")
    net.rest()
    assert net.b.pings() == [1]
    assert net.closed(net.a) == net.closed(net.b) == [LinkClosed(1, "closing", "enough")]


def test_after_a_kill_the_peer_gets_what_was_sent_and_then_the_end() -> None:
    net = Net()
    net.dial()
    net.send(Ping(1))
    net.a.boot += 1
    net.network.host_died(net.a, power=False)
    net.rest()
    assert net.b.pings() == [1]
    assert [type(event) for event in net.b.events] == [LinkOpened, Received, LinkClosed]


def test_after_a_power_cut_nothing_more_comes_and_the_peer_learns_late() -> None:
    net = Net(NetworkConfig(late_notice_ratio=1.0, late_notice_mean_ns=30 * SECOND_NS))
    net.dial()
    net.send(Ping(1))
    net.a.boot += 1
    net.network.host_died(net.a, power=True)
    net.rest(0.5)
    assert [type(event) for event in net.b.events] == [LinkOpened]
    net.rest(1_000)
    assert [type(event) for event in net.b.events] == [LinkOpened, LinkClosed]


def test_sending_to_an_end_that_is_gone_brings_a_reset_back() -> None:
    net = Net(NetworkConfig(late_notice_ratio=1.0, late_notice_mean_ns=100_000 * SECOND_NS))
    net.dial()
    net.b.boot += 1
    net.network.host_died(net.b, power=True)
    net.send(Ping(1))
    net.rest(2)
    assert len(net.closed(net.a)) == 1


def test_chunks_travel_whole_and_may_be_damaged_on_the_way() -> None:
    damaged = 0
    for seed in range(20):
        net = Net(NetworkConfig(corrupt_chunk_ratio=0.5), seed)
        net.dial(lane=CHUNKS_LANE)
        net.network.send_chunk(net.a, 1, b"h" * 32, b"body")
        net.rest()
        ((link, hash, body),) = net.b.chunks
        assert (link, hash) == (1, b"h" * 32)
        damaged += body != b"body"
    assert 0 < damaged < 20


def test_bytes_of_records_under_way_are_counted_until_they_arrive() -> None:
    net = Net()
    net.dial()
    record = Record("s/k", Author(b"a" * 40), 1, Stamp(1), TOMBSTONE, 0, b"")
    net.send(Ping(1))
    assert _in_flight(net) == [0, 0]
    net.send(Records(Shard("s/0"), 0, (record,)))
    assert max(_in_flight(net)) > 0
    net.rest()
    assert _in_flight(net) == [0, 0]


def _in_flight(net: Net) -> Sequence[int]:
    return [count for _, _, count in net.network.lanes_in_flight()]
