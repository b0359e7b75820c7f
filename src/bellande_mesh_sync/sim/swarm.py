"""Scenarios: everything a run is made of, drawn from its seed.

Each seed turns some kinds of faults and features off and others up, so that combinations meet that
no one would have thought of (swarm testing; Groce et al., ISSTA 2012).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy
from bellande_mesh_sync.core.members.swim.config import FAST, LAN
from bellande_mesh_sync.sim.disk import DiskConfig
from bellande_mesh_sync.sim.draws import spread
from bellande_mesh_sync.sim.faults import FaultConfig, draw_pace
from bellande_mesh_sync.sim.liar import LiarConfig
from bellande_mesh_sync.sim.wire_time import LATENCY_SHAPES, NetworkConfig
from bellande_mesh_sync.sim.workload_config import ALL_ACKS, WorkloadConfig
from bellande_mesh_sync.sim.world import MICROSECOND_NS, MILLISECOND_NS, SECOND_NS

KIB: Final = 1024
SMALL_MESH: Final = 8
REHOME_STALLS: Final = 6
"""A link for chunks that fell silent is given up when twice no chunk came for three stall timeouts."""
JOINS_MAX: Final = FaultConfig().joins_max


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to run. Equal scenarios give equal traces."""

    seed: int
    nodes: int
    faults_s: float
    """How long faults and clients go on; then all must agree within `settle_s`."""
    settle_s: float
    core: CoreConfig = field(default_factory=CoreConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    links: tuple[tuple[int, int, NetworkConfig], ...] = ()
    """Pairs of nodes, by index, with a network of their own between them."""
    disk: DiskConfig = field(default_factory=DiskConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    faults: FaultConfig = field(default_factory=FaultConfig)
    liar: LiarConfig = field(default_factory=LiarConfig)
    """How much the last of the first nodes lies."""
    datagrams: bool = True
    """Whether the nodes have ports for datagrams; without, all goes over links."""
    newer_ratio: float = 0.0
    """How many nodes start with the next protocol version."""
    clock_offset_max_ms: int = 0
    clock_drift_max_ppm: int = 0
    knows_members: bool = True
    """Whether the nodes know each other from an earlier life, or meet through bootstrap addresses."""


def draw(seed: int, *, nodes: tuple[int, int], minutes: float) -> Scenario:
    """The scenario of a seed; the same in every process."""
    rng = random.Random(int.from_bytes(blake3(f"{seed}/scenario".encode()).digest(), "big"))
    low, high = nodes
    # Small meshes mostly: they are quicker by the square, and have less to hide a fault behind.
    skew = 2 if high <= SMALL_MESH else 3
    count = low + int((high - low + 1) * rng.random() ** skew)
    core = _draw_core(rng, count)
    wild_clocks = rng.random() < 0.15
    jump_max_ms = rng.choice((600_000, 120_000)) if wild_clocks else rng.choice((100, 5_000, 20_000))
    # A clock that was ahead has left its stamps; the others wait for their time to come.
    settle_s = 60 + 6 * core.sync_interval_ns / SECOND_NS + 3 * core.stall_timeout_ns / SECOND_NS
    settle_s += 2 * jump_max_ms / 1000 if wild_clocks else 0
    scenario = Scenario(
        seed=seed,
        nodes=count,
        faults_s=minutes * 60,
        settle_s=settle_s,
        core=core,
        network=_draw_network(rng),
        disk=_draw_disk(rng, core.page_bytes),
        workload=_draw_workload(rng, count),
        faults=_draw_faults(rng, core, jump_max_ms),
        clock_offset_max_ms=jump_max_ms,
        clock_drift_max_ppm=rng.choice((0, 50, 200)),
        knows_members=rng.random() < 0.5,
        liar=_draw_liar(rng),
        newer_ratio=rng.choice((0.0, 0.0, 0.0, 0.3)),
    )
    return _with_datagrams(rng, scenario)


def with_history(scenario: Scenario) -> Scenario:
    """The same on nodes that keep old versions. Drawn apart: without, a seed stays the run that it was."""
    rng = random.Random(int.from_bytes(blake3(f"{scenario.seed}/history".encode()).digest(), "big"))
    interval_ns = rng.choice((5, 60)) * SECOND_NS
    spaces = tuple((f"s{index}", _draw_history(rng)) for index in range(scenario.workload.spaces))
    history = HistoryPolicies(_draw_history(rng), spaces)
    return replace(scenario, core=replace(scenario.core, history=history, history_interval_ns=interval_ns))


def with_statements(scenario: Scenario) -> Scenario:
    """The same with statements for the whole mesh. Drawn apart, as histories are."""
    rng = random.Random(int.from_bytes(blake3(f"{scenario.seed}/statements".encode()).digest(), "big"))
    if scenario.faults == FaultConfig():
        return scenario
    return replace(
        scenario,
        faults=replace(
            scenario.faults, state_s=draw_pace(rng, 0.3, 2, 30), expel_s=draw_pace(rng, 0.15, 15, 150)
        ),
    )


def _draw_history(rng: random.Random) -> HistoryPolicy:
    return HistoryPolicy(rng.choice((0, 1, 2, 3, 20)), rng.choice((0, 0, 10_000, 60_000)))


def _with_datagrams(rng: random.Random, scenario: Scenario) -> Scenario:
    """What goes wrong with datagrams and addresses, and other things of later versions. Drawn last: all else
    of a seed stays as it was."""
    replay_ratio, rehome_s = rng.choice((0.0, 0.0, 0.0, 0.02)), draw_pace(rng, 0.15, 15, 80)
    is_calm = scenario.faults == FaultConfig()
    silent_s = REHOME_STALLS * scenario.core.stall_timeout_ns / SECOND_NS if rehome_s else 0
    few = max(3, scenario.nodes // 2)
    core = replace(scenario.core, swim=rng.choice((LAN, LAN, FAST)))
    if rng.random() < 0.05:
        core = replace(core, connections_max=few)  # Not enough to have a link with everybody.
    datagrams, liar = rng.random() < 0.8, _with_lies_in_packets(rng, scenario.liar)
    is_blocked = rng.random() < 0.1
    core = replace(core, share_bytes=rng.choice((1, 64 * KIB, 4 * KIB * KIB)))
    return replace(
        scenario,
        datagrams=datagrams,
        liar=liar,
        settle_s=scenario.settle_s + silent_s,
        core=core,
        network=replace(scenario.network, replay_ratio=replay_ratio, blocks_datagrams=is_blocked),
        faults=scenario.faults if is_calm else replace(scenario.faults, rehome_s=rehome_s),
    )


def _with_lies_in_packets(rng: random.Random, liar: LiarConfig) -> LiarConfig:
    packets_s = draw_pace(rng, 0.6, 0.5, 10)
    return liar if liar == LiarConfig() else replace(liar, packets_s=packets_s)


def _draw_core(rng: random.Random, nodes: int) -> CoreConfig:
    """Limits and timeouts near their smallest in many runs: that is where they do harm."""
    node_timeout_s = rng.choice((20, 60, 300))
    return CoreConfig(
        ping_interval_ns=rng.choice((2, 5, 5)) * SECOND_NS,
        node_timeout_ns=node_timeout_s * SECOND_NS,
        sync_interval_ns=rng.choice((3, 10, 30)) * SECOND_NS,
        pull_delay_ns=rng.choice((1, 20, 200, 200, 1000)) * MILLISECOND_NS,
        stall_timeout_ns=rng.choice((3, 20)) * SECOND_NS,
        redial_min_ns=rng.choice((20, 200, 200)) * MILLISECOND_NS,
        redial_max_ns=rng.choice((2, 10, 30)) * SECOND_NS,
        clock_drift_max_ms=rng.choice((60_000, 60_000, 60_000, 5_000)),
        forget_after_ns=(forget_s := 90 if rng.random() < 0.3 else 72 * 3600) * SECOND_NS,
        rebalance_after_ns=forget_s * SECOND_NS // 2,
        # A link for records and one for chunks to everybody; or hardly more than links for records.
        connections_max=rng.choice((1000, 1000, 1000, nodes + 3)),
        credit_bytes=rng.choice((8 * KIB, 24 * KIB, 256 * KIB, 8 * KIB * KIB)),
        page_bytes=rng.choice((1, 4 * KIB, 64 * KIB, 256 * KIB)),
        streams_max=rng.choice((1, 2, 4)),
        fetch_window_bytes=rng.choice((20_000, 64 * KIB, 1 * KIB * KIB, 16 * KIB * KIB)),
        uncommitted_bytes_max=rng.choice((64 * KIB, 64 * KIB * KIB, 64 * KIB * KIB)),
        acks_waiting_max=rng.choice((20, 100_000, 100_000)),
        members_max=rng.choice((20_000, nodes + JOINS_MAX)),
    )


def _draw_network(rng: random.Random) -> NetworkConfig:
    return NetworkConfig(
        latency_min_ns=int(spread(rng, 50, 20_000)) * MICROSECOND_NS,
        latency_mean_ns=int(spread(rng, 100, 50_000)) * MICROSECOND_NS,
        latency_shape=rng.choice(LATENCY_SHAPES),
        latency_base_max_ns=rng.choice((0, 0, 10, 100)) * MILLISECOND_NS,
        loss_ratio=rng.choice((0.0, 0.001, 0.01, 0.1, 0.3)),
        reorder_ratio=rng.choice((0.0, 0.0, 0.01, 0.25)),
        duplicate_ratio=rng.choice((0.0, 0.0, 0.01, 0.5)),
        reset_ratio=rng.choice((0.0, 0.0, 0.0001, 0.002)),
        torn_ratio=rng.choice((0.0, 0.5, 1.0)),
        dial_failure_ratio=rng.choice((0.0, 0.05, 0.3)),
        corrupt_chunk_ratio=rng.choice((0.0, 0.0, 0.02)),
        late_notice_ratio=rng.choice((0.0, 0.1, 0.5)),
        late_notice_mean_ns=rng.choice((1, 20, 60)) * SECOND_NS,
        stall_timeout_mean_ns=rng.choice((2, 25, 120)) * SECOND_NS,
        bytes_per_second=int(spread(rng, 200_000, 500_000_000)),
    )


def _draw_disk(rng: random.Random, page_bytes: int) -> DiskConfig:
    return DiskConfig(
        sync_min_ns=int(spread(rng, 20, 5_000)) * MICROSECOND_NS,
        sync_mean_ns=int(spread(rng, 100, 40_000)) * MICROSECOND_NS,
        slow_sync_mean_ns=rng.choice((300, 1_500, 5_000)) * MILLISECOND_NS,
        read_mean_ns=int(spread(rng, 50, 20_000)) * MICROSECOND_NS,
        post_mean_ns=int(spread(rng, 5, 2_000)) * MICROSECOND_NS,
        # By page: a stream of pages of one record each would hardly ever come to its end.
        read_error_ratio=rng.choice((0.0, 0.0, 0.01)) if page_bytes > 1 else 0.0,
        page_bytes=page_bytes,
    )


def _draw_workload(rng: random.Random, nodes: int) -> WorkloadConfig:
    """A light load mostly: faults meet few requests often, and those are followed to the end."""
    share = min(1.0, 25 / nodes**2)  # One write costs messages in the square of the nodes.
    rate = spread(rng, 0.3, 1.6) * share
    if rng.random() < 0.04:
        rate *= 5
    return WorkloadConfig(
        clients=rng.choice((1, 3, 8)),
        requests_per_s=rate,
        burst_s=rng.choice((0.0, 0.0, 0.0, 40.0)),
        burst_requests=max(4, int(rng.choice((10, 40)) * share)),
        roam_ratio=rng.choice((0.0, 0.3, 1.0)),
        hot_keys=rng.choice((1, 3, 10, 30)),
        hot_ratio=rng.choice((0.4, 0.8, 1.0)),
        is_skewed=rng.random() < 0.5,
        odd_key_ratio=rng.choice((0.0, 0.0, 0.3)),
        careful_ratio=rng.choice((0.0, 0.5, 1.0)),
        read_ratio=rng.choice((0.0, 0.2, 0.5)),
        note_ratio=rng.choice((0.0, 0.1)),
        batch_ratio=rng.choice((0.0, 0.1, 0.3)),
        batch_max=rng.choice((3, 12, 40)),
        twin_ratio=rng.choice((0.0, 0.3)),
        styles=_draw_styles(rng),
        delete_ratio=rng.choice((0.0, 0.15, 0.4)),
        chunked_ratio=rng.choice((0.0, 0.0, 0.05, 0.15)),
        chunk_bytes=rng.choice((500, 8_000, 30_000)),
        limit_ratio=rng.choice((0.0, 0.0, 0.05)),
        equal_ratio=rng.choice((0.0, 0.0, 0.1)),
        expiry_ratio=rng.choice((0.0, 0.0, 0.2)),
        spaces=rng.choice((1, 2, 3)),
        acks=rng.choice((ALL_ACKS, ALL_ACKS, (("local", 1.0),), (("quorum", 2.0), ("all", 1.0)))),
    )


def _draw_styles(rng: random.Random) -> tuple[tuple[str, float], ...]:
    """Some ways of writing are off, the others as likely as it comes."""
    styles = [
        (name, rng.choice((0.0, 1.0, 4.0))) for name in ("implicit", "modify", "stale", "blind", "match")
    ]
    return tuple(styles) if any(weight for _, weight in styles) else (("implicit", 1.0),)


def _draw_faults(rng: random.Random, core: CoreConfig, jump_max_ms: int) -> FaultConfig:
    if rng.random() < 0.05:
        return FaultConfig()  # Now and then nothing goes wrong at all.
    return FaultConfig(
        partition_s=draw_pace(rng, 0.5, 15, 60),
        flap_s=draw_pace(rng, 0.3, 3, 20),
        flapping_s=draw_pace(rng, 0.2, 10, 40),
        clog_s=draw_pace(rng, 0.3, 4, 30),
        slow_link_s=draw_pace(rng, 0.2, 10, 60),
        reset_s=draw_pace(rng, 0.3, 2, 20),
        cut_stream_s=draw_pace(rng, 0.3, 2, 20),
        congestion_s=draw_pace(rng, 0.2, 20, 60),
        kill_s=draw_pace(rng, 0.4, 8, 40),
        kill_amid_s=draw_pace(rng, 0.4, 8, 40),
        power_s=draw_pace(rng, 0.4, 10, 60),
        blackout_s=draw_pace(rng, 0.1, 60, 200),
        stop_s=draw_pace(rng, 0.3, 15, 60),
        away_s=draw_pace(rng, 0.3, 60, 200),
        pause_s=draw_pace(rng, 0.3, 10, 40),
        slow_loop_s=draw_pace(rng, 0.25, 15, 60),
        join_s=draw_pace(rng, 0.2, 20, 120),
        wipe_s=draw_pace(rng, 0.1, 60, 150),
        clock_jump_s=draw_pace(rng, 0.4, 10, 60),
        clock_lost_s=draw_pace(rng, 0.15, 30, 120),
        disk_full_s=draw_pace(rng, 0.3, 15, 60),
        disk_slow_s=draw_pace(rng, 0.25, 15, 60),
        disk_stall_s=draw_pace(rng, 0.25, 10, 60),
        sync_failure_s=draw_pace(rng, 0.2, 20, 80),
        read_failure_s=draw_pace(rng, 0.1, 30, 120),
        rot_record_s=draw_pace(rng, 0.15, 20, 100),
        rot_chunk_s=draw_pace(rng, 0.15, 5, 40),
        restore_s=draw_pace(rng, 0.15, 30, 150),
        revoke_s=draw_pace(rng, 0.1, 20, 200),
        upgrade_s=draw_pace(rng, 0.15, 10, 60),
        lasts_mean_s=rng.choice((2.0, 8.0, 25.0)),
        jump_max_ms=jump_max_ms,
        moves_ratio=rng.choice((0.0, 0.0, 0.3)),
        away_lasts_s=min(core.forget_after_ns / SECOND_NS, 100),
    )


def _draw_liar(rng: random.Random) -> LiarConfig:
    """One seed in ten has a member that lies."""
    if rng.random() >= 0.1:
        return LiarConfig()
    return LiarConfig(
        bent_ratio=rng.choice((0.0, 0.002, 0.02)),
        false_hello_ratio=rng.choice((0.0, 0.5)),
        replay_s=draw_pace(rng, 0.6, 0.5, 10),
        impossible_s=draw_pace(rng, 0.8, 0.5, 10),
    )
