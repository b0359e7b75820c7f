"""Datagrams of whole simulated nodes: keys by run, what waits for a node that stands still, and what a node
hears of its own machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bellande_mesh_sync.core.effects import Effect
from bellande_mesh_sync.core.events import AddressesChanged, DatagramReceived, Event, LoopLate, TimerFired
from bellande_mesh_sync.core.members.swim.messages import Datagram, Ping
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.packets import SOCKET_PACKETS_MAX
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import REHOME_STALLS, Scenario
from bellande_mesh_sync.sim.workload import WorkloadConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS


class _ToldCore(NodeCore):
    """Keeps what it is told."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.told: list[Event] = []

    def handle(self, event: Event, now: Now) -> list[Effect]:
        self.told.append(event)
        return super().handle(event, now)


def mesh(faults: FaultConfig | None = None, *, seconds: float = 20, datagrams: bool = True) -> Simulation:
    scenario = Scenario(
        1,
        3,
        faults_s=seconds,
        settle_s=60,
        datagrams=datagrams,
        workload=WorkloadConfig(),
        faults=faults or FaultConfig(),
    )
    return Simulation(scenario, make_core=_ToldCore)


def running(*, datagrams: bool = True) -> Simulation:
    made = mesh(datagrams=datagrams)
    for node in made.nodes:
        node.start()
    rest(made, 10)
    return made


def rest(made: Simulation, seconds: float) -> None:
    made.world.run_until(made.world.now_ns + int(seconds * SECOND_NS))


def told(node: SimNode) -> list[Event]:
    assert isinstance(node.core, _ToldCore)
    return node.core.told


def lags_ns(node: SimNode) -> list[int]:
    return [event.lag_ns for event in told(node) if isinstance(event, LoopLate)]


def packet(made: Simulation) -> DatagramReceived:
    """What the second node might have sent."""
    return DatagramReceived(made.nodes[1].node, Datagram(Ping(1, 1)))


def test_nodes_hear_each_other_over_datagrams_sealed_for_their_present_run() -> None:
    made = running()
    for node in made.nodes:
        heard = {event.peer for event in told(node) if isinstance(event, DatagramReceived)}
        assert heard == {other.node for other in made.nodes if other is not node}
    assert made.network.counts["packets_unsealed"] == 0
    assert len({node.seal_key for node in made.nodes}) == 3


def test_a_mesh_without_datagrams_sends_none() -> None:
    made = running(datagrams=False)
    rest(made, 20)
    assert made.network.counts["packets"] == 0


def test_a_restarted_node_has_another_key_and_is_heard_once_that_is_known() -> None:
    made = running()
    node, other = made.nodes[1], made.nodes[2]
    key = node.seal_key
    node.crash()
    assert node.peers == {}
    rest(made, 0.1)
    node.start()
    assert node.seal_key != key
    rest(made, 10)
    assert other.peers[node.node].seal_key == node.seal_key
    told(other).clear()
    rest(made, 10)
    assert any(isinstance(event, DatagramReceived) and event.peer == node.node for event in told(other))


def test_the_socket_of_a_paused_node_holds_so_many_packets_and_no_more() -> None:
    made = running()
    node, event = made.nodes[0], packet(made)
    node.pause()
    taken = [node.take_packet(event) for _ in range(SOCKET_PACKETS_MAX + 2)]
    assert taken == [*[True] * SOCKET_PACKETS_MAX, False, False]
    told(node).clear()
    node.resume()
    assert told(node).count(event) == SOCKET_PACKETS_MAX
    assert node.take_packet(event)


def test_a_slow_node_takes_one_packet_after_the_other_and_drops_what_does_not_fit() -> None:
    made = running()
    node, event = made.nodes[0], packet(made)
    node.event_ns = 100 * MILLISECOND_NS
    taken = sum(node.take_packet(event) for _ in range(2 * SOCKET_PACKETS_MAX))
    assert SOCKET_PACKETS_MAX - 1 <= taken <= SOCKET_PACKETS_MAX + 1


def test_what_waits_at_a_node_that_dies_is_gone() -> None:
    made = running()
    node, event = made.nodes[0], packet(made)
    node.pause()
    for _ in range(SOCKET_PACKETS_MAX):
        node.take_packet(event)
    node.crash()
    node.start()
    node.pause()
    assert node.take_packet(event)


def test_a_node_hears_how_late_it_is_when_it_goes_on_and_before_its_late_timers() -> None:
    made = running()
    node = made.nodes[1]
    node.pause()
    told(node).clear()
    rest(made, 30)
    node.resume()
    (lag_ns,) = lags_ns(node)
    assert 29.8 * SECOND_NS < lag_ns <= 30 * SECOND_NS
    kinds = [type(event) for event in told(node)]
    assert kinds.index(LoopLate) < kinds.index(TimerFired)


def test_a_node_that_is_slow_at_every_event_hears_so_and_a_quick_one_does_not() -> None:
    made = running()
    node, quick = made.nodes[1], made.nodes[2]
    node.event_ns = 500 * MILLISECOND_NS
    rest(made, 10)
    assert len(lags_ns(node)) > 3
    assert min(lags_ns(node)) > 100 * MILLISECOND_NS
    assert lags_ns(quick) == []


def test_a_rehomed_node_is_silent_on_its_old_connections_and_notices_it_later() -> None:
    made = running()
    node, other = made.nodes[1], made.nodes[2]
    before = made.network.links_open(other)
    node.rehome("10.0.7.1:7000", 5 * SECOND_NS)
    rest(made, 0.5)
    assert made.network.links_open(other) == before, "nobody told it"
    rest(made, 3.5)
    assert not any(isinstance(event, AddressesChanged) for event in told(node))
    assert made.network.counts["packets_astray"] > 0, "others write to where it was"
    rest(made, 2)
    assert AddressesChanged(("10.0.7.1:7000",)) in told(node)
    rest(made, 60)
    assert other.peers[node.node].addresses == ("10.0.7.1:7000",)
    assert set(before).isdisjoint(made.network.links_open(node))


def test_an_address_that_changes_while_a_connection_is_being_opened_ends_the_dial() -> None:
    made = running()
    node = made.nodes[1]
    for notices_after_ns in (SECOND_NS, 2 * SECOND_NS):
        node.rehome(f"10.0.{notices_after_ns // SECOND_NS}.1:7000", notices_after_ns)
        rest(made, 0.001)
    rest(made, 120)
    assert made.network.links_of(node) == 2


def test_a_mesh_recovers_from_nodes_that_change_their_address() -> None:
    scenario = mesh(FaultConfig(rehome_s=10, lasts_mean_s=3), seconds=60).scenario
    silent_s = REHOME_STALLS * scenario.core.stall_timeout_ns / SECOND_NS
    outcome = Simulation(replace(scenario, settle_s=60 + silent_s)).run()
    assert outcome.violation == ""
    assert outcome.faults["rehome"] > 1


def test_a_mesh_recovers_from_packets_lost_doubled_late_and_replayed() -> None:
    made = mesh(FaultConfig(partition_s=10, clog_s=5, pause_s=10, lasts_mean_s=3), seconds=60)
    network = replace(
        made.scenario.network, loss_ratio=0.1, duplicate_ratio=0.2, reorder_ratio=0.2, replay_ratio=0.05
    )
    outcome = Simulation(replace(made.scenario, network=network)).run()
    assert outcome.violation == ""
    assert all(outcome.counts[f"packets_{fate}"] > 0 for fate in ("delivered", "lost", "repeated"))
