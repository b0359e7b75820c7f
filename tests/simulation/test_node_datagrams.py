"""Datagrams of whole simulated nodes: keys by run, what waits for a node that stands still, one digest."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from bellande_mesh_sync.core.events import DatagramReceived
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
