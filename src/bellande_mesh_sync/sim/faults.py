"""What goes wrong: a plan of faults by kind, each with its own pace, and the end of all of them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.world import SECOND_NS, World

PARTITION_SHAPES: Final = ("halves", "isolate", "groups", "one_way")


@dataclass(frozen=True, slots=True)
class FaultConfig:
    """Mean seconds between two faults of a kind, over the whole mesh; 0 turns the kind off."""

    partition_s: float = 0.0
    flap_s: float = 0.0
    reset_s: float = 0.0
    kill_s: float = 0.0
    kill_amid_s: float = 0.0
    power_s: float = 0.0
    stop_s: float = 0.0
    pause_s: float = 0.0
    clock_jump_s: float = 0.0
    disk_full_s: float = 0.0
    disk_slow_s: float = 0.0
    sync_failure_s: float = 0.0
    wipe_s: float = 0.0
    congestion_s: float = 0.0
    blackout_s: float = 0.0
    lasts_mean_s: float = 8.0
    """How long an episode lasts, or a node is down."""
    jump_max_ms: int = 20_000
    moves_ratio: float = 0.0
    """How many restarts come with another address."""


class Faults:
    """Does the damage, counts it by kind, and repairs all of it at the end."""

    def __init__(self, world: World, config: FaultConfig, nodes: Sequence[SimNode], network: Network) -> None:
        self.counts: Counter[str] = Counter()
        self.is_over = False
        self.wiped: Callable[[int], None] = lambda index: None
        self.left: Callable[[int], None] = lambda index: None
        self.clock_set: Callable[[int], None] = lambda index: None
        self._world = world
        self._config = config
        self._nodes = list(nodes)
        self._network = network
        self._rng = world.rng("faults")
        self._blocks: dict[int, list[tuple[int, int]]] = {}
        self._block_count = 0
        self._moves = 0
        for node in self._nodes:
            node.on_death = partial(self._died, node)

    def start(self) -> None:
        kinds: list[tuple[float, Callable[[], bool]]] = [
            (self._config.partition_s, self._partition),
            (self._config.flap_s, self._flap),
            (self._config.reset_s, self._reset),
            (self._config.kill_s, self._kill),
            (self._config.kill_amid_s, self._kill_amid),
            (self._config.power_s, self._cut_power),
            (self._config.stop_s, self._stop),
            (self._config.pause_s, self._pause),
            (self._config.clock_jump_s, self._jump_clock),
            (self._config.disk_full_s, self._fill_disk),
            (self._config.disk_slow_s, self._slow_disk),
            (self._config.sync_failure_s, self._fail_sync),
            (self._config.wipe_s, self._wipe),
            (self._config.congestion_s, self._congest),
            (self._config.blackout_s, self._black_out),
        ]
        for mean_s, inflict in kinds:
            if mean_s > 0:
                self._plan(mean_s, inflict)

    def stop(self) -> None:
        """No more faults; everything is repaired, and every node runs."""
        self.is_over = True
        self._network.unblock_all()
        self._network.slowdown = 1
        for node in self._nodes:
            node.disk.is_full = node.disk.is_slow = node.disk.fails_next_sync = False
            node.dies_after_effects = -1
            node.resume()
            if not node.is_running:
                node.start()

    def _plan(self, mean_s: float, inflict: Callable[[], bool]) -> None:
        self._world.after(self._draw(mean_s), self._happen, mean_s, inflict)

    def _happen(self, mean_s: float, inflict: Callable[[], bool]) -> None:
        if self.is_over:
            return
        if inflict():
            self.counts[inflict.__name__.lstrip("_")] += 1
        self._plan(mean_s, inflict)

    def _draw(self, mean_s: float) -> int:
        return int(self._rng.expovariate(1.0) * mean_s * SECOND_NS)

    def _until_over(self, repair: Callable[..., None], *arguments: object) -> None:
        """Call `repair` when this episode ends; `stop` repairs all that is left."""
        self._world.after(self._draw(self._config.lasts_mean_s), self._repair, repair, arguments)

    def _repair(self, repair: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self.is_over:
            repair(*arguments)

    def _draw_running(self) -> SimNode | None:
        running = [node for node in self._nodes if node.is_running and not node.is_leaving]
        return self._rng.choice(running) if running else None

    # -- the network

    def _partition(self) -> bool:
        shape = self._rng.choice(PARTITION_SHAPES)
        count = len(self._nodes)
        order = self._rng.sample(range(count), count)
        if shape == "halves":
            group = {index: position * 2 // count for position, index in enumerate(order)}
        elif shape == "groups":
            group = {index: self._rng.randrange(3) for index in order}
        else:
            group = {index: int(position == 0) for position, index in enumerate(order)}
        pairs = [(a, b) for a in range(count) for b in range(count) if group[a] != group[b]]
        if shape == "one_way":
            pairs = [(a, b) for a, b in pairs if group[a]]
        self._block(pairs)
        return True

    def _flap(self) -> bool:
        """One pair of nodes loses sight of each other for a moment."""
        a, b = self._rng.sample(range(len(self._nodes)), 2)
        self._block([(a, b), (b, a)], lasts_s=self._rng.choice((0.1, 1.0, 5.0)))
        return True

    def _block(self, pairs: list[tuple[int, int]], lasts_s: float = 0.0) -> None:
        self._block_count += 1
        self._blocks[self._block_count] = pairs
        self._network.block(pairs)
        if lasts_s:
            self._world.after(self._draw(lasts_s), self._repair, self._unblock, (self._block_count,))
        else:
            self._until_over(self._unblock, self._block_count)

    def _unblock(self, number: int) -> None:
        pairs = self._blocks.pop(number)
        still = {pair for others in self._blocks.values() for pair in others}
        self._network.unblock([pair for pair in pairs if pair not in still])

    def _reset(self) -> bool:
        self._network.break_random(self._rng)
        return True

    def _congest(self) -> bool:
        self._network.slowdown = self._rng.choice((10, 50, 200))
        self._until_over(self._decongest)
        return True

    def _decongest(self) -> None:
        self._network.slowdown = 1

    # -- processes

    def _kill(self) -> bool:
        node = self._draw_running()
        if node is not None:
            node.crash()
        return node is not None

    def _cut_power(self) -> bool:
        node = self._draw_running()
        if node is not None:
            node.crash(power=True)
        return node is not None

    def _black_out(self) -> bool:
        """Power is gone everywhere at once, and comes back one by one."""
        for node in self._nodes:
            if node.is_running:
                node.crash(power=True)
        return True

    def _kill_amid(self) -> bool:
        """The next time the node has anything to do it dies in the middle of it."""
        node = self._draw_running()
        if node is not None:
            node.dies_after_effects = self._rng.randrange(6)
        return node is not None

    def _stop(self) -> bool:
        node = self._draw_running()
        if node is not None:
            self.left(node.index)
            node.leave()
        return node is not None

    def _died(self, node: SimNode) -> None:
        """Whatever ended a process, it comes back."""
        if self.is_over:
            self._world.after(SECOND_NS, self._restart, node)
        else:
            self._until_over(self._restart, node)

    def _restart(self, node: SimNode) -> None:
        if node.is_running:
            return
        if node.index and self._rng.random() < self._config.moves_ratio:
            self._moves += 1
            node.move(f"10.0.{self._moves}.{node.index}:7000")
        node.start()

    def _pause(self) -> bool:
        node = self._draw_running()
        if node is not None:
            node.pause()
            self._until_over(self._resume, node, node.boot)
        return node is not None

    def _resume(self, node: SimNode, boot: int) -> None:
        if node.boot == boot:
            node.resume()

    def _jump_clock(self) -> bool:
        node = self._rng.choice(self._nodes)
        node.clock.offset_ms = self._rng.randint(-self._config.jump_max_ms, self._config.jump_max_ms)
        self.clock_set(node.index)
        return True

    # -- disks

    def _fill_disk(self) -> bool:
        node = self._rng.choice(self._nodes)
        node.disk.is_full = True
        self._until_over(self._empty_disk, node)
        return True

    def _empty_disk(self, node: SimNode) -> None:
        node.disk.is_full = False

    def _slow_disk(self) -> bool:
        node = self._rng.choice(self._nodes)
        node.disk.is_slow = True
        self._until_over(self._hasten_disk, node)
        return True

    def _hasten_disk(self, node: SimNode) -> None:
        node.disk.is_slow = False

    def _fail_sync(self) -> bool:
        node = self._draw_running()
        if node is not None:
            node.disk.fails_next_sync = True
        return node is not None

    def _wipe(self) -> bool:
        """A machine comes back with a new disk and its old name."""
        node = self._draw_running()
        if node is None:
            return False
        node.crash(power=True)
        node.disk.wipe()
        self.wiped(node.index)
        return True


def draw_pace(rng: random.Random, chance: float, low_s: float, high_s: float) -> float:
    """Swarm testing: a kind of fault is off in many runs, so that in others it is seen alone."""
    return rng.uniform(low_s, high_s) if rng.random() < chance else 0.0
