"""How fast and how patient the failure detector is: three profiles, and the formulas behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

SECOND_NS: Final = 1_000_000_000
MILLISECOND_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class SwimConfig:
    """Times in nanoseconds. The defaults are for a LAN."""

    probe_interval_ns: int = SECOND_NS
    """One member is probed this often; grows with bad local health."""
    probe_timeout_min_ns: int = SECOND_NS // 5
    probe_timeout_max_ns: int = SECOND_NS // 2
    """Patience with a direct ping before others are asked: four times the slow round trips, within these."""
    helpers_count: int = 3
    """Members asked to ping in our place."""
    suspicion_mult: int = 4
    suspicion_max_mult: int = 6
    """A suspicion that nobody confirms lasts this many times longer than a confirmed one."""
    suspicion_limit_ns: int = 0
    """No suspicion lasts longer than this, whatever the formula says; 0: no limit. So a silent member is
    dead at the latest this long after a probe found it silent. Not counted is when we were deaf."""
    gossip_interval_ns: int = SECOND_NS // 5
    gossip_fanout: int = 3
    retransmit_mult: int = 4
    exchange_interval_ns: int = 30 * SECOND_NS
    """How often the digest of the view is compared with one member."""
    exchange_soon_ns: int = SECOND_NS
    """The same after an exchange that brought news: views converge in about log2(members) of these."""
    heal_interval_ns: int = 30 * SECOND_NS
    """How often dead members are tried again; one fifth of it is jitter."""
    heal_count: int = 2
    join_retry_ns: int = SECOND_NS
    """How often a node that knows nobody tries a seed."""
    goodbye_ns: int = SECOND_NS
    """How long a node that leaves or goes to sleep stays to spread the word."""
    health_max: int = 8
    """Local health runs from 0 (well) to one below this."""
    lag_ns: int = SECOND_NS // 10
    """An event loop later than this makes the node doubt itself."""
    packet_bytes_max: int = 1200
    """With the seal, without IP and UDP: fits through IPv6 and VPNs."""
    updates_max: int = 2048
    """Updates waiting to be gossiped. What falls out reaches the others by an exchange."""
    relays_max: int = 256
    """Pings under way in other members' place."""
    accusations_max: int = 20_000
    answers_max: int = 8
    """State exchanges answered within one probe interval."""
    qualities_max: int = 2048
    """Members of whom round trips and losses are kept; of a larger mesh those probed last."""
    members_max: int = 20_000
    removal_patience_ns: int = 60 * SECOND_NS
    """A removal that others tell of counts here once the member has been down here for so long."""
    forget_after_ns: int = 72 * 3600 * SECOND_NS

    def suspicion_ns(self, members: int, confirmations: int) -> int:
        """How long a suspicion lasts from its start. Falls with the log of independent confirmations.

        Source: Lifeguard (Dadgar, Phillips, Currey; 2017), section 4 (LHA-Suspicion).
        """
        length_ns = self._suspicion_ns(members, confirmations)
        return min(length_ns, self.suspicion_limit_ns) if self.suspicion_limit_ns else length_ns

    def _suspicion_ns(self, members: int, confirmations: int) -> int:
        shortest = self.suspicion_mult * max(1.0, math.log10(max(members, 1))) * self.probe_interval_ns
        needed = self.confirmations_needed(members)
        if confirmations >= needed:
            return int(shortest)
        share = math.log(confirmations + 1) / math.log(needed + 1)
        longest = self.suspicion_max_mult * shortest
        return int(longest - share * (longest - shortest))

    def confirmations_needed(self, members: int) -> int:
        """None if there are too few others who could confirm."""
        wanted = self.suspicion_mult - 2
        return wanted if members - 2 >= wanted else 0

    def transmissions_max(self, members: int) -> int:
        """Copies each node sends of one update: mult * ceil(log10(members + 1)), of four digits at least.

        k copies from each pass by a node with e^-k. With eight of them and 5 % loss one event in fifty
        was missed by somebody among 58, who then had to wait for an exchange; with 16 one in 50,000 is.
        """
        return self.retransmit_mult * max(4, len(str(members)))


LAN: Final = SwimConfig()
FAST: Final = replace(
    LAN,
    probe_interval_ns=SECOND_NS // 2,
    probe_timeout_min_ns=SECOND_NS // 4,
    probe_timeout_max_ns=SECOND_NS // 4,
    gossip_interval_ns=SECOND_NS // 10,
    exchange_interval_ns=15 * SECOND_NS,
)
WAN: Final = replace(
    LAN,
    probe_interval_ns=5 * SECOND_NS,
    probe_timeout_min_ns=3 * SECOND_NS,
    probe_timeout_max_ns=3 * SECOND_NS,
    suspicion_mult=6,
    gossip_interval_ns=SECOND_NS // 2,
    gossip_fanout=4,
    exchange_interval_ns=60 * SECOND_NS,
)
PROFILES: Final = {"lan": LAN, "fast": FAST, "wan": WAN}
