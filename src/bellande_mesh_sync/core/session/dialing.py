"""Whom to dial and when: every member and bootstrap address without a link, with growing pauses."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.effects import Dial
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.messages import CHUNKS_LANE, RECORDS_LANE
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.ids import NodeId, Now

UNWANTED = frozenset({"busy", "duplicate", "too_many_links"})
"""Codes with which a peer closes a link that is fine, because it wants no further one."""
REPLACED = "replaced"
"""The code with which a peer closes a link because another run with our identity has one: only who goes on
talking finds out which of the two is to stop."""
WANTED_DIALS_MAX = 16
"""Dials under way at once for links that something waits for, beyond the room there is."""
UNDER_WAY_MAX = 128
"""Handshakes at once: a newcomer in a mesh of thousands does not begin with all of them."""
DEAD_DIALS_MAX = 4
"""Dead members tried in one round: a thousand of them must not keep us from the living."""
FOUND_MAX = 256
"""Addresses heard of on the local network that were not dialled yet."""
FOUND_TRIES_MAX = 3
FOUND_DIALS_MAX = 4
"""Dials under way at once of addresses heard of, beside the others: anybody can make many of them up."""
LASTING_NS = 3_000_000_000
"""A link that ends sooner was refused, whatever the reason given."""


@dataclass(slots=True, eq=False)
class Target:
    """A node, or an address of whom we do not know who is there."""

    peer: NodeId | None
    addresses: tuple[str, ...]
    failures: int = 0
    """Dials in a row that led to no link."""
    refusals: int = 0
    """Links in a row that ended at once, or that the peer did not want."""
    due_ns: int = 0
    dial: int = 0
    """The dial under way; 0 for none."""
    is_found: bool = False
    """Only heard of: given up after a few failures."""

    def start_over(self) -> None:
        """What happened before says nothing any more."""
        self.failures = self.refusals = self.due_ns = 0


class Dialer:
    """Full-jitter exponential pauses per target, so that a thousand nodes do not dial in step."""

    def __init__(self, config: CoreConfig, bootstrap: Iterable[str], rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._next_dial = 1
        self._members: dict[NodeId, Target] = {}
        self._addresses = {address: Target(None, (address,)) for address in bootstrap}
        """Bootstrap addresses, and those heard of."""
        self._resolved: dict[str, NodeId] = {}
        """Who answered at an address: from then on the member is dialled, not the address."""
        self._found: dict[str, NodeId] = {}
        """Who answered at addresses that were only heard of; the oldest go."""
        self._under_way: dict[int, Target] = {}
        self._wanted: dict[int, None] = {}
        self._chunk_dials: dict[int, NodeId] = {}

    # -- whom

    def due(
        self, live: Sequence[MemberRecord], dead: Sequence[MemberRecord], linked: set[NodeId], room: int,
        now: Now, asleep: frozenset[NodeId] = frozenset(),
    ) -> list[Dial]:  # fmt: skip
        """The dials to start now, at most `room` of them: members first, then addresses.

        Args:
            asleep: who takes no links for now, wherever it answered.
        """
        dials: list[Dial] = []
        room = min(room, UNDER_WAY_MAX - self.under_way_count)
        for target in self._targets(live, linked):
            if len(dials) >= room:
                return dials
            if self._is_due(target, now):
                dials.append(self._start(target))
        dead_room = min(room, len(dials) + DEAD_DIALS_MAX)
        for target in self._targets(dead, linked):
            if len(dials) < dead_room and self._is_due(target, now):
                dials.append(self._start(target))
        # A member known to be there is dialled by name first: two dials at once would be one too many.
        busy = {
            target.addresses[0] for target in self._known(live, dead) if target.dial or not target.failures
        }
        found_room = FOUND_DIALS_MAX - self._found_under_way
        for address, target in self._addresses.items():
            whom = self._resolved.get(address)
            if whom in linked or whom in asleep or address in busy or not self._is_due(target, now):
                continue
            if len(dials) >= room or (target.is_found and found_room <= 0):
                continue
            found_room -= target.is_found
            # Who is linked with nobody needs whoever answers there, though that one may be full.
            dials.append(self._start(target, is_wanted=not linked))
        return dials

    def _known(self, *members: Sequence[MemberRecord]) -> Iterable[Target]:
        """The targets that are members now; who left is none, and a newcomer may answer in its place."""
        found = (self._members.get(member.node) for member in chain(*members))
        return (target for target in found if target is not None)

    @property
    def under_way_count(self) -> int:
        """Dials that may end in links we reckon with; addresses heard of are none of them."""
        return len(self._under_way) - self._found_under_way

    @property
    def _found_under_way(self) -> int:
        return sum(target.is_found for target in self._under_way.values())

    @property
    def answered(self) -> Iterable[NodeId]:
        """Who answered at the addresses that are dialled."""
        return self._resolved.values()

    def due_wanted(self, wanted: Iterable[MemberRecord], linked: set[NodeId], now: Now) -> list[Dial]:
        """Dials for links that something waits for, whether there is room or not."""
        return [
            self._start(target, is_wanted=True)
            for target in self._targets(wanted, linked)
            if len(self._wanted) < WANTED_DIALS_MAX and self._is_due(target, now)
        ]

    def due_unmet(self, now: Now) -> list[Dial]:
        """Dials to addresses where nobody has answered yet, though there is no room.

        Whoever is there may belong to a part of the mesh that knows nothing of ours.
        """
        return [
            self._start(target, is_wanted=True)
            for address, target in self._addresses.items()
            if address not in self._resolved
            and not target.is_found
            and len(self._wanted) < WANTED_DIALS_MAX
            and self._is_due(target, now)
        ]

    def _targets(self, members: Iterable[MemberRecord], linked: set[NodeId]) -> Iterable[Target]:
        for member in members:
            if member.node in linked or not member.addresses:
                continue
            target = self._members.get(member.node)
            if target is None:
                target = self._members[member.node] = Target(member.node, member.addresses)
            elif target.addresses != member.addresses:
                # It has moved, so what failed there says nothing.
                target.addresses = member.addresses
                target.start_over()
            yield target

    def _is_due(self, target: Target, now: Now) -> bool:
        return not target.dial and target.due_ns <= now.mono_ns

    def _start(self, target: Target, *, is_wanted: bool = False) -> Dial:
        target.dial = self._next_dial
        self._next_dial += 1
        self._under_way[target.dial] = target
        if is_wanted:
            self._wanted[target.dial] = None
        address = target.addresses[target.failures % len(target.addresses)]
        return Dial(target.dial, address, target.peer, RECORDS_LANE, is_wanted)

    def dial_for_chunks(self, member: MemberRecord) -> Dial | None:
        """A second link to a peer; None if one is on its way or there is no address."""
        if not member.addresses or member.node in self._chunk_dials.values():
            return None
        dial = self._next_dial
        self._next_dial += 1
        self._chunk_dials[dial] = member.node
        return Dial(dial, member.addresses[0], member.node, CHUNKS_LANE)

    def add(self, addresses: Iterable[str]) -> None:
        """An operator says that members answer there."""
        for address in addresses:
            target = self._addresses.setdefault(address, Target(None, (address,)))
            target.start_over()
            target.is_found = False

    def found(self, addresses: Iterable[str], linked: Links) -> None:
        """Somebody may answer there, unless it was somebody linked the last time."""
        for address in addresses:
            who = self._found.get(address)
            if who is not None and linked.to(who) is not None:
                continue
            if address not in self._addresses and len(self._addresses) < FOUND_MAX:
                self._addresses[address] = Target(None, (address,), is_found=True)

    def retry_all(self) -> None:
        """No pause counts any more."""
        for target in [*self._members.values(), *self._addresses.values()]:
            target.start_over()

    def forget(self, peer: NodeId) -> None:
        self._members.pop(peer, None)

    # -- what became of it

    def opened(self, dial: int, peer: NodeId) -> bool:
        """Whether something waited for this link."""
        self._chunk_dials.pop(dial, None)
        is_wanted = self._end_wanted(dial)
        target = self._under_way.pop(dial, None)
        if target is None:
            return is_wanted
        target.dial = target.failures = 0
        if target.peer is None:
            self._resolve(target, peer)
        return is_wanted

    def _resolve(self, target: Target, peer: NodeId) -> None:
        address = target.addresses[0]
        if target.is_found:
            self._addresses.pop(address, None)  # It is a member now, and dialled as such.
            self._found.pop(address, None)
            self._found[address] = peer
            if len(self._found) > FOUND_MAX:
                del self._found[next(iter(self._found))]
        else:
            self._resolved[address] = peer

    def _end_wanted(self, dial: int) -> bool:
        is_wanted = dial in self._wanted
        self._wanted.pop(dial, None)
        return is_wanted

    def chunk_dial_failed(self, dial: int) -> NodeId | None:
        """The peer whose chunk link could not be opened, if it was one of these dials."""
        return self._chunk_dials.pop(dial, None)

    def failed(self, dial: int, code: str, now: Now) -> Target | None:
        """Plan the next try; what was dialled."""
        self._end_wanted(dial)
        target = self._under_way.pop(dial, None)
        if target is None:
            return None
        target.dial = 0
        if target.peer is None and code == "self":
            self._addresses.pop(target.addresses[0], None)
        target.failures += 1
        self._pause(target, now)
        if target.is_found and target.failures >= FOUND_TRIES_MAX:
            self._addresses.pop(target.addresses[0], None)
        return target

    def lost(self, peer: NodeId, code: str, lasted_ns: int, now: Now) -> None:
        """A link to this peer ended: try again soon, but not all at the same moment.

        One that the peer did not want, or that ended at once, is tried after pauses that grow until a
        link lasts: who is full or asleep refuses all day.
        """
        is_lasting = lasted_ns >= LASTING_NS or code == REPLACED
        is_refused = not is_lasting or code in UNWANTED
        target = self._members.get(peer)
        if target is not None and not target.dial:
            self._ended(target, now, is_lasting=is_lasting, is_refused=is_refused)
        for address, resolved in self._resolved.items():
            if resolved == peer and address in self._addresses:
                self._ended(self._addresses[address], now, is_lasting=is_lasting, is_refused=True)

    def _ended(self, target: Target, now: Now, *, is_lasting: bool, is_refused: bool) -> None:
        if is_lasting:
            target.refusals = 0
        if is_refused:
            target.refusals += 1
            self._pause(target, now)
        else:
            target.due_ns = now.mono_ns + round(self._rng.random() * self._config.redial_min_ns)

    def _pause(self, target: Target, now: Now) -> None:
        tries = target.failures + target.refusals
        longest = min(self._config.redial_min_ns << min(tries, 20), self._config.redial_max_ns)
        pause = max(self._config.redial_min_ns, round(self._rng.random() * longest))
        target.due_ns = now.mono_ns + pause
