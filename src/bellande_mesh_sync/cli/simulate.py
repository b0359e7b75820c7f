"""`bms simulate`: run a scenario file on virtual time; without one, the swarm that tests the project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.options import CONTEXT_SETTINGS, Command
from bellande_mesh_sync.cli.session import Session

if TYPE_CHECKING:
    from bellande_mesh_sync.cli.output import Output
    from bellande_mesh_sync.sim.scenario_file import Plan
    from bellande_mesh_sync.sim.scenario_run import Report, SeedResult


@click.command(
    cls=Command,
    section="Simulate",
    examples=(
        "bms simulate fleet.toml",
        "bms simulate fleet.toml --seed 7",
        "bms simulate --seeds 200 --nodes 3-9 --minutes 10",
    ),
    context_settings={**CONTEXT_SETTINGS, "ignore_unknown_options": True},
)
@click.option("--seeds", type=click.IntRange(1), help="How many seeds to run.  [default: as the file says]")
@click.option("--start", type=int, help="The first seed.  [default: 1]")
@click.option("--seed", type=int, help="Run just this one.")
@click.option("--jobs", type=click.IntRange(1), help="Processes at once.  [default: 1]")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[SCENARIO.toml]")
@click.pass_obj
def simulate(
    session: Session,
    seeds: int | None,
    start: int | None,
    seed: int | None,
    jobs: int | None,
    words: tuple[str, ...],
) -> int:
    """Run a fleet of your own on virtual time, under faults, and check everything it promises.

    The file says what fleet, on which links, doing what, and what goes wrong; docs/guides/simulate.md
    shows one. Exit code 1 if a promise was broken or an expectation missed.

    Without a file it runs the project's own scenarios, drawn from their seeds; this takes all options of
    `python -m bellande_mesh_sync.sim`, and `members` in front for meshes of many members.
    """
    given = {"--seeds": seeds, "--start": start, "--seed": seed, "--jobs": jobs}
    if not words or words[0].startswith("-") or words[0] == "members":
        if session.json:
            raise click.UsageError("--json needs a scenario file.")
        from bellande_mesh_sync.sim.__main__ import main

        options = [str(word) for pair in given.items() if pair[1] is not None for word in pair]
        return main([*words, *options], "bms simulate")
    if len(words) > 1:
        raise click.UsageError(f"With a scenario file there is no {words[1]!r}.")
    return _run_file(session.output(), words[0], seeds, 1 if start is None else start, seed, jobs or 1)


def _run_file(output: Output, path: str, count: int | None, start: int, seed: int | None, jobs: int) -> int:
    from bellande_mesh_sync.cli.progress import steps
    from bellande_mesh_sync.sim.scenario_file import load_scenario
    from bellande_mesh_sync.sim.scenario_run import Report, missed_expectations, run_seeds

    plan = load_scenario(path)
    seeds = [seed] if seed is not None else list(range(start, start + (count or plan.file.seeds)))
    report = Report()
    with steps("seeds", len(seeds), as_json=output.as_json) as step:
        for result in run_seeds(path, seeds, jobs):
            report.results.append(result)
            step()
    missed = missed_expectations(plan, report)
    if output.as_json:
        output.result(_document(path, plan, report, missed), "")
    else:
        _show(output, path, plan, report, missed)
    return exits.FAILED if report.failed or missed else exits.DONE


def _document(path: str, plan: Plan, report: Report, missed: list[str]) -> dict[str, Any]:
    from bellande_mesh_sync.sim.scenario_run import LEVELS

    results = report.results
    waits = {level: report.waits_ms(level) for level in LEVELS}
    return {
        "scenario": path,
        "nodes": plan.nodes,
        "seeds": [result.seed for result in results],
        "virtual_hours": round(sum(result.virtual_s for result in results) / 3600, 3),
        "converge_s": _figures(report.converge_s()),
        "acks_ms": {level: _figures(found) for level, found in waits.items() if found},
        "writes": sum(result.writes for result in results),
        "refused": dict(sorted(_total([result.refusals for result in results]).items())),
        "bytes_per_node_and_hour": round(_bytes_per_hour(results)),
        "faults": dict(sorted(_total([result.faults for result in results]).items())),
        "digests": {str(result.seed): result.digest for result in results},
        "violations": [
            {
                "seed": result.seed,
                "violation": result.violation,
                "trace": result.trace,
                "again": _again(path, result),
            }
            for result in report.failed
        ],
        "missed": missed,
    }


def _show(output: Output, path: str, plan: Plan, report: Report, missed: list[str]) -> None:
    from bellande_mesh_sync.cli.output import human_bytes

    found = _document(path, plan, report, missed)
    rows = [
        ("seeds", f"{len(report.results)}, {len(report.failed)} failed"),
        ("nodes", str(plan.nodes)),
        ("virtual hours", f"{found['virtual_hours']:.2f}"),
        ("converged after", _in_words(found["converge_s"], "s")),
        *((f"ack {level}", _in_words(figures, "ms")) for level, figures in found["acks_ms"].items()),
        ("writes", str(found["writes"])),
        ("refused", _counted(found["refused"])),
        ("traffic", f"{human_bytes(found['bytes_per_node_and_hour'])} a node and hour"),
        ("faults", _counted(found["faults"])),
        ("missed", "; ".join(missed) or "no expectation"),
    ]
    if len(report.results) == 1:
        rows.append(("digest", report.results[0].digest))
    output.pairs("", rows)
    for result in report.failed:
        output.line("")
        for line in (*result.trace, f"--- seed {result.seed}: {result.violation}"):
            output.line(line)
        output.line(f"--- again: {_again(path, result)}")


def _again(path: str, result: SeedResult) -> str:
    return f"bms simulate {path} --seed {result.seed}"


def _figures(sorted_values: Sequence[float]) -> dict[str, float]:
    from bellande_mesh_sync.sim.scenario_run import percentile

    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    found = {name: round(percentile(sorted_values, share), 3) for name, share in shares.items()}
    return {"count": len(sorted_values), **found}


def _in_words(figures: dict[str, float], unit: str) -> str:
    if not figures["count"]:
        return "never"
    return f"{figures['p50']:.1f} {unit} (p50), {figures['p99']:.1f} (p99), {figures['max']:.1f} (max)"


def _total(counters: list[Counter[str]]) -> Counter[str]:
    return sum(counters, Counter[str]())


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _bytes_per_hour(results: list[SeedResult]) -> float:
    virtual_s = sum(result.virtual_s for result in results)
    return sum(result.bytes_per_node for result in results) * 3600 / virtual_s if virtual_s else 0.0
