"""Who may move where: claims, and the votes of nodes on them. Decides, and touches nothing.

Each voter grants a claim only if it has granted no other one that meets it and is not over. A claim that has
the grants of more than half of the voters is confirmed, so of two that meet at most one ever is: two
majorities share a voter (Thomas 1979, Maekawa 1985). A voter takes no grant back; a claim that is over or
withdrawn sets its grants free. A vote is on the voter's disk before anybody hears of it.

A fence is a number that grows from each confirmed claim to any later one that meets it: whatever acts for a
robot can refuse commands with a smaller one than it has seen. It is the largest of its grants' numbers, and
those are hybrid clocks: a voter grants a later claim after the release that it has read, which tells the
fence, or after the end of the tube, when all clocks are past what they were at its grants.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from bellande_mesh_sync.together.tubes import Tube, meet

CLAIMS_MAX: Final = 500
"""Live ones under one prefix."""
PENDING_MS_MAX: Final = 60_000
"""A claim is confirmed or withdrawn by then, unless its claimant died."""


class Claim(Struct, frozen=True, forbid_unknown_fields=True):
    """A robot wants this tube. Only its claimant writes it."""

    id: str
    robot: str
    made_ms: int
    tube: Tube
    state: Literal["pending", "confirmed", "released"] = "pending"
    fence: int = 0
    """Of a confirmed or released one."""

    @property
    def rank(self) -> tuple[int, str]:
        """Of two that meet, the smaller one should win."""
        return (self.made_ms, self.id)


class Grant(Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    until_ms: int
    """The end of the tube, so that the grant ends even if the claim is no more."""


class Ballot(Struct, frozen=True, forbid_unknown_fields=True):
    """What one voter has granted. Only this voter writes it."""

    counter: int = 0
    """The largest number it gave, or has seen as a fence."""
    grants: dict[str, Grant] = {}
    """By claim."""


def is_over(claim: Claim, now_ms: int, margin_ms: int) -> bool:
    """Whether nobody acts on it any more. `margin_ms`: by how much clocks may differ."""
    return claim.state == "released" or claim.tube.until_ms + margin_ms < now_ms


def voted(ballot: Ballot, claims: Mapping[str, Claim], now_ms: int, margin_ms: int) -> Ballot:
    """This voter's ballot after looking at these claims; the same one if nothing changes."""
    grants = {
        name: grant
        for name, grant in ballot.grants.items()
        if grant.until_ms + margin_ms >= now_ms and not (name in claims and claims[name].state == "released")
    }
    counter = max([ballot.counter, *(claim.fence for claim in claims.values())])
    # One that is granted but not here could meet anything.
    if all(name in claims for name in grants):
        held = [claims[name] for name in grants]
        for claim in sorted(claims.values(), key=lambda each: each.rank):
            if claim.id in grants or claim.state != "pending" or is_over(claim, now_ms, margin_ms):
                continue
            if not any(meet(claim.tube, other.tube) for other in held):
                counter = max(counter + 1, now_ms)
                grants[claim.id] = Grant(counter, claim.tube.until_ms)
                held.append(claim)
    if grants == ballot.grants and counter == ballot.counter:
        return ballot
    return Ballot(counter, grants)


def fence_of(claim: str, ballots: Sequence[Ballot], voters: int) -> int:
    """The fence of a claim that more than half of the voters have granted; 0 if they have not (yet)."""
    numbers = [ballot.grants[claim].number for ballot in ballots if claim in ballot.grants]
    return max(numbers) if 2 * len(numbers) > voters else 0


def rivals(claim: Claim, claims: Mapping[str, Claim], now_ms: int, margin_ms: int) -> list[Claim]:
    """The others that are not over and meet it, those that win first."""
    found = [
        other
        for other in claims.values()
        if other.id != claim.id and not is_over(other, now_ms, margin_ms) and meet(claim.tube, other.tube)
    ]
    return sorted(found, key=lambda other: (other.state != "confirmed", other.rank))


def must_yield(claim: Claim, claims: Mapping[str, Claim], now_ms: int, margin_ms: int) -> Claim | None:
    """The rival for which a pending claim should be withdrawn at once: one that is confirmed, or ranks first.

    Not needed for safety: it sets free the grants that the other one needs.
    """
    for other in rivals(claim, claims, now_ms, margin_ms):
        is_stale = other.made_ms + PENDING_MS_MAX + margin_ms < now_ms
        if other.state == "confirmed" or (other.rank < claim.rank and not is_stale):
            return other
    return None
