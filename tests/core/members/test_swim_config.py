"""How long suspicions last and how often updates are sent, against the published formulas."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.members.swim.config import FAST, LAN, SECOND_NS, WAN

MEMBERS = st.integers(1, 100_000)


@pytest.mark.parametrize(("members", "shortest_s"), [(10, 4), (100, 8), (1_000, 12), (10_000, 16)])
def test_a_confirmed_suspicion_lasts_the_time_of_the_formula_and_a_lone_one_six_times_that(
    members: int, shortest_s: int
) -> None:
    assert LAN.suspicion_ns(members, 2) == shortest_s * SECOND_NS
    assert LAN.suspicion_ns(members, 0) == 6 * shortest_s * SECOND_NS


@given(MEMBERS, st.integers(0, 10), st.integers(1, 1_000 * SECOND_NS))
def test_no_suspicion_lasts_longer_than_the_limit_and_shorter_ones_stay_as_they_are(
    members: int, confirmations: int, limit_ns: int
) -> None:
    limited = replace(LAN, suspicion_limit_ns=limit_ns)
    usual_ns = LAN.suspicion_ns(members, confirmations)
    assert limited.suspicion_ns(members, confirmations) == min(usual_ns, limit_ns)


@given(MEMBERS, st.integers(0, 10))
def test_a_confirmation_never_makes_a_suspicion_longer(members: int, confirmations: int) -> None:
    for config in (LAN, FAST, WAN):
        assert config.suspicion_ns(members, confirmations + 1) <= config.suspicion_ns(members, confirmations)


@pytest.mark.parametrize("members", [1, 2, 3])
def test_too_few_others_to_confirm_means_that_none_is_waited_for(members: int) -> None:
    assert LAN.suspicion_ns(members, 0) == 4 * SECOND_NS


@pytest.mark.parametrize(("members", "copies"), [(1, 16), (9, 16), (99, 16), (9_999, 16), (10_000, 20)])
def test_copies_grow_with_the_logarithm_of_the_mesh(members: int, copies: int) -> None:
    assert LAN.transmissions_max(members) == copies
