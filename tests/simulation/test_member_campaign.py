"""Member worlds drawn from seeds, with sealed datagrams and copied disks; and what finds a broken machine."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.effects import PeerRecorded
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.config import FAST
from bellande_mesh_sync.core.members.swim.doubles import Doubles, Meeting
from bellande_mesh_sync.core.members.swim.effects import SwimEffect
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.messages import Datagram
from bellande_mesh_sync.core.members.swim.view import REMOVED
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.member_campaign import NODES, draw, run_seed, run_seeds
from bellande_mesh_sync.sim.member_promises import STOPPED
from bellande_mesh_sync.sim.member_world import MemberScenario, MemberWorld
from bellande_mesh_sync.sim.members_command import main


def sealed_world(nodes: int = 6, machine: type[Swim] = Swim) -> MemberWorld:
    world = MemberWorld(MemberScenario(nodes, 1, FAST, is_sealed=True), machine)
    world.run_for(5)
    return world


# -- copied disks


@pytest.mark.parametrize("nodes", [3, 12])
def test_of_two_nodes_with_one_identity_the_older_stops_and_the_newer_lives_for_everyone(nodes: int) -> None:
    world = sealed_world(nodes)
    newer = world.twin(1)
    world.run_for(22)
    assert world.checker.lives[1].state == STOPPED
    assert set(world.checker.reports) == {(1, "identity_conflict"), (newer, "identity_conflict")}
    assert max(world.checker.doubles_ns) < 10e9
    assert world.checker.false_deaths == []
    world.check_agreement()


def test_a_double_that_goes_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def meet(doubles: Doubles, record: MemberRecord, own: MemberRecord) -> Meeting:
        return Meeting.PAST

    monkeypatch.setattr(Doubles, "meet", meet)
    world = sealed_world()
    world.twin(1)
    with pytest.raises(Violation, match=r"^identity: n1: goes on beside a newer node"):
        world.run_for(30)


def test_a_node_that_stops_without_a_double_is_found() -> None:
    world = sealed_world()
    with pytest.raises(Violation, match=r"^identity: n2: stopped"):
        world.stopped(world.hosts[2], "identity_conflict")


# -- sealed datagrams


@pytest.mark.parametrize("with_book", [True, False])
def test_a_node_that_starts_again_with_another_key_is_soon_back_through_its_links(with_book: bool) -> None:
    world = sealed_world()
    world.kill(2)
    world.run_for(15)
    world.restart(2, with_book=with_book)
    world.run_for(11)
    world.check_agreement()


def test_a_shell_that_is_not_told_where_a_member_is_reached_is_found() -> None:
    class Secretive(Swim):
        def start(self, now_ns: int, *, tells_records: bool = True) -> list[SwimEffect]:
            return [e for e in super().start(now_ns) if not isinstance(e, PeerRecorded)]

    with pytest.raises(Violation, match=r"^peers: "):
        sealed_world(machine=Secretive)


def test_a_broken_link_makes_a_death_known_no_later() -> None:
    times_s = []
    for is_sealed in (False, True):
        world = MemberWorld(MemberScenario(30, 1, FAST, is_sealed=is_sealed))
        world.run_for(5)
        world.kill(3)
        world.run_for(60)
        times_s.append(max(world.checker.known_by_all_ns) / 1e9)
    assert times_s[1] <= times_s[0]


# -- operators, and what nodes say of themselves


def test_a_removal_on_one_node_is_known_to_all_and_undone_by_the_nodes_return() -> None:
    world = sealed_world()
    world.kill(2)
    world.run_for(30)
    world.remove(0, 2)
    world.run_for(20)
    index = world.roster.find(world.hosts[2].node)
    views = [host.machine.view for host in world.hosts if host.machine is not None]
    assert [view.standing(index) for view in views] == [REMOVED] * 5
    world.check_agreement()
    world.restart(2)
    world.run_for(11)
    world.check_agreement()


def test_what_a_node_newly_says_of_itself_reaches_all_and_who_misses_it_is_found() -> None:
    class Deaf(Swim):
        def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
            heard = Datagram(datagram.body, datagram.verdicts)
            return super().handle_datagram(sender, heard, now_ns)

    for machine in (Swim, Deaf):
        world = MemberWorld(MemberScenario(5, 1, FAST), machine)
        world.run_for(3)
        world.change(2)
        world.run_for(3)
        if machine is Swim:
            world.check_agreement()
        else:
            with pytest.raises(Violation, match=r"^record: "):
                world.check_agreement()


# -- campaigns


def test_each_seed_draws_one_world_again_and_again() -> None:
    worlds = [draw(seed) for seed in range(60)]
    assert worlds == [draw(seed) for seed in range(60)]
    assert {profile for profile, _, _ in worlds} == {"lan", "fast", "wan"}
    assert {scenario.is_sealed for _, scenario, _ in worlds} == {True, False}
    assert all(NODES[0] <= scenario.nodes <= NODES[1] for _, scenario, _ in worlds)


def test_a_seed_runs_the_same_again() -> None:
    seed = next(seed for seed in range(100) if draw(seed)[1].nodes < 8)
    runs = [run_seed(seed, 1) for _ in range(2)]
    assert runs[0].outcome.violation == ""
    assert runs[0].outcome.digest == runs[1].outcome.digest


def test_a_campaign_counts_what_it_ran() -> None:
    small = [seed for seed in range(200) if draw(seed)[1].nodes < 6][:3]
    told: list[int] = []
    tally = run_seeds(iter(small), 0.5, tell=lambda done, tally: told.append(done.seed))
    assert told == small
    assert (tally.seeds, tally.failed) == (3, [])
    assert tally.faults.total() > 0
    assert any(line.startswith("seeds") for line in tally.lines(1.0))


def test_a_failed_seed_prints_the_command_that_runs_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(world: MemberWorld) -> None:
        raise AssertionError("the machine broke")

    monkeypatch.setattr(MemberWorld, "check_agreement", crash)
    seed = next(seed for seed in range(100) if draw(seed)[1].nodes < 8)
    assert main(["--seeds", "1", "--start", str(seed), "--minutes", "0.2"]) == 1
    out = capsys.readouterr().out
    assert "crash: AssertionError: the machine broke" in out
    assert f"sim members --seeds 1 --start {seed} --minutes 0.2" in out
    assert "failed         1" in out
