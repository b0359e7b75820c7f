"""When faults happen: each kind at its own pace, none after the end."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial

from bellande_mesh_sync.sim.faults.episodes import Episodes
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.wire_time import Way
from bellande_mesh_sync.sim.world import SECOND_NS, World

Inflict = Callable[[], bool]
"""Does the damage; False if there was nothing to damage."""


class Plan:
    """The pace of all kinds of faults, and the end of each episode."""

    def __init__(self, world: World, lasts_mean_s: float, name: str, episodes: Episodes) -> None:
        self.world = world
        self.rng: random.Random = world.rng(name)
        self.counts: Counter[str] = Counter()
        self.is_over = False
        self._lasts_mean_s = lasts_mean_s
        self._episodes = episodes
        self._begun: dict[int, None] = {}

    def start(self, mean_s: float, inflict: Inflict) -> None:
        """Inflict this kind again and again; not at all if its mean is 0."""
        if mean_s > 0:
            self._next(mean_s, inflict)

    def draw(self, mean_s: float) -> int:
        """A time in nanoseconds, exponentially distributed."""
        return int(self.rng.expovariate(1.0) * mean_s * SECOND_NS)

    def until_over(self, repair: Callable[..., None], *arguments: object) -> None:
        """Call `repair` when this episode ends, unless the end of all faults repairs it before."""
        self.after(self.draw(self._lasts_mean_s), repair, *arguments)

    def episode(self, state: Hashable, repair: Callable[[], None]) -> None:
        """`state` was brought about: call `repair` when this is over and nothing else keeps it so."""
        self.until_over(self.release, self.hold(state, repair))

    def hold(self, state: Hashable, repair: Callable[[], None]) -> int:
        """As `episode`, and it lasts until the end of all faults of this plan, or `release`."""
        episode = self._episodes.begin(state, repair)
        self._begun[episode] = None
        return episode

    def block(self, network: Network, ways: list[Way]) -> int:
        """Close these ways until `release` of what this returns, or the end of all faults of this plan."""
        block = network.block(ways)
        return self.hold(("block", block), partial(network.unblock, block))

    def release(self, episode: int) -> None:
        self._begun.pop(episode, None)
        self._episodes.end(episode)

    def end_all(self) -> None:
        """No more faults, and nothing of what they brought about lasts."""
        self.is_over = True
        for episode in list(self._begun):
            self.release(episode)

    def after(self, delay_ns: int, action: Callable[..., None], *arguments: object) -> None:
        """Call `action` then, unless the faults are over by then."""
        self.world.after(delay_ns, self._act, action, arguments)

    def _act(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if not self.is_over:
            action(*arguments)

    def _next(self, mean_s: float, inflict: Inflict) -> None:
        self.after(self.draw(mean_s), self._happen, mean_s, inflict)

    def _happen(self, mean_s: float, inflict: Inflict) -> None:
        if inflict():
            self.counts[inflict.__name__] += 1
        self._next(mean_s, inflict)
