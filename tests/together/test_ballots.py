"""Votes on claims: in any order of messages, of two claims that meet at most one is ever confirmed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from bellande_mesh_sync.together.ballots import Ballot, Claim, Grant, fence_of, is_over, must_yield, voted
from bellande_mesh_sync.together.tubes import Tube, meet, tube_of

MARGIN_MS = 50


def claim_of(name: str, made_ms: int, tube: Tube) -> Claim:
    return Claim(name, f"robot {name}", made_ms, tube)


def east(start_ms: int = 1000) -> Tube:
    return tube_of([(0, 5), (10, 5)], start_ms=start_ms, speed=5, radius=0.5)


def north(start_ms: int = 1000) -> Tube:
    return tube_of([(5, 0), (5, 10)], start_ms=start_ms, speed=5, radius=0.5)


def test_a_voter_grants_one_of_two_that_meet_and_keeps_to_it() -> None:
    first, second = claim_of("b", 5, east()), claim_of("a", 4, north())
    ballot = voted(Ballot(), {"b": first}, 10, MARGIN_MS)
    assert set(ballot.grants) == {"b"}
    # The other one would rank first, but what is granted is granted.
    after = voted(ballot, {"a": second, "b": first}, 11, MARGIN_MS)
    assert after is ballot


def test_of_two_that_are_there_at_once_the_one_that_ranks_first_is_granted() -> None:
    both = {"b": claim_of("b", 5, east()), "a": claim_of("a", 4, north())}
    assert set(voted(Ballot(), both, 10, MARGIN_MS).grants) == {"a"}


def test_two_that_do_not_meet_are_both_granted() -> None:
    both = {"a": claim_of("a", 5, east()), "b": claim_of("b", 5, north(9000))}
    assert set(voted(Ballot(), both, 10, MARGIN_MS).grants) == {"a", "b"}


def test_a_grant_ends_with_a_release_or_with_its_tube_and_not_with_the_claim_s_absence() -> None:
    claim = claim_of("a", 5, east())
    ballot = voted(Ballot(), {"a": claim}, 10, MARGIN_MS)
    other = claim_of("b", 6, north(1000))
    assert voted(ballot, {"b": other}, 20, MARGIN_MS) is ballot
    released = Claim(claim.id, claim.robot, 5, claim.tube, "released", fence=900)
    after = voted(ballot, {"a": released, "b": other}, 20, MARGIN_MS)
    assert set(after.grants) == {"b"}
    assert after.grants["b"].number == 901
    late = claim_of("c", 7, north(5000))
    over_ms = claim.tube.until_ms + MARGIN_MS + 1
    assert set(voted(ballot, {"c": late}, over_ms, MARGIN_MS).grants) == {"c"}


def test_a_majority_makes_a_fence_and_half_does_not() -> None:
    ballots = [Ballot(7, {"a": Grant(7, 0)}), Ballot(9, {"a": Grant(9, 0)}), Ballot()]
    assert fence_of("a", ballots, 3) == 9
    assert fence_of("a", ballots, 4) == 0


def test_a_claim_yields_to_a_confirmed_one_and_to_one_that_ranks_first_unless_its_claimant_died() -> None:
    own, older = claim_of("b", 5, east(90_000)), claim_of("a", 4, north(90_000))
    assert must_yield(own, {"a": older, "b": own}, 10, MARGIN_MS) == older
    assert must_yield(older, {"a": older, "b": own}, 10, MARGIN_MS) is None
    assert must_yield(own, {"a": older}, 61_000, MARGIN_MS) is None
    confirmed = Claim("c", "c", 6, north(90_000), "confirmed", 3)
    assert must_yield(own, {"c": confirmed}, 61_000, MARGIN_MS) == confirmed


@dataclass
class Claimant:
    claim: Claim
    fence: int = 0
    is_withdrawn: bool = False
    ballots: dict[int, Ballot] = field(default_factory=dict)
    seen: dict[str, Claim] = field(default_factory=dict)


def trial(seed: int) -> list[tuple[Claim, int]]:
    """Claimants and voters whose messages come in any order or never; those that got their tube, in order."""
    rng = random.Random(seed)
    voter_count = rng.choice([1, 2, 3, 3, 4, 5])
    now_ms = 10
    # The later pair comes when the first one may be over.
    claimants = [
        Claimant(claim_of("a", 10, east())),
        Claimant(claim_of("b", rng.choice([9, 10, 11]), north())),
    ]
    later = [Claimant(claim_of(name, 4000, tube)) for name, tube in (("c", east(9000)), ("d", north(9000)))]
    ballots = {voter: Ballot() for voter in range(voter_count)}
    known: dict[int, dict[str, Claim]] = {voter: {} for voter in range(voter_count)}
    skews = [rng.randint(-MARGIN_MS // 2, MARGIN_MS // 2) for _ in range(voter_count)]
    won: list[tuple[Claim, int]] = []
    for step in range(240):
        now_ms = 10 + step if step < 120 else 4000 + step
        active = claimants if step < 120 else [*claimants, *later]
        who = rng.choice(active)
        voter = rng.randrange(voter_count)
        match rng.randrange(5):
            case 0 | 1:
                known[voter][who.claim.id] = who.claim
            case 2:
                ballots[voter] = voted(ballots[voter], known[voter], now_ms + skews[voter], MARGIN_MS)
            case 3:
                who.ballots[voter] = ballots[voter]
                other = rng.choice(active).claim
                who.seen[other.id] = other
            case 4 if not who.fence and not who.is_withdrawn:
                fence = fence_of(who.claim.id, list(who.ballots.values()), voter_count)
                if fence:
                    who.fence = fence
                    claim = who.claim
                    who.claim = Claim(claim.id, claim.robot, claim.made_ms, claim.tube, "confirmed", fence)
                    won.append((who.claim, fence))
                elif must_yield(who.claim, who.seen, now_ms, MARGIN_MS) and rng.random() < 0.5:
                    who.is_withdrawn = True
                    claim = who.claim
                    who.claim = Claim(claim.id, claim.robot, claim.made_ms, claim.tube, "released")
    return won


def test_in_a_thousand_trials_no_two_that_meet_are_confirmed_and_fences_grow() -> None:
    confirmed = 0
    for seed in range(1000):
        won = trial(seed)
        confirmed += len(won)
        for number, (one, fence) in enumerate(won):
            for other, later_fence in won[number + 1 :]:
                assert not meet(one.tube, other.tube), seed
                if one.id in "ab" and other.id in "cd":
                    assert later_fence > fence, seed
    assert confirmed > 1000  # It is not safe by granting nothing.


def test_the_trial_finds_a_voter_that_grants_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(ballot: Ballot, claims: dict[str, Claim], now_ms: int, margin_ms: int) -> Ballot:
        live = [claim for claim in claims.values() if not is_over(claim, now_ms, margin_ms)]
        return Ballot(now_ms, {claim.id: Grant(now_ms, claim.tube.until_ms) for claim in live})

    monkeypatch.setitem(trial.__globals__, "voted", careless)
    with pytest.raises(AssertionError):
        test_in_a_thousand_trials_no_two_that_meet_are_confirmed_and_fences_grow()
