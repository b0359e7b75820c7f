"""A bad network in figures: what the kernel is told, and what the relay draws."""

from __future__ import annotations

import random
import statistics

from tests.netns.impairment import Impairment

BAD = Impairment(loss=0.1, delay_ms=100, jitter_ms=50, reorder=0.25, duplicate=0.05)


def test_the_kernel_is_told_in_its_own_words() -> None:
    words = "delay 100ms 50ms loss 10% duplicate 5% reorder 25%"
    assert BAD.tc_arguments() == words.split()


def test_packets_are_lost_repeated_and_late_as_often_as_told() -> None:
    rng = random.Random(1)
    drawn = [BAD.delays_s(rng) for _ in range(20_000)]
    delays = [delay_s for copies in drawn for delay_s in copies]
    late = [delay_s for delay_s in delays if delay_s > 0]
    assert abs(len(delays) / 20_000 - 0.95) < 0.01
    assert abs(len(late) / len(delays) - 0.75) < 0.01
    assert abs(statistics.mean(late) - 0.1) < 0.001
    assert 0.05 <= min(late) < max(late) <= 0.15


def test_a_good_network_passes_everything_at_once() -> None:
    assert not Impairment()
    assert Impairment().delays_s(random.Random(1)) == [0.0]
