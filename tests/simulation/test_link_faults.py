"""Faults of the network: that each really does what it says, and is over when it should be."""

from __future__ import annotations

from collections import Counter

import pytest

from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.core.events import Received
from bellande_mesh_sync.core.messages import CHUNKS_LANE, Ping, Records
from bellande_mesh_sync.ids import Author, Shard, Stamp
from bellande_mesh_sync.sim.envelope import decode, pack
from bellande_mesh_sync.sim.wire_time import LATENCY_SHAPES, TAIL_MAX, NetworkConfig, WireTime
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS, World
from bellande_mesh_sync.wire.frames import FrameReader
from bellande_mesh_sync.wire.limits import FRAME_MESSAGES_MAX
from tests.simulation.test_network import Net

WAY = (0, 1)
RECORD = Record("s/k", Author(b"a" * 40), 1, Stamp(1), TOMBSTONE, 0, b"")


def times(seed: int = 1) -> WireTime:
    world = World(seed)
    return WireTime(world, world.rng("network"))


@pytest.mark.parametrize("shape", LATENCY_SHAPES)
def test_delays_have_the_mean_that_was_asked_for_and_the_shape(shape: str) -> None:
    config = NetworkConfig(latency_min_ns=0, latency_mean_ns=MILLISECOND_NS, latency_shape=shape)
    wire = times()
    delays = sorted(wire.delay_ns(config) for _ in range(20_000))
    assert 0.8 * MILLISECOND_NS < sum(delays) / len(delays) < 1.2 * MILLISECOND_NS
    longest = {"exponential": 20, "uniform": 2, "heavy": TAIL_MAX}[shape]
    assert delays[-1] <= longest * MILLISECOND_NS
    if shape == "heavy":
        assert delays[-1] > 20 * MILLISECOND_NS
        assert delays[len(delays) // 2] < 0.6 * MILLISECOND_NS


def test_each_pair_of_nodes_has_a_distance_of_its_own_that_stays() -> None:
    config = NetworkConfig(latency_min_ns=0, latency_mean_ns=0, latency_base_max_ns=SECOND_NS)
    wire = times()
    distances = {way: wire.delay_ns(config, way) for way in ((0, 1), (0, 2), (1, 2))}
    assert len(set(distances.values())) == 3
    assert all(0 <= distance <= SECOND_NS for distance in distances.values())
    assert {way: times().delay_ns(config, (way[1], way[0])) for way in distances} == distances


def test_loss_reordering_and_duplicates_cost_a_stream_time_and_no_more() -> None:
    calm = NetworkConfig(latency_min_ns=MILLISECOND_NS, latency_mean_ns=0, bytes_per_second=1000)
    rough = NetworkConfig(
        latency_min_ns=MILLISECOND_NS,
        latency_mean_ns=0,
        bytes_per_second=1000,
        loss_ratio=0.3,
        reorder_ratio=0.3,
        duplicate_ratio=0.3,
    )
    took: list[int] = []
    for config in (calm, rough):
        net = Net(config)
        net.dial()
        for number in range(200):
            net.send(Ping(number))
        started_ns = net.world.now_ns
        while len(net.b.pings()) < 200:
            net.rest(0.1)
        assert net.b.pings() == list(range(200))
        took.append(net.world.now_ns - started_ns)
        counts = net.network.times.counts
        kinds = {"lost_packets", "reordered_packets", "duplicate_packets"}
        assert set(counts) == (kinds if config is rough else set())
    assert took[1] > 1.2 * took[0]


def test_a_slow_way_takes_its_time_for_each_byte_and_the_way_back_does_not() -> None:
    config = NetworkConfig()
    wire = times()
    wire.slow_down(WAY, 1_000)
    assert wire.sending_ns(config, WAY, 5_000) == 5 * SECOND_NS
    assert wire.sending_ns(config, (1, 0), 5_000) < MILLISECOND_NS
    wire.slow_down(WAY, 0)
    assert wire.sending_ns(config, WAY, 5_000) < MILLISECOND_NS


def test_a_clogged_way_stands_still_and_then_everything_arrives_in_order() -> None:
    net = Net()
    net.dial()
    net.network.times.clog(WAY, net.world.now_ns + 5 * SECOND_NS)
    for number in range(10):
        net.send(Ping(number))
    net.network.send(net.b, {1: [Ping(77)]})
    net.rest(4.9)
    assert net.b.pings() == []
    assert net.a.pings() == [77], "the way back is free"
    net.rest(0.2)
    assert net.b.pings() == list(range(10))
    assert net.closed(net.a) == net.closed(net.b) == []


def test_a_dial_over_a_clogged_way_waits_for_it() -> None:
    net = Net()
    net.network.times.clog(WAY, 5 * SECOND_NS)
    net.network.dial(net.a, 5, "b:1", None, 1)
    net.rest(4.9)
    assert net.a.events == []
    net.rest(1)
    assert len(net.a.events) == len(net.b.events) == 1


def cut_in_the_middle(seed: int, frames_count: int) -> tuple[Net, list[int]]:
    """A connection that breaks while writes are under way, of which a part may have come."""
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS, torn_ratio=1.0, late_notice_ratio=0.0), seed)
    net.dial()
    net.network.send(net.a, {1: [Ping(number) for number in range(frames_count)]})
    net.network.break_connection(next(iter(net.network._ends.values())), "reset")
    net.rest()
    return net, net.b.pings()


