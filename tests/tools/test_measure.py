"""The benchmarks' arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.measure import Figure, PeakMemory, Report, percentile, short


def test_a_percentile_is_one_of_the_samples() -> None:
    samples = [float(number) for number in range(1000, 0, -1)]
    assert percentile(samples, 0.5) == 501
    assert percentile(samples, 0.99) == 991
    assert percentile([7.0], 0.99) == 7


@pytest.mark.parametrize(("value", "text"), [(0.01234, "0.0123"), (12.34, "12.3"), (123456.7, "123,457")])
def test_figures_have_three_digits_or_separated_thousands(value: float, text: str) -> None:
    assert short(value) == text


def test_a_figure_shows_its_median_and_spread() -> None:
    figure = Figure("puts", "ms", [3.0, 1.0, 2.0])
    assert figure.median == 2
    assert figure.spread == "1 .. 3"


def test_a_goal_is_reached_only_if_every_run_reaches_it() -> None:
    assert Figure("puts", "ms", [3.0, 1.0, 2.0], at_most=3).remark == "at most 3: ok"
    assert Figure("puts", "ms", [3.0, 1.0, 2.0], at_most=2.9).remark == "at most 2.9: NOT MET"
    assert Figure("puts", "ms", [3.0], "floor").remark == "floor"


def test_a_goal_may_be_a_lower_bound() -> None:
    assert Figure("puts", "1/s", [3.0, 1.0, 2.0], at_least=1).remark == "at least 1: ok"
    assert Figure("puts", "1/s", [3.0, 1.0, 2.0], at_least=1.5).remark == "at least 1.5: NOT MET"


def test_a_ratio_to_a_peer_is_taken_run_by_run_and_judged_by_its_median() -> None:
    report = Report("ratios")
    report.add_ratio("ours by theirs", [10.0, 20.0, 30.0], [10.0, 10.0, 10.0], at_least=2)
    report.add_ratio("the peer is not here", [10.0], [], at_least=2)
    (figure,) = report.figures
    assert figure.values == [1, 2, 3]
    assert figure.remark == "at least 2: ok"


@pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="peak memory is read from Linux's /proc"
)
def test_peak_memory_sees_what_was_freed_again() -> None:
    # In a process of its own: a heap that has grown before would hand out what is resident already.
    code = "input(); block = bytearray(b'x' * (1 << 20)) * 64; del block; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True);" + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        peak = PeakMemory(child.pid)
        child.stdin.write("\n")
        child.stdin.flush()
        child.stdout.readline()
        assert 60 < peak.rise_mib() < 200
        child.kill()
