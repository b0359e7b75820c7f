"""Which counters of one sender were seen: each is good once, and order does not matter much."""

from __future__ import annotations

from typing import Final

WINDOW: Final = 1_024
"""Counters that may arrive late, below the highest seen. 128 bytes for each sender."""

_MASK: Final = (1 << WINDOW) - 1


class ReplayWindow:
    """To be asked only about counters that the sender has proven to be its own.

    Source: RFC 6479 and RFC 4303, section 3.4.3, with a big integer for the bits.
    """

    __slots__ = ("_seen", "highest")

    def __init__(self) -> None:
        self.highest = 0
        """0: nothing was seen; counters start at 1."""
        self._seen = 1
        """Bit n stands for the counter `highest - n`."""

    def accept(self, counter: int) -> bool:
        """Whether `counter` is new; then it is not any more. One too far below the highest counts as old."""
        ahead = counter - self.highest
        if ahead > 0:
            # A jump may be 2**64 wide: shifting by that much would ask for all memory.
            self._seen = (self._seen << ahead | 1) & _MASK if ahead < WINDOW else 1
            self.highest = counter
            return True
        if ahead <= -WINDOW or self._seen >> -ahead & 1:
            return False
        self._seen |= 1 << -ahead
        return True
