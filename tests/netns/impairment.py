"""What a bad network does to the packets a host sends: the same five figures for `tc netem` and the relay."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Impairment:
    """Ratios from 0 to 1, times in milliseconds. All zero: a good network."""

    loss: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Drawn anew for each packet, evenly from minus to plus this: so packets overtake each other, too."""
    reorder: float = 0.0
    """The share that does not wait at all, and so overtakes what was sent before."""
    duplicate: float = 0.0

    def __bool__(self) -> bool:
        return self != Impairment()

    def tc_arguments(self) -> list[str]:
        """The words after `tc qdisc ... netem`."""
        words = ["delay", f"{self.delay_ms:g}ms", f"{self.jitter_ms:g}ms"]
        for name, ratio in (("loss", self.loss), ("duplicate", self.duplicate), ("reorder", self.reorder)):
            if ratio:
                words += [name, f"{ratio * 100:g}%"]
        return words

    def delays_s(self, rng: random.Random) -> list[float]:
        """How long each copy of one packet waits; none if it is lost.

        As netem does: loss and duplication are drawn first, then each copy's delay.
        """
        copies = 0 if rng.random() < self.loss else 1
        copies += 1 if rng.random() < self.duplicate else 0
        return [self._delay_s(rng) for _ in range(copies)]

    def _delay_s(self, rng: random.Random) -> float:
        if rng.random() < self.reorder:
            return 0.0
        return max(0.0, self.delay_ms + rng.uniform(-self.jitter_ms, self.jitter_ms)) / 1000
