"""Whom to dial and when: every member and bootstrap address without a link, with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import Dial
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE
from bellande_mesh_sync.ids import NodeId, Now

UNWANTED = frozenset({"busy", "duplicate", "too_many_links"})
"""Codes with which a peer closes a link that is fine, because it wants no further one."""


@dataclass(slots=True, eq=False)
class Target:
    """A node, or an address of whom we do not know who is there."""

    peer: NodeId | None
    addresses: tuple[str, ...]
    failures: int = 0
    due_ns: int = 0
    dial: int = 0
    """The dial under way; 0 for none."""


class Dialer:
    """Full-jitter exponential pauses per target, so that a thousand nodes do not dial in step."""

    def __init__(self, config: CoreConfig, bootstrap: Iterable[str], rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._next_dial = 1
        self._members: dict[NodeId, Target] = {}
        self._bootstrap = {address: Target(None, (address,)) for address in bootstrap}
        self._resolved: dict[str, NodeId] = {}
        """Who answered at a bootstrap address: from then on the member is dialled, not the address."""
        self._under_way: dict[int, Target] = {}
        self._chunk_dials: dict[int, NodeId] = {}

    def due(self, members: Iterable[MemberRecord], linked: set[NodeId], room: int, now: Now) -> list[Dial]:
        """The dials to start now, at most `room` of them."""
        dials: list[Dial] = []
        for target in self._targets(members, linked):
            if len(dials) >= room:
                break
            if not target.dial and target.due_ns <= now.mono_ns:
                dials.append(self._start(target))
        return dials

    def _targets(self, members: Iterable[MemberRecord], linked: set[NodeId]) -> Iterable[Target]:
        for member in members:
            if member.node in linked or not member.addresses:
                continue
            target = self._members.get(member.node)
            if target is None:
                target = self._members[member.node] = Target(member.node, member.addresses)
            target.addresses = member.addresses
            yield target
        busy = {
            target.addresses[0] for target in self._members.values() if target.dial or not target.failures
        }
        for address, target in self._bootstrap.items():
            # A member known to be there is dialled by name first: two dials at once would be one too many.
            if self._resolved.get(address) not in linked and address not in busy:
                yield target

    def _start(self, target: Target) -> Dial:
        target.dial = self._next_dial
        self._next_dial += 1
        self._under_way[target.dial] = target
        address = target.addresses[target.failures % len(target.addresses)]
        return Dial(target.dial, address, target.peer, RECORDS_LANE)

    def dial_for_chunks(self, member: MemberRecord) -> Dial | None:
        """A second link to a peer; None if one is on its way or there is no address."""
        if not member.addresses or member.node in self._chunk_dials.values():
            return None
        dial = self._next_dial
        self._next_dial += 1
        self._chunk_dials[dial] = member.node
        return Dial(dial, member.addresses[0], member.node, CHUNKS_LANE)

    def opened(self, dial: int, peer: NodeId) -> None:
        self._chunk_dials.pop(dial, None)
        target = self._under_way.pop(dial, None)
        if target is None:
            return
        target.dial = target.failures = 0
        if target.peer is None:
            self._resolved[target.addresses[0]] = peer

    def chunk_dial_failed(self, dial: int) -> NodeId | None:
        """The peer whose chunk link could not be opened, if it was one of these dials."""
        return self._chunk_dials.pop(dial, None)

    def failed(self, dial: int, code: str, now: Now) -> Target | None:
        """Plan the next try; what was dialled."""
        target = self._under_way.pop(dial, None)
        if target is None:
            return None
        target.dial = 0
        if target.peer is None and code == "self":
            del self._bootstrap[target.addresses[0]]
        self._pause(target, now)
        return target

    def lost(self, peer: NodeId, code: str, now: Now) -> None:
        """A link to this peer ended: try again soon, but not all at the same moment.

        One that the peer did not want is tried after growing pauses, as if it had not opened.
        """
        target = self._members.get(peer)
        if target is not None and not target.dial and code in UNWANTED:
            self._pause(target, now)
        elif target is not None and not target.dial:
            target.failures = 0
            target.due_ns = now.mono_ns + round(self._rng.random() * self._config.redial_min_ns)
        for address, resolved in self._resolved.items():
            if resolved == peer and address in self._bootstrap:
                self._pause(self._bootstrap[address], now)

    def _pause(self, target: Target, now: Now) -> None:
        target.failures += 1
        longest = min(self._config.redial_min_ns << min(target.failures, 20), self._config.redial_max_ns)
        pause = max(self._config.redial_min_ns, round(self._rng.random() * longest))
        target.due_ns = now.mono_ns + pause
