"""The mutation proof: bugs are planted in the core, one at a time, and the simulator has to find each.

`python -m tools.mutants` hunts them all and prints a table. `--write` puts it into the page on the
simulator, `--record` lets the test suite repeat the same runs: give both after a change of what
seeds draw. Seeds start at 1, so whoever has the same sources gets the same table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.member_campaign import NODES
from tests.simulation.mutants.catalogue import ESCAPED, GROUPS, MUTANTS
from tests.simulation.mutants.hunting import Find, hunt, load_finds, save_finds
from tests.simulation.mutants.planting import Mutant

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "explanation" / "simulator.md"
BEGIN: Final = "<!-- planted bugs: begin (python -m tools.mutants --write) -->"
END: Final = "<!-- planted bugs: end -->"
NOT_FOUND: Final = (
    "Planted too, and not found yet; most of them heal before they break a promise. What it would take "
    "stands in `tests/simulation/mutants/escaped.py`:"
)

ALL: Final = {**MUTANTS, **ESCAPED}

Hunted: TypeAlias = Mapping[str, Find | None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Hunt; 0 if every bug was found, else 1."""
    options = _parse(arguments)
    if options.hunt:
        _hunt_here(options)
        return 0
    names = [options.only] if options.only else list(MUTANTS)
    with ThreadPoolExecutor(options.jobs) as pool:
        found = dict(zip(names, pool.map(lambda name: _hunt_in_child(name, options), names), strict=True))
    missed = [name for name in names if found[name] is None]
    print("\n".join(table(found)))
    if options.record:
        _record(found)
    if options.write:
        recorded = load_finds()
        found = {name: found[name] if name in found else recorded.get(name) for name in MUTANTS}
        write_page(PAGE, found, _summary(found, options))
    print(f"{len(names) - len(missed)} of {len(names)} planted bugs found", *missed, sep="\n  not found: ")
    return 1 if missed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.mutants",
        description="Plant bugs in the core and count the seeds that the simulator needs to find each.",
    )
    parser.add_argument("--only", choices=list(ALL), help="just this bug", metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2000, help="give up after so many (default 2000)")
    parser.add_argument("--minutes", type=float, default=2.0, help="virtual minutes with faults (default 2)")
    parser.add_argument("--nodes", type=_node_range, default=(3, 7), help="nodes, as 5 or 3-7 (default 3-7)")
    parser.add_argument(
        "--time-limit", type=float, default=3600.0, help="real seconds a bug, at most (default 3600)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="bugs hunted side by side (default 1)")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write the table, of these and what is on record, into {PAGE.name}",
    )
    parser.add_argument(
        "--record", action="store_true", help="write down the runs that the test suite repeats"
    )
    parser.add_argument("--hunt", choices=list(ALL), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _node_range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


# -- hunting -----------------------------------------------------------------------------------


def _hunt_in_child(name: str, options: argparse.Namespace) -> Find | None:
    """A bug may do anything to its process, even never come back: so each has one of its own."""
    low, high = options.nodes
    command = [sys.executable, "-m", "tools.mutants", "--hunt", name, "--seeds", str(options.seeds)]
    command += ["--minutes", str(options.minutes), "--nodes", f"{low}-{high}"]
    try:
        child = subprocess.run(command, stdout=subprocess.PIPE, timeout=options.time_limit, check=True)
    except subprocess.TimeoutExpired:
        return _tell(name, None)
    return _tell(name, msgspec.json.decode(child.stdout, type=Find | None))


def _hunt_here(options: argparse.Namespace) -> None:
    prepare()
    seeds = range(1, options.seeds + 1)
    find = hunt(ALL[options.hunt], seeds, nodes=options.nodes, minutes=options.minutes)
    sys.stdout.buffer.write(msgspec.json.encode(find))


def _record(found: Hunted) -> None:
    """Keep what was found, and what is on record of bugs that were not hunted now."""
    finds = {name: find for name, find in load_finds().items() if name in MUTANTS and name not in found}
    finds |= {name: find for name, find in found.items() if find and name in MUTANTS}
    save_finds(finds)


# -- telling -----------------------------------------------------------------------------------


def _tell(name: str, find: Find | None) -> Find | None:
    how = f"seed {find.seed}, {find.check} after {find.virtual_s:.0f} s" if find else "NOT FOUND"
    print(f"{name}: {how}", file=sys.stderr, flush=True)
    return find


def table(found: Hunted) -> list[str]:
    lines = ["| bug | planted in | seeds | virtual time | caught by |", "| --- | --- | --- | --- | --- |"]
    for group, mutants in GROUPS.items():
        rows = [_row(mutant, found[mutant.name]) for mutant in mutants if mutant.name in found]
        if rows:
            lines += [f"| **{group}** | | | | |", *rows]
    return lines


def _row(mutant: Mutant, find: Find | None) -> str:
    cells = [mutant.bug, f"`{mutant.place}`"]
    if find is None:
        cells += ["not found", "", ""]
    else:
        cells += [str(find.seed), f"{find.virtual_s:.0f} s", f"`{find.check}`"]
    return f"| {' | '.join(cells)} |"


def _summary(found: Hunted, options: argparse.Namespace) -> str:
    low, high = options.nodes
    finds = [find for find in found.values() if find]
    worst = max((find.seed for find in finds), default=0)
    return (
        f"{len(finds)} of {len(found)} are found, the hardest by seed {worst}. Each run has {low} to {high} "
        f"nodes and {options.minutes:g} virtual minutes with faults, or as many members alone as its seed "
        f"says ({NODES[0]} to {NODES[1]}) where the bug is in the failure detector; seeds are tried from 1 "
        f"up, until {options.seeds} are done or {options.time_limit:g} seconds of real time are over."
    )


def write_page(page: Path, found: Hunted, summary: str) -> None:
    """Put the table between the two marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"{page} lacks the marks {BEGIN!r} and {END!r}")
    escaped = [f"- {mutant.bug} (`{mutant.place}`)" for mutant in ESCAPED.values()]
    text = "\n".join([BEGIN, "", summary, "", *table(found), "", NOT_FOUND, "", *escaped, "", END])
    page.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
