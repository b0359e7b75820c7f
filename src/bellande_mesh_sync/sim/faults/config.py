"""Which faults there are, how often each comes, and how long it lasts."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """Mean seconds between two faults of a kind (`_s`), over the whole mesh; 0 turns the kind off."""

    partition_s: float = 0.0
    """Groups of nodes cannot reach each other."""
    flap_s: float = 0.0
    """A pair of nodes loses sight of each other for a moment."""
    flapping_s: float = 0.0
    """A pair of nodes does so again and again for a while."""
    clog_s: float = 0.0
    """A way or all ways of a node stand still, and then everything arrives at once."""
    slow_link_s: float = 0.0
    """A way lets only some kilobytes a second pass."""
    reset_s: float = 0.0
    """A connection breaks."""
    cut_stream_s: float = 0.0
    """A connection breaks in the middle of a write with records."""
    congestion_s: float = 0.0
    """All delays are many times as long."""

    kill_s: float = 0.0
    kill_amid_s: float = 0.0
    """A process dies in the middle of what it was doing."""
    power_s: float = 0.0
    stop_s: float = 0.0
    """A node leaves cleanly and comes back."""
    pause_s: float = 0.0
    slow_loop_s: float = 0.0
    """A node takes long for each event, so that they queue up and timers come late."""
    wipe_s: float = 0.0
    """A machine gets a new disk."""
    blackout_s: float = 0.0
    """Power is gone everywhere at once."""
    away_s: float = 0.0
    """A node is off for so long that the others may forget it."""
    join_s: float = 0.0
    """A new node comes to the mesh."""

    revoke_s: float = 0.0
    """A node's certificate counts no more: it is cut off for good."""
    expel_s: float = 0.0
    """A node is revoked by a statement, and the others find out by themselves."""
    state_s: float = 0.0
    """Something is stated for the whole mesh, or forged."""
    upgrade_s: float = 0.0
    """A node is killed and comes back with another protocol version."""

    rehome_s: float = 0.0
    """A running node gets another address, as a laptop that changes networks, and notices it late."""

    clock_jump_s: float = 0.0
    clock_lost_s: float = 0.0
    """A node starts in 1970, and is told the time later."""

    disk_full_s: float = 0.0
    disk_slow_s: float = 0.0
    disk_stall_s: float = 0.0
    """A disk does nothing at all for up to ten seconds."""
    sync_failure_s: float = 0.0
    read_failure_s: float = 0.0
    """A key cannot be looked up: its node stops."""
    rot_record_s: float = 0.0
    """A bit of a stored record flips."""
    rot_chunk_s: float = 0.0
    """A bit of a stored chunk flips."""
    restore_s: float = 0.0
    """A node's disk is replaced by a backup of it."""

    lasts_mean_s: float = 8.0
    """How long an episode lasts, or a node is down."""
    jump_max_ms: int = 20_000
    moves_ratio: float = 0.0
    """How many restarts come with another address."""
    away_lasts_s: float = 60.0
    """How long a node is off that may be forgotten; more than the core's `forget_after_ns`, or it is not."""
    joins_max: int = 3
    revocations_max: int = 1


def draw_pace(rng: random.Random, chance: float, low_s: float, high_s: float) -> float:
    """Swarm testing: a kind of fault is off in many runs, so that in others it is seen alone."""
    return rng.uniform(low_s, high_s) if rng.random() < chance else 0.0
