"""`python -m bellande_mesh_sync.sim`: run many seeds, or replay one."""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence

from bellande_mesh_sync.sim.simulation import Outcome, run
from bellande_mesh_sync.sim.swarm import draw

TAIL_LINES = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds that are asked for; 0 if every promise was kept, else 1."""
    options = _parse(arguments)
    gc.set_threshold(200_000, 20, 20)  # Most of what a run makes lives as long as it: 15 % faster so.
    seeds = (
        [options.seed] if options.seed is not None else range(options.start, options.start + options.seeds)
    )
    started = time.perf_counter()
    faults: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    virtual_s = 0.0
    failed: list[Outcome] = []
    done = 0
    for seed in seeds:
        scenario = draw(seed, nodes=options.nodes, minutes=options.minutes)
        outcome = run(scenario, echo=print if options.trace else None)
        done += 1
        virtual_s += outcome.virtual_s
        faults += outcome.faults
        counts += outcome.counts
        if options.seed is not None or options.verbose:
            print(_one_line(outcome), flush=True)
        if outcome.violation:
            failed.append(outcome)
            _tell_failure(outcome, options)
            if not options.keep_going:
                break
        if sys.stderr.isatty():
            rate = done / (time.perf_counter() - started)
            print(
                f"\r{done} seeds, {rate:.2f}/s, {virtual_s / 3600:.2f} virtual hours", end="", file=sys.stderr
            )
        if options.time_limit and time.perf_counter() - started > options.time_limit:
            break
    _summarize(done, failed, time.perf_counter() - started, virtual_s, faults, counts)
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bellande_mesh_sync.sim",
        description="Run simulated meshes under faults and check what they promise.",
    )
    parser.add_argument("--seeds", type=int, default=100, help="how many seeds to run (default 100)")
    parser.add_argument("--start", type=int, default=1, help="the first of them (default 1)")
    parser.add_argument("--seed", type=int, help="run just this one, and say how it went")
    parser.add_argument("--minutes", type=float, default=5.0, help="virtual minutes with faults (default 5)")
    parser.add_argument("--nodes", type=_node_range, default=(3, 7), help="nodes, as 5 or 3-7 (default 3-7)")
    parser.add_argument("--trace", action="store_true", help="print every event and effect")
    parser.add_argument("--verbose", action="store_true", help="a line for each seed")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    parser.add_argument("--time-limit", type=float, default=0.0, help="stop after so many real seconds")
    return parser.parse_args(arguments)


def _node_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


def _one_line(outcome: Outcome) -> str:
    how = f"FAILED {outcome.violation}" if outcome.violation else f"settled in {outcome.settled_s:.0f} s"
    speed = outcome.virtual_s / max(outcome.real_s, 1e-9)
    return (
        f"seed {outcome.scenario.seed}: {outcome.scenario.nodes} nodes, {outcome.virtual_s:.0f} virtual s "
        f"in {outcome.real_s:.1f} s ({speed:.0f}x), {outcome.trace.count} events and effects, "
        f"digest {outcome.digest[:16]}, {how}"
    )


def _tell_failure(outcome: Outcome, options: argparse.Namespace) -> None:
    scenario = outcome.scenario
    print(f"\n--- seed {scenario.seed}: {outcome.violation}")
    for line in outcome.trace.tail(TAIL_LINES):
        print(line)
    print(f"--- seed {scenario.seed}: {outcome.violation}")
    low, high = options.nodes
    print(
        f"--- again: python -m bellande_mesh_sync.sim --seed {scenario.seed} "
        f"--minutes {options.minutes:g} --nodes {low}-{high} --trace",
        flush=True,
    )


def _summarize(
    done: int,
    failed: list[Outcome],
    real_s: float,
    virtual_s: float,
    faults: Counter[str],
    counts: Counter[str],
) -> None:
    real_s = max(real_s, 1e-9)
    print(
        f"{done} seeds in {real_s:.0f} s ({done / real_s:.2f}/s), {virtual_s / 3600:.2f} virtual hours "
        f"({virtual_s / real_s:.0f}x), {len(failed)} failed"
    )
    print("faults:", ", ".join(f"{name} {count}" for name, count in sorted(faults.items())) or "none")
    print("counts:", ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    for outcome in failed:
        print(f"failed: seed {outcome.scenario.seed}: {outcome.violation[:300]}")


if __name__ == "__main__":
    sys.exit(main())
