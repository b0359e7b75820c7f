"""What may be said of a member: who is called dead must be, or must have been in trouble."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.effects import MemberChanged
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.member_checker import known_dead_ns
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.simulation import Simulation
from bellande_mesh_sync.sim.swarm import Scenario
from bellande_mesh_sync.sim.wire_time import NetworkConfig
from bellande_mesh_sync.sim.world import MILLISECOND_NS, SECOND_NS

CALM_S = 120
"""After this nothing of before is an excuse any more."""


class Mesh:
    """Three nodes that have run for a while, under the eyes of a checker."""

    def __init__(self, network: NetworkConfig | None = None) -> None:
        self.made = Simulation(Scenario(1, 3, faults_s=0, settle_s=0, network=network or NetworkConfig()))
        self.nodes, self.network = self.made.nodes, self.made.network
        for node in self.nodes:
            node.start()
        self.pass_time(CALM_S)

    def pass_time(self, seconds: float) -> None:
        """Second by second, as a run does."""
        world = self.made.world
        for _ in range(int(seconds)):
            world.run_until(world.now_ns + SECOND_NS)
            self.made.members.look(self.nodes, world.now_ns)

    def say(self, state: str, *, of: int = 1) -> None:
        """The first node announces that another one is in this state."""
        other = self.nodes[of]
        change = MemberChanged(other.node, other.name, "suspect", state, "said by a test")
        self.made.members.changed(self.nodes[0], change, self.nodes, self.made.world.now_ns)

    def assert_is_lie(self, state: str) -> None:
        with pytest.raises(Violation, match="members: n0: n1 is said to"):
            self.say(state)


def test_who_runs_and_can_be_heard_is_not_dead() -> None:
    mesh = Mesh()
    mesh.assert_is_lie("dead")
    mesh.say("suspect")
    mesh.say("alive")


@pytest.mark.parametrize("state", ["left", "asleep"])
def test_only_a_node_itself_can_say_that_it_left_or_sleeps(state: str) -> None:
    Mesh().assert_is_lie(state)


def test_who_is_down_may_be_called_dead() -> None:
    mesh = Mesh()
    mesh.nodes[1].crash()
    mesh.say("dead")


def _pause(mesh: Mesh, node: SimNode) -> None:
    node.pause()
    mesh.pass_time(5)
    node.resume()


def _slow_loop(mesh: Mesh, node: SimNode) -> None:
    node.event_ns = 500 * MILLISECOND_NS
    mesh.pass_time(5)
    node.event_ns = 0


def _restart(mesh: Mesh, node: SimNode) -> None:
    node.crash()
    mesh.pass_time(1)
    node.start()


def _block(mesh: Mesh, node: SimNode) -> None:
    mesh.network.block([(node.index, 2)])
    mesh.pass_time(5)
    mesh.network.unblock_all()


def _clog(mesh: Mesh, node: SimNode) -> None:
    mesh.network.times.clog((2, node.index), mesh.made.world.now_ns + 5 * SECOND_NS)
    mesh.pass_time(6)


def _congestion(mesh: Mesh, node: SimNode) -> None:
    mesh.network.times.slowdown = 200
    mesh.pass_time(5)
    mesh.network.times.slowdown = 1


def _rehome(mesh: Mesh, node: SimNode) -> None:
    node.rehome("10.0.5.1:7000", SECOND_NS)


@pytest.mark.parametrize("trouble", [_pause, _slow_loop, _restart, _block, _clog, _congestion, _rehome])
def test_after_trouble_a_death_is_excused_for_a_while_and_not_for_ever(trouble: object) -> None:
    mesh = Mesh()
    assert callable(trouble)
    trouble(mesh, mesh.nodes[1])
    mesh.say("dead")
    mesh.pass_time(CALM_S)
    mesh.assert_is_lie("dead")


def test_trouble_of_others_excuses_nothing() -> None:
    mesh = Mesh()
    mesh.nodes[0].pause()
    mesh.pass_time(5)
    mesh.nodes[0].resume()
    mesh.network.block([(0, 2), (2, 0)])
    mesh.pass_time(5)
    mesh.assert_is_lie("dead")


def test_a_network_that_loses_many_packets_is_an_excuse() -> None:
    Mesh(NetworkConfig(loss_ratio=0.3)).say("dead")


def test_who_is_cut_off_may_be_called_dead_or_revoked() -> None:
    mesh = Mesh()
    mesh.network.cut_off(mesh.nodes[1])
    mesh.say("dead")
    mesh.say("revoked")


def test_who_is_down_for_long_must_be_known_to_be() -> None:
    mesh = Mesh()
    node = mesh.nodes[1]
    node.is_retired = True
    node.crash()
    config = mesh.made.scenario.core
    mesh.pass_time(known_dead_ns(config, len(mesh.nodes)) // SECOND_NS + 1)
    mesh.made.members.check(mesh.nodes, mesh.made.world.now_ns)
    mesh.say("suspect")
    with pytest.raises(Violation, match="n1 is suspect, and down for"):
        mesh.made.members.check(mesh.nodes, mesh.made.world.now_ns)


def test_what_programs_see_is_what_they_were_told() -> None:
    mesh = Mesh()
    members = mesh.made.members
    members.check_shown(mesh.nodes)
    mesh.say("suspect")
    with pytest.raises(Violation, match="is shown as alive, and suspect was told"):
        members.check_shown(mesh.nodes)


def test_of_whom_nothing_was_told_is_not_shown_alive() -> None:
    mesh = Mesh()
    mesh.made.members.started(mesh.nodes[0])
    with pytest.raises(Violation, match="is shown as alive, and nothing was told"):
        mesh.made.members.check_shown(mesh.nodes)
