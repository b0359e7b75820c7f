"""Worlds of members: the promises hold under trouble, and each check finds a machine that breaks them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from bellande_mesh_sync.core.config import LocalNode
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.members.swim import sleepers
from bellande_mesh_sync.core.members.swim.config import FAST, LAN, SwimConfig
from bellande_mesh_sync.core.members.swim.effects import SendDatagram, SwimEffect
from bellande_mesh_sync.core.members.swim.machine import Swim
from bellande_mesh_sync.core.members.swim.messages import Datagram, StreamMessage, Verdict
from bellande_mesh_sync.core.members.swim.timers import SuspicionOver, SwimTimer
from bellande_mesh_sync.core.members.swim.view import DEAD, View
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.__main__ import main as simulator
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.datagrams import DatagramConfig
from bellande_mesh_sync.sim.member_faults import MemberFaults
from bellande_mesh_sync.sim.member_run import run_members
from bellande_mesh_sync.sim.member_world import MemberScenario, MemberWorld
from bellande_mesh_sync.sim.members_command import main
from bellande_mesh_sync.sim.world import MILLISECOND_NS

ROUGH = DatagramConfig(
    latency_min_ns=50 * MILLISECOND_NS,
    latency_spread_ns=100 * MILLISECOND_NS,
    loss_ratio=0.1,
    reorder_ratio=0.25,
)


def world_of(nodes: int, config: SwimConfig = FAST, seed: int = 1) -> MemberWorld:
    return MemberWorld(MemberScenario(nodes, seed, config))


def dead_in(world: MemberWorld) -> set[int]:
    """Whom anybody holds for dead."""
    hosts = range(len(world.hosts))
    return {s for o in hosts for s in hosts if world.checker.state_told(o, s) == "dead"}


# -- the promises


def test_a_killed_node_is_known_dead_by_all_of_a_hundred_within_the_goal() -> None:
    outcome = run_members(MemberScenario(100, 3, FAST), 1.5, MemberFaults(kinds=()), kills=5, joins=1)
    assert outcome.violation == ""
    assert sorted(outcome.known_by_all_s)[len(outcome.known_by_all_s) // 2] <= 6
    assert max(outcome.known_by_all_s) <= 12
    assert max(outcome.joins_s) <= 3


def test_loss_reordering_and_long_ways_kill_nobody() -> None:
    world = MemberWorld(MemberScenario(30, 1, LAN, ROUGH))
    world.run_for(120)
    assert world.checker.false_deaths == []
    assert world.checker.change_count > 0  # There were suspicions, and they were refuted.


def test_of_a_paused_node_and_its_mesh_only_the_node_is_declared_dead_and_it_is_soon_back() -> None:
    world = world_of(30)
    world.run_for(5)
    world.pause(4)
    world.run_for(60)
    assert dead_in(world) == {4}
    world.resume(4)
    world.run_for(11)
    world.run_for(20)
    world.check_agreement()


@pytest.mark.parametrize("nodes", [2, 30])
def test_two_halves_that_hold_each_other_for_dead_become_one_mesh_within_a_minute(nodes: int) -> None:
    world = world_of(nodes)
    world.run_for(5)
    world.split(list(range(nodes // 2)))
    world.run_for(200)
    assert dead_in(world) == set(range(nodes))
    world.heal()
    world.run_for(61)
    assert dead_in(world) == set()
    world.check_agreement()


def test_a_sleeper_that_is_not_back_in_time_is_missed_by_all_and_soon_back_when_it_wakes() -> None:
    world = world_of(10)
    world.run_for(5)
    world.sleep(3, for_s=20)
    world.run_for(78)
    assert dead_in(world) == set()
    world.run_for(45)
    assert dead_in(world) == {3}
    world.check_agreement()
    world.wake(3)
    world.run_for(11)
    assert dead_in(world) == set()


def test_a_one_way_cut_that_others_see_around_changes_nothing() -> None:
    world = world_of(10)
    world.cut_one_way(1, 2)
    world.run_for(120)
    assert world.checker.change_count == 0


def test_an_idle_node_sends_little() -> None:
    world = world_of(200, LAN)
    world.run_for(60)
    world.check_traffic(60)
    assert sum(world.network.sent_bytes) / 200 / 60 < 500


@pytest.mark.parametrize("seed", range(1, 7))
def test_everything_at_once(seed: int) -> None:
    rough = DatagramConfig(loss_ratio=0.05, duplicate_ratio=0.05, reorder_ratio=0.1)
    scenario = MemberScenario(8 + seed, seed, (LAN, FAST)[seed % 2], rough, is_sealed=seed % 3 != 0)
    outcome = run_members(scenario, 3, MemberFaults(every_s=10))
    assert outcome.violation == ""
    assert outcome.false_deaths == []


def test_the_command_says_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes", "20", "--minutes", "0.5", "--kills", "1", "--profile", "fast"]) == 0
    out = capsys.readouterr().out
    assert "kill to all knowing: p50" in out
    assert "every promise was kept" in out


# -- the same run again


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--faults", "kil"], "'kil' is no kind"), (["--nodes", "0"], "'0' is not a number of nodes")],
)
def test_the_command_refuses_what_it_cannot_do(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulator(["members", *words]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert "usage: python -m bellande_mesh_sync.sim members" in printed


def test_the_same_seed_gives_the_same_digest_under_any_hash_seed() -> None:
    program = (
        "from bellande_mesh_sync.sim.members_command import *\n"
        "o = run_members(MemberScenario(12, 5, PROFILES['fast']), 2, MemberFaults(every_s=8))\n"
        "print(o.violation, o.digest)"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1


def test_other_seeds_give_other_runs() -> None:
    runs = [run_members(MemberScenario(5, seed), 0.2, MemberFaults(kinds=())) for seed in (1, 2)]
    assert runs[0].digest != runs[1].digest


# -- each check finds what it is for


class Blind(Swim):
    """Never ends a suspicion."""

    def handle_timer(self, timer: SwimTimer, now_ns: int) -> list[SwimEffect]:
        return [] if isinstance(timer, SuspicionOver) else super().handle_timer(timer, now_ns)

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        return super().handle_datagram(sender, without_deaths(datagram), now_ns)


def without_deaths(datagram: Datagram) -> Datagram:
    kept = tuple(verdict for verdict in datagram.verdicts if verdict.standing != DEAD)
    return Datagram(datagram.body, kept, datagram.records, datagram.notices)


class Sulking(Swim):
    """Never refutes what is said of it."""

    def __init__(
        self, config: SwimConfig, me: LocalNode, view: View, incarnation: int, rng: random.Random,
        counters: Counters,
    ) -> None:  # fmt: skip
        super().__init__(config, me, view, incarnation, rng, counters)
        self._me = me.node

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        kept = tuple(verdict for verdict in datagram.verdicts if verdict.node != self._me)
        heard = Datagram(datagram.body, kept, datagram.records, datagram.notices)
        return super().handle_datagram(sender, heard, now_ns)

    def handle_stream(self, sender: NodeId, message: StreamMessage, now_ns: int) -> list[SwimEffect]:
        return []


class Rash(Swim):
    """Declares a member dead now and then, for no reason."""

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        verdict = Verdict(sender, 1, DEAD, sender)
        return super().handle_datagram(sender, Datagram(datagram.body, (verdict,)), now_ns)


class Unforgiving(Swim):
    """Does not try the dead again, nor hear them."""

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        if self.view.standing(self.view.roster.find(sender)) == DEAD:
            return []
        return super().handle_datagram(sender, datagram, now_ns)


class Forgetful(Swim):
    """Passes no record on, nor takes any."""

    def handle_datagram(self, sender: NodeId, datagram: Datagram, now_ns: int) -> list[SwimEffect]:
        return super().handle_datagram(sender, Datagram(datagram.body, datagram.verdicts), now_ns)


class Boastful(Swim):
    """Says that its packets are smaller than they are."""

    def handle_timer(self, timer: SwimTimer, now_ns: int) -> list[SwimEffect]:
        effects = super().handle_timer(timer, now_ns)
        return [SendDatagram(e.target, e.datagram, 10) if isinstance(e, SendDatagram) else e for e in effects]


def broken_world(machine: type[Swim], nodes: int = 8) -> MemberWorld:
    world = MemberWorld(MemberScenario(nodes, 1, FAST), machine)
    world.run_for(1)
    return world


def test_a_death_that_nobody_notices_is_found() -> None:
    world = broken_world(Blind)
    world.kill(3)
    with pytest.raises(Violation, match=r"^completeness: "):
        world.run_for(60)


def test_a_death_of_a_living_node_is_found() -> None:
    with pytest.raises(Violation, match=r"^accuracy: "):
        broken_world(Rash)


def test_a_node_that_does_not_come_back_is_found() -> None:
    world = broken_world(Sulking)
    world.pause(3)
    world.run_for(60)
    assert dead_in(world) == {3}
    world.resume(3)
    with pytest.raises(Violation, match=r"^return: "):
        world.run_for(11)


def test_a_sleeper_that_is_missed_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleepers, "GRACE_S", -100)
    world = broken_world(Swim)
    world.sleep(3, for_s=120)
    with pytest.raises(Violation, match=r"^sleep: n\d: misses n3"):
        world.run_for(100)


def test_a_sleeper_that_nobody_misses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sleepers, "GRACE_S", 1000)
    world = broken_world(Swim)
    world.sleep(3, for_s=10)
    with pytest.raises(Violation, match=r"^sleep: n\d: does not miss n3"):
        world.run_for(200)


def test_two_halves_that_stay_apart_are_found() -> None:
    world = broken_world(Unforgiving)
    world.split([0, 1, 2, 3])
    world.run_for(200)
    world.heal()
    with pytest.raises(Violation, match=r"^healing: "):
        world.run_for(61)


def test_a_newcomer_that_some_do_not_hear_of_is_found() -> None:
    world = broken_world(Forgetful)
    world.join()
    with pytest.raises(Violation, match=r"^join: "):
        world.run_for(11)


def test_a_packet_longer_than_it_says_is_found() -> None:
    with pytest.raises(Violation, match=r"^packet: "):
        broken_world(Boastful).run_for(20)


def test_a_packet_longer_than_allowed_is_found() -> None:
    scenario = MemberScenario(5, 1, replace(FAST, packet_bytes_max=50))
    with pytest.raises(Violation, match=r"^packet: "):
        MemberWorld(scenario).run_for(5)


def test_a_view_that_is_not_the_truth_is_found() -> None:
    world = world_of(5)
    world.run_for(5)
    world.check_agreement()
    world.kill(3)
    with pytest.raises(Violation, match=r"^agreement: .* holds n3 for alive, which is dead"):
        world.check_agreement()


def test_a_record_that_its_node_never_made_is_found() -> None:
    world = world_of(5)
    world.run_for(5)
    world.kill(3)
    world.run_for(30)
    world.hosts[3].incarnation_stored = 0
    with pytest.raises(Violation, match=r"^incarnation: "):
        world.check_agreement()


def test_a_node_that_talks_too_much_is_found() -> None:
    world = MemberWorld(MemberScenario(5, 1, FAST, bytes_per_second_max=100))
    world.run_for(20)
    with pytest.raises(Violation, match=r"^traffic: "):
        world.check_traffic(20)


def test_a_queue_without_bounds_is_found() -> None:
    world = MemberWorld(MemberScenario(5, 1, replace(FAST, accusations_max=0, updates_max=0)))
    machine = world.hosts[1].machine
    assert isinstance(machine, Swim)
    machine.beliefs.accused.update(dict.fromkeys(range(5), 1))
    with pytest.raises(Violation, match=r"^queue: "):
        world.check_bounds(world.hosts[1])
