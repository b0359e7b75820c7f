"""Datagrams of whole simulated nodes: keys by run, what waits for a node that stands still, one digest."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from bellande_mesh_sync.core.events import DatagramReceived, LoopLate, TimerFired
from bellande_mesh_sync.core.members.swim.messages import Datagram, Ping
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.packets import SOCKET_PACKETS_MAX
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS
from tests.simulation.datagram_core import DatagramCore


def mesh(faults: FaultConfig | None = None, *, seconds: float = 20) -> Simulation:
    scenario = Scenario(
        1,
        3,
        faults_s=seconds,
        settle_s=60,
        datagrams=True,
        workload=WorkloadConfig(),
        faults=faults or FaultConfig(),
    )
    return Simulation(scenario, make_core=DatagramCore)


def running(seconds: int = 5) -> Simulation:
    made = mesh()
    for node in made.nodes:
        node.start()
    made.world.run_until(seconds * SECOND_NS)
    return made


def core_of(node: SimNode) -> DatagramCore:
    assert isinstance(node.core, DatagramCore)
    return node.core


def run_drawn(seed: int) -> Outcome:
    scenario = replace(draw(seed, nodes=(3, 4), minutes=0.5), datagrams=True)
    return Simulation(scenario, make_core=DatagramCore).run()


def test_nodes_answer_each_other_over_datagrams() -> None:
    made = running()
    assert all(core_of(node).answers > 3 for node in made.nodes)
    assert made.network.counts["packets_unsealed"] == 0
    keys = {node.seal_key for node in made.nodes}
    assert len(keys) == 3
    assert {core_of(node).me.seal_key for node in made.nodes} == keys


def test_a_mesh_without_datagrams_sends_none() -> None:
    scenario = replace(mesh().scenario, datagrams=False)
    outcome = Simulation(scenario, make_core=DatagramCore).run()
    assert (outcome.violation, outcome.counts["packets"]) == ("", 0)


def test_a_restarted_node_has_another_key_and_knows_nobody_until_it_is_told() -> None:
    made = running()
    node = made.nodes[1]
    key = node.seal_key
    node.crash()
    assert node.peers == {}
    made.world.run_until(made.world.now_ns + SECOND_NS // 10)
    node.start()
    assert node.seal_key != key
    made.world.run_until(made.world.now_ns + 10 * SECOND_NS)
    assert made.network.counts["packets_unopened"] + made.network.counts["packets_undelivered"] > 0
    assert core_of(node).answers > 3


def test_the_socket_of_a_paused_node_holds_so_many_packets_and_no_more() -> None:
    made = running()
    node, other = made.nodes[0], made.nodes[1]
    event = DatagramReceived(other.node, Datagram(Ping(1, 1)))
    node.pause()
    assert [node.take_packet(event) for _ in range(SOCKET_PACKETS_MAX + 2)] == [
        *[True] * SOCKET_PACKETS_MAX,
        False,
        False,
    ]
    before = made.network.counts["packets"]
    node.resume()
    assert made.network.counts["packets"] == before + SOCKET_PACKETS_MAX
    assert node.take_packet(event)


def test_a_slow_node_takes_one_packet_after_the_other_and_drops_what_does_not_fit() -> None:
    made = running()
    node, other = made.nodes[0], made.nodes[1]
    node.event_ns = 100 * MILLISECOND_NS
    event = DatagramReceived(other.node, Datagram(Ping(1, 1)))
    taken = sum(node.take_packet(event) for _ in range(2 * SOCKET_PACKETS_MAX))
    assert taken in (SOCKET_PACKETS_MAX, SOCKET_PACKETS_MAX + 1)


def test_what_waits_at_a_node_that_dies_is_gone() -> None:
    made = running()
    node, other = made.nodes[0], made.nodes[1]
    event = DatagramReceived(other.node, Datagram(Ping(1, 1)))
    node.pause()
    for _ in range(SOCKET_PACKETS_MAX):
        node.take_packet(event)
    node.crash()
    node.start()
    node.pause()
    assert node.take_packet(event)


def test_a_trace_with_datagrams_is_equal_under_every_hash_seed() -> None:
    program = (
        "from tests.simulation.test_node_datagrams import run_drawn\n"
        "for seed in (5, 14): print(run_drawn(seed).digest)\n"
    )
    digests = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout.split()
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1] == [run_drawn(seed).digest for seed in (5, 14)]


def test_a_node_hears_how_late_it_is_when_it_goes_on_and_before_its_late_timers() -> None:
    made = running()
    node = made.nodes[1]
    node.pause()
    core_of(node).told.clear()
    made.world.run_until(made.world.now_ns + 30 * SECOND_NS)
    node.resume()
    (lag_ns,) = core_of(node).lags_ns
    assert 29.8 * SECOND_NS < lag_ns <= 30 * SECOND_NS
    told = core_of(node).told
    assert told.index(LoopLate) < told.index(TimerFired)


def test_a_node_that_is_slow_at_every_event_hears_so_and_a_quick_one_does_not() -> None:
    made = running()
    node, quick = made.nodes[1], made.nodes[2]
    node.event_ns = 500 * MILLISECOND_NS
    made.world.run_until(made.world.now_ns + 10 * SECOND_NS)
    assert len(core_of(node).lags_ns) > 3
    assert all(lag_ns > 100 * MILLISECOND_NS for lag_ns in core_of(node).lags_ns)
    assert core_of(quick).lags_ns == []


def test_a_rehomed_node_is_silent_on_its_old_connections_and_notices_it_later() -> None:
    made = running()
    node, other = made.nodes[1], made.nodes[2]
    delivered = made.network.counts["packets_delivered"]
    before = made.network.links_open(other)
    node.rehome("10.0.7.1:7000", 5 * SECOND_NS)
    made.world.run_until(made.world.now_ns + 4 * SECOND_NS)
    assert made.network.links_open(other) == before, "nobody told it"
    assert core_of(node).me.addresses == ("10.0.0.1:7000",)
    assert made.network.counts["packets_astray"] > 0, "others write to where it was"
    assert made.network.counts["packets_delivered"] > delivered, "its own arrive"
    made.world.run_until(made.world.now_ns + 2 * SECOND_NS)
    assert core_of(node).me.addresses == ("10.0.7.1:7000",)
    made.world.run_until(made.world.now_ns + 120 * SECOND_NS)
    assert set(before).isdisjoint(made.network.links_open(made.nodes[1]))


def test_a_mesh_recovers_from_nodes_that_change_their_address() -> None:
    outcome = mesh(FaultConfig(rehome_s=10, lasts_mean_s=3), seconds=60).run()
    assert outcome.violation == ""
    assert outcome.faults["rehome"] > 1
