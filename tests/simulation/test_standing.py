"""Members that lie, nodes that are cut off for good, and two protocol versions side by side."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from bellande_mesh_sync.core.effects import Effect
from bellande_mesh_sync.core.events import Event, Received
from bellande_mesh_sync.core.members.swim.beliefs import Beliefs
from bellande_mesh_sync.core.members.swim.messages import Entries, Entry, Standing
from bellande_mesh_sync.core.members.swim.view import DEAD, REMOVED
from bellande_mesh_sync.core.messages import (
    PROTOCOL_NEWEST,
    Have,
    Hello,
    MemberStream,
    Message,
    Ping,
    Records,
)
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.ids import Now
from bellande_mesh_sync.sim.envelope import decode, pack
from bellande_mesh_sync.sim.faults import FaultConfig
from bellande_mesh_sync.sim.liar import LiarConfig
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.next_version import in_next_version
from bellande_mesh_sync.sim.outcome import Outcome
from bellande_mesh_sync.sim.simulation import Simulation, run
from bellande_mesh_sync.sim.swarm import Scenario, draw
from bellande_mesh_sync.wire.frames import FrameReader
from tests.core.making import SHARD, author_named, hello_of, member_of, record

ALL_LIES = LiarConfig(bent_ratio=0.01, false_hello_ratio=0.4, replay_s=1.0, impossible_s=0.5, packets_s=0.5)


def quiet(seed: int, *, nodes: int = 4, faults_s: float = 60.0) -> Scenario:
    """A scenario in which nothing goes wrong but what a test adds."""
    drawn = draw(seed, nodes=(nodes, nodes), minutes=1)
    return Scenario(seed, nodes, faults_s, settle_s=90, core=drawn.core)


def check(outcome: Outcome) -> Counter[str]:
    assert not outcome.violation, "\n".join(outcome.story)
    return outcome.counts + outcome.faults


# -- lies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 5))
def test_honest_members_keep_their_promises_whatever_one_of_them_says(seed: int) -> None:
    counts = check(run(replace(quiet(seed), liar=ALL_LIES)))
    assert counts["lie replayed"] > 0
    assert counts["lie bent"] > 0
    assert counts["lies_refused"] > 0


def test_every_kind_of_lie_is_told() -> None:
    counts: Counter[str] = Counter()
    for seed in range(1, 4):
        counts += check(run(replace(quiet(seed), liar=replace(ALL_LIES, impossible_s=0.2, packets_s=0.2))))
    told = {name for name in counts if name.startswith("lie ")}
    assert len(told) == 30, told


def test_a_node_that_takes_a_false_hello_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bellande_mesh_sync.sim.connection.judge_hello", lambda *_, **__: None)
    outcome = run(replace(quiet(1), liar=ALL_LIES, faults=FaultConfig(reset_s=2.0)))
    assert outcome.check == "admission"


def test_a_node_that_takes_forged_member_records_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    for room in ("roster", "ourselves"):
        monkeypatch.setattr(
            f"bellande_mesh_sync.core.members.swim.{room}.is_genuine", lambda record, verify: True
        )
    outcome = run(replace(quiet(1), liar=replace(ALL_LIES, false_hello_ratio=0, bent_ratio=0)))
    assert outcome.violation


def test_a_node_that_believes_a_removal_at_once_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_down(beliefs: Beliefs, index: int, now_ns: int) -> bool:
        return DEAD <= beliefs.view.standing(index) < REMOVED

    monkeypatch.setattr(Beliefs, "_is_long_down", is_down)
    monkeypatch.setattr(Beliefs, "_doubt", lambda beliefs, index, by, now_ns: False)
    outcome = run(replace(quiet(1), liar=LiarConfig(packets_s=0.2)))
    assert outcome.check in ("members", "ack_level")  # Forgotten, or no longer counted.


def test_a_node_that_stops_over_a_lie_is_caught() -> None:
    class Fragile(NodeCore):
        def handle(self, event: Event, now: Now) -> list[Effect]:
            if isinstance(event, Received):
                assert not any(isinstance(message, Hello) for message in event.messages), "planted"
            return super().handle(event, now)

    outcome = Simulation(replace(quiet(1), liar=ALL_LIES), make_core=Fragile).run()
    assert outcome.check == "exception"


# -- revocation --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 4))
def test_the_rest_of_the_mesh_goes_on_without_a_node_that_was_cut_off(seed: int) -> None:
    counts = check(run(replace(quiet(seed), faults=FaultConfig(revoke_s=10.0))))
    assert counts["revoke"] == 1
    assert counts["outsiders_refused"] > 0


def test_a_byte_that_reaches_a_node_that_was_cut_off_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def forget_to_close(network: Network, host: object) -> None:
        network.outsiders.add(host.index)  # type: ignore[attr-defined]

    monkeypatch.setattr(Network, "cut_off", forget_to_close)
    assert run(replace(quiet(1), faults=FaultConfig(revoke_s=10.0))).check == "outsiders"


# -- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1, 4))
def test_nodes_of_two_protocol_versions_converge_and_are_upgraded_one_by_one(seed: int) -> None:
    scenario = replace(quiet(seed), newer_ratio=0.5, faults=FaultConfig(upgrade_s=8.0, lasts_mean_s=2.0))
    assert check(run(scenario))["upgrade"] > 0


def messages() -> list[Message]:
    author = author_named("a")
    return [
        Ping(3),
        hello_of("a"),
        MemberStream(Entries((Entry(member_of("a"), Standing.ALIVE, 0, None),), (member_of("b").node,))),
        Have(SHARD, ((author, ((1, 4),)),)),
        Records(SHARD, 0, (record("fleet/1", author, 1),)),
    ]


def test_what_the_next_version_adds_is_passed_over() -> None:
    frames = pack(messages())
    grown = in_next_version(frames)
    assert len(grown) > len(frames)
    expected = [
        msgspec.structs.replace(message, protocol_newest=PROTOCOL_NEWEST + 1)
        if isinstance(message, Hello)
        else message
        for message in messages()
    ]
    assert list(decode(FrameReader(), grown)) == expected


def test_a_decoder_that_refuses_new_fields_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def strict(reader: FrameReader, frames: bytes) -> tuple[Message, ...]:
        assert b"of the next version" not in frames, "planted"
        return decode(reader, frames)

    monkeypatch.setattr("bellande_mesh_sync.sim.envelope.decode", strict)
    assert run(replace(quiet(1), newer_ratio=1.0)).check == "exception"


def test_one_seed_in_ten_has_a_liar() -> None:
    liars = sum(draw(seed, nodes=(3, 7), minutes=1).liar != LiarConfig() for seed in range(1000))
    assert 70 <= liars <= 130