def test_a_frame_of_which_a_part_arrived_has_no_effect() -> None:
    for seed in range(20):
        net, came = cut_in_the_middle(seed, 50)
        assert came == []
        assert net.network.counts["torn_writes"] == 1
        assert len(net.closed(net.a)) == len(net.closed(net.b)) == 1


def test_the_whole_frames_of_a_write_that_was_cut_count_and_the_rest_does_not() -> None:
    lengths: Counter[int] = Counter()
    count = 3 * FRAME_MESSAGES_MAX + 5
    for seed in range(12):
        _, came = cut_in_the_middle(seed, count)
        assert came == list(range(len(came)))
        lengths[len(came)] += 1
    assert len(lengths) > 1
    assert max(lengths) < count


def test_a_part_of_a_chunk_shows_that_the_peer_is_there_and_stores_nothing() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS, torn_ratio=1.0))
    net.dial(lane=CHUNKS_LANE)
    net.network.send_chunk(net.a, 1, b"h" * 32, b"body" * 1000)
    net.network.break_connection(next(iter(net.network._ends.values())), "reset")
    net.rest()
    assert net.b.chunks == []
    (event,) = [event for event in net.b.events if isinstance(event, Received)]
    assert event.messages == ()


def test_after_a_power_cut_a_part_of_the_last_write_may_have_come() -> None:
    net = Net(NetworkConfig(latency_min_ns=SECOND_NS, torn_ratio=1.0, late_notice_ratio=0.0))
    net.dial()
    net.send(Ping(1))
    net.a.boot += 1
    net.network.host_died(net.a, power=True)
    net.rest()
    assert net.network.counts["torn_writes"] == 1
    assert net.b.pings() == []
    assert len(net.closed(net.b)) == 1


def test_a_stream_is_cut_at_its_next_write_of_records() -> None:
    net = Net(NetworkConfig(late_notice_ratio=0.0))
    net.dial()
    net.network.cuts_next_stream = True
    net.send(Ping(1))
    net.rest()
    assert net.b.pings() == [1]
    net.send(Records(Shard("s/0"), 0, (RECORD,)))
    net.rest()
    assert len(net.closed(net.a)) == len(net.closed(net.b)) == 1
    assert not net.network.cuts_next_stream


def test_of_a_stream_that_ends_anywhere_the_whole_frames_are_decoded() -> None:
    frames = pack([Ping(1)]) + pack([Ping(2)])
    half = len(frames) // 2
    for length in range(len(frames) + 1):
        found = decode(FrameReader(), frames[:length])
        expected = [Ping(number + 1) for number in range(length // half)]
        assert list(found) == expected
