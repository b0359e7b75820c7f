"""`python -m bellande_mesh_sync.sim members`: many members, and how well they know each other."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bellande_mesh_sync.core.members.swim.config import PROFILES
from bellande_mesh_sync.sim.datagrams import DatagramConfig
from bellande_mesh_sync.sim.member_campaign import MemberTally, SeedOutcome, run_seeds
from bellande_mesh_sync.sim.member_faults import KINDS, MemberFaults
from bellande_mesh_sync.sim.member_run import run_members
from bellande_mesh_sync.sim.member_world import MemberScenario
from bellande_mesh_sync.sim.world import MILLISECOND_NS

PROG: Final = "python -m bellande_mesh_sync.sim members"
NODES_MAX: Final = 10_000
PROGRESS_EVERY: Final = 50
"""Seeds between two lines of progress where no terminal shows them."""


def main(arguments: Sequence[str] | None = None, prog: str = PROG) -> int:
    """0 if every promise was kept, else 1."""
    options = _parse(arguments, prog)
    return _run_many(options, prog) if options.seeds else _run_one(options)


def _run_many(options: argparse.Namespace, prog: str) -> int:
    def tell(done: SeedOutcome, tally: MemberTally) -> None:
        if done.outcome.violation:
            print(f"FAILED seed {done.seed} ({done.what}): {done.outcome.violation}")
            print(f"--- again: {prog} --seeds 1 --start {done.seed} --minutes {options.minutes:g}")
        if options.seeds == 1:
            print("\n".join([f"seed {done.seed}: {done.what}", *done.outcome.lines()]))
        elif sys.stderr.isatty() or tally.seeds % PROGRESS_EVERY == 0:
            line = f"{tally.seeds} of {options.seeds} seeds, {len(tally.failed)} failed"
            print(line, end="\r" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    began_s = time.perf_counter()
    tally = run_seeds(
        iter(range(options.start, options.start + options.seeds)),
        options.minutes,
        jobs=options.jobs,
        time_limit_s=options.time_limit,
        tell=tell,
    )
    print("\n".join(tally.lines(time.perf_counter() - began_s)))
    return 1 if tally.failed else 0


def _run_one(options: argparse.Namespace) -> int:
    network = DatagramConfig(
        latency_min_ns=int((options.latency_ms - options.jitter_ms) * MILLISECOND_NS),
        latency_spread_ns=int(2 * options.jitter_ms * MILLISECOND_NS),
        loss_ratio=options.loss,
        duplicate_ratio=options.duplicates,
        reorder_ratio=options.reorder,
    )
    scenario = MemberScenario(
        options.nodes,
        options.seed,
        PROFILES[options.profile],
        network,
        expects_accuracy=options.loss <= 0.1,
    )
    kinds = options.faults
    faults = replace(MemberFaults(), kinds=kinds, every_s=options.every)
    outcome = run_members(scenario, options.minutes, faults, kills=options.kills, joins=options.joins)
    print("\n".join(outcome.lines()))
    return 1 if outcome.violation else 0


def _nodes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 2 <= int(text) <= NODES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of nodes, from 2 to {NODES_MAX}")
    return int(text)


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(text.split(",")) if text else ()
    for kind in kinds:
        if kind not in KINDS:
            raise argparse.ArgumentTypeError(f"{kind!r} is no kind of trouble; there are {', '.join(KINDS)}")
    return kinds


def _parse(arguments: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Run many nodes that do membership only, and check what they promise.",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        help="draw so many worlds, each from its seed",
    )
    parser.add_argument("--start", type=int, default=1, help="the first of these seeds (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="processes at once (default 1)")
    parser.add_argument("--time-limit", type=float, default=0.0, help="begin no seed after so many seconds")
    parser.add_argument("--nodes", type=_nodes, default=100, help="2 to 10000 (default 100)")
    parser.add_argument("--minutes", type=float, default=5.0, help="virtual minutes of trouble (default 5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--profile", choices=sorted(PROFILES), default="lan")
    parser.add_argument("--kills", type=int, default=0, help="kill so many, one by one, before the faults")
    parser.add_argument("--joins", type=int, default=0, help="let so many join, one by one, before those")
    parser.add_argument(
        "--faults", type=_kinds, default=(), help=f"kinds of trouble, with commas between: {','.join(KINDS)}"
    )
    parser.add_argument("--every", type=float, default=20.0, help="mean seconds between them (default 20)")
    parser.add_argument("--loss", type=float, default=0.0, help="ratio of packets lost (default 0)")
    parser.add_argument("--duplicates", type=float, default=0.0)
    parser.add_argument("--reorder", type=float, default=0.0)
    parser.add_argument("--latency-ms", type=float, default=0.3, help="one way (default 0.3)")
    parser.add_argument("--jitter-ms", type=float, default=0.15, help="more or less than that (default 0.15)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
