"""Who is in the mesh and who answers, by real processes that are killed, stopped, cut off and moved.

What must never be announced is looked for in the nodes' logs, where every change stands; what must
become known is asked of the nodes, all at once, until all of them say so.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest

from tests.netns.fleet import Fleet
from tests.netns.impairment import Impairment

pytestmark = pytest.mark.timeout(900)

Figure = Callable[[str], None]

BAD_NETWORK = Impairment(loss=0.1, delay_ms=100, jitter_ms=50, reorder=0.25)


def test_all_others_know_of_a_killed_node_within_six_seconds(fleet: Fleet, figure: Figure) -> None:
    victim = fleet.nodes[5]
    began_s = time.time()
    victim.kill()
    took = fleet.wait(lambda: set(fleet.states_of(victim).values()) == {"dead"}, 6, f"{victim.name} is dead")
    figure(f"kill -9 of one of 8: all know in {took:.1f} s (goal 6)")
    assert {each.about for each in fleet.deaths(began_s)} == {victim.name}


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.soak)])
def test_a_wire_cut_one_way_kills_nobody_while_others_see_both(
    fleet: Fleet, figure: Figure, seconds: int
) -> None:
    one, other = fleet.nodes[2], fleet.nodes[6]
    began_s = time.time()
    fleet.hosts.cut(one.host, other.host, one_way=True)
    space = f"one-way-{seconds}"
    with fleet.writing([one, other], space) as written:
        time.sleep(seconds)
    took = fleet.wait_written(written, space, 10)
    assert fleet.deaths(began_s) == []
    figure(f"one way cut for {seconds} s: no death, {len(written)} writes everywhere {took:.1f} s later")


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.soak)])
def test_a_node_that_was_stopped_is_the_only_one_called_dead_and_comes_back(
    fleet: Fleet, figure: Figure, seconds: int
) -> None:
    stopped = fleet.nodes[3]
    began_s = time.time()
    stopped.pause()
    time.sleep(seconds)
    assert set(fleet.states_of(stopped).values()) == {"dead"}
    stopped.go_on()
    took = fleet.wait(fleet.is_one_mesh, 10, f"{stopped.name} is back in all views, and all in its view")
    time.sleep(5)  # What it held against others in its sleep would come out by now.
    assert {each.about for each in fleet.deaths(began_s)} == {stopped.name}
    figure(f"stopped for {seconds} s: only it was called dead, back everywhere in {took:.1f} s (goal 10)")


@pytest.mark.parametrize("seconds", [20, pytest.param(60, marks=pytest.mark.soak)])
def test_a_mesh_split_in_halves_becomes_one_again_with_all_writes(
    fleet: Fleet, figure: Figure, seconds: int
) -> None:
    half, rest = fleet.nodes[:4], fleet.nodes[4:]
    fleet.hosts.split([node.host for node in half], [node.host for node in rest])
    space = f"split-{seconds}"
    with fleet.writing([half[1], rest[1]], space) as written:
        time.sleep(seconds)
        for side, beyond in ((half, rest), (rest, half)):
            dead = {node.name for node in beyond}
            for seen in fleet.views(side).values():
                assert {name for name, view in seen.items() if view.state == "dead"} == dead
    healed = time.monotonic()
    fleet.hosts.heal()
    mesh_s = fleet.wait(fleet.is_one_mesh, 60, "one mesh")
    fleet.wait_written(written, space, 60 - mesh_s)
    figure(
        f"halves for {seconds} s: one mesh in {mesh_s:.1f} s, all {len(written)} writes everywhere "
        f"in {time.monotonic() - healed:.1f} s (goal 60)"
    )


def test_a_node_is_known_at_its_new_address_and_no_write_is_lost(fleet: Fleet, figure: Figure) -> None:
    moved, others = fleet.nodes[4], [node for node in fleet.nodes if node.host != 4]
    space, old = "moving", moved.address
    with fleet.writing([moved, others[0], others[6]], space) as written:
        time.sleep(1)
        fleet.hosts.move(moved.host, "10.77.0.104")

        def is_known() -> bool:
            seen = [view[moved.name] for view in fleet.views(others).values()]
            told = [moved.address in view.addresses and old not in view.addresses for view in seen]
            return all(told) and all(view.state == "alive" for view in seen)

        took = fleet.wait(is_known, 30, f"{moved.name} is known at {moved.address}")
        time.sleep(1)
    fleet.wait_written(written, space, 20)
    figure(f"another address: known everywhere in {took:.1f} s, all {len(written)} writes everywhere")


@pytest.mark.parametrize("seconds", [30, pytest.param(180, marks=pytest.mark.soak)])
def test_a_bad_network_kills_nobody(fleet: Fleet, figure: Figure, seconds: int) -> None:
    began_s = time.time()
    for node in fleet.nodes:
        fleet.hosts.netem(node.host, BAD_NETWORK)
    space = f"bad-network-{seconds}"
    with fleet.writing([fleet.nodes[0], fleet.nodes[7]], space, pause_s=1.0) as written:
        time.sleep(seconds)
        views = [view for seen in fleet.views().values() for view in seen.values()]
    round_trip_ms = statistics.median(view.rtt_ms for view in views if view.rtt_ms is not None)
    assert round_trip_ms > 50, "the nodes themselves see how bad it is"
    took = fleet.wait_written(written, space, 60)
    assert fleet.deaths(began_s) == []
    by = "tc netem" if fleet.hosts.has_netem else "the relay"
    figure(
        f"{by}: 10 % loss, 25 % reordered, 100 ± 50 ms for {seconds} s: "
        f"round trips of {round_trip_ms:.0f} ms, no death, "
        f"{len(written)} writes everywhere {took:.1f} s after the last"
    )


def test_a_mesh_that_was_killed_finds_together_by_its_peer_books_alone(fleet: Fleet, figure: Figure) -> None:
    for node in fleet.nodes:
        node.kill()
    for node in fleet.nodes:
        node.settle(bootstrap=[])  # For this test and those after it: none needs them any more.
    began = time.monotonic()
    # Not all at once, and those last that the others had called first.
    fleet.start(fleet.nodes[4:])
    fleet.start(fleet.nodes[:4])
    fleet.wait(fleet.is_one_mesh, 60, "one mesh")
    figure(f"all 8 killed, started with peer books only: one mesh in {time.monotonic() - began:.1f} s")
