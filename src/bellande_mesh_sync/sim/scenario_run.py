"""Run a scenario file: one world a seed, and the figures of all of them."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from bellande_mesh_sync.errors import BellandeMeshError, BusyError, NotFoundError, RequestError, StorageError
from bellande_mesh_sync.sim.campaign import prepare
from bellande_mesh_sync.sim.draws import spread
from bellande_mesh_sync.sim.mesh import SimMesh
from bellande_mesh_sync.sim.mesh_world import MeshWorld
from bellande_mesh_sync.sim.scenario_file import Plan, fill_in, load_scenario
from bellande_mesh_sync.sim.scenario_model import Step, Workload
from bellande_mesh_sync.sim.simulation import raised
from bellande_mesh_sync.sim.world import SECOND_NS

TRACE_LINES: Final = 40
LEVELS: Final = ("local", "one", "quorum", "all")


@dataclass(frozen=True, slots=True)
class SeedResult:
    """How one seed went. `violation` is empty if all was well."""

    seed: int
    violation: str
    trace: tuple[str, ...]
    digest: str
    virtual_s: float
    converge_s: float
    """After the last fault, until all agreed; negative if they never did."""
    waits_ms: dict[str, list[float]]
    """How long acknowledged writes took, by level."""
    writes: int
    refusals: Counter[str]
    """Writes that ended with an error, by its code."""
    bytes_per_node: float
    faults: Counter[str]


@dataclass(slots=True)
class Report:
    """All seeds of a scenario."""

    results: list[SeedResult] = field(default_factory=list)

    @property
    def failed(self) -> list[SeedResult]:
        return [result for result in self.results if result.violation]

    def waits_ms(self, level: str) -> list[float]:
        return sorted(wait for result in self.results for wait in result.waits_ms.get(level, ()))

    def converge_s(self) -> list[float]:
        return sorted(result.converge_s for result in self.results if result.converge_s >= 0)


def run_file(path: str | Path, seed: int) -> SeedResult:
    """One seed of a scenario file; everything about it is in the arguments, so any process can do it."""
    return run_seed(load_scenario(path), seed)


def run_seeds(path: str | Path, seeds: Sequence[int], jobs: int = 1) -> Iterator[SeedResult]:
    """All these seeds, in their order, on so many processes."""
    if jobs == 1:
        yield from (run_file(path, seed) for seed in seeds)
        return
    # Started afresh rather than forked: a child inherits no lock and no thread of whoever calls.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=prepare) as pool:
        yield from pool.map(partial(run_file, path), seeds)


def run_seed(plan: Plan, seed: int) -> SeedResult:
    """Whatever is raised within becomes the seed's violation."""
    try:
        world = MeshWorld(
            plan.nodes, seed=seed, link=plan.link, links=plan.pairs, merge=plan.merge, spaces=plan.spaces
        )
    except Exception as error:  # noqa: BLE001 - nodes that cannot even begin are a finding like any other.
        return SeedResult(seed, _told(error), (), "", 0.0, -1.0, {}, 0, Counter(), 0.0, Counter())
    violation = ""
    converge_s = -1.0
    with world:
        try:
            converge_s = _live(world, plan)
        except Exception as error:  # noqa: BLE001 - a core that crashes is a finding like any other.
            violation = _told(error)
        desks = world.simulation.desks
        waits = {
            level: [wait / 1e6 for desk in desks for wait in desk.waits_ns.get(level, ())] for level in LEVELS
        }
        counts = sum((desk.counts for desk in desks), Counter[str]())
        return SeedResult(
            seed,
            violation,
            tuple(world.story(TRACE_LINES)) if violation else (),
            world.digest(),
            world.now_s,
            converge_s,
            waits,
            counts.pop("writes", 0),
            Counter({code: count for code, count in counts.items() if code != "answers"}),
            world.simulation.network.counts["bytes"] / plan.nodes,
            world.fault_counts + Counter(drop_out=world.drop_out_count),
        )


def _told(error: Exception) -> str:
    return (
        str(error) if isinstance(error, AssertionError | BellandeMeshError) else f"exception: {raised(error)}"
    )


def _live(world: MeshWorld, plan: Plan) -> float:
    file = plan.file
    for index, (workload, program) in enumerate(zip(file.workload, plan.programs, strict=True)):
        for node in plan.workers[index]:
            name = plan.names[node]
            rng = world.rng(f"workload {index} {name}")
            world.program(node, program or partial(_client, workload=workload, name=name, rng=rng))
    if file.faults.every:
        paces = dict(file.faults.every)
        world.mixed_faults(paces, for_s=file.duration, lasts_s=file.faults.lasts)
    for step in file.faults.script:
        _plan_step(world, plan, step)
    world.advance(file.duration)
    world.stop_programs()
    return world.settle(within=file.expect.converge_within)


async def _client(mesh: SimMesh, *, workload: Workload, name: str, rng: Any) -> None:
    """Write at random moments, however long the one before still waits for its acks."""
    levels, weights = zip(*(workload.acks or {"local": 1}).items(), strict=True)
    number = 0
    async with asyncio.TaskGroup() as requests:
        while True:
            await asyncio.sleep(rng.expovariate(1.0) * workload.every)
            key = fill_in(rng.choice(workload.keys), name, rng.randint)
            ack = rng.choices(levels, weights)[0]
            if rng.random() < workload.deletes:
                requests.create_task(_quietly(mesh.delete(key, ack=ack)))
                continue
            number += 1
            size = int(workload.size)
            if workload.size_max is not None:
                size = round(spread(rng, max(size, 1), max(workload.size_max, size, 1)))
            value = (b"%d " % number + rng.randbytes(size))[:size]
            requests.create_task(_quietly(mesh.put(key, value, ack=ack)))


async def _quietly(request: Coroutine[Any, Any, object]) -> None:
    """What a client must expect in a bad hour; it is counted where it is answered."""
    try:
        await request
    except (RequestError, StorageError, BusyError, NotFoundError):
        return


def _plan_step(world: MeshWorld, plan: Plan, step: Step) -> None:
    start_ns = world.world.now_ns
    end_ns = start_ns + round(plan.file.duration * SECOND_NS)
    at_ns = start_ns + round(step.at * SECOND_NS)
    do, undo = _deeds(world, plan, step)
    world.world.at(at_ns, do)
    if step.lasts is not None and undo is not None:
        over_ns = at_ns + round(step.lasts * SECOND_NS)
        if over_ns < end_ns:  # At the end everything is repaired anyway.
            world.world.at(over_ns, undo)


def _deeds(world: MeshWorld, plan: Plan, step: Step) -> tuple[Callable[[], None], Callable[[], None] | None]:
    """What a line of a script does, and what takes it back."""
    nodes = plan.find(step.nodes, "nodes")

    def each(deed: Callable[[int], None]) -> Callable[[], None]:
        def do() -> None:
            for node in nodes:
                deed(node)

        return do

    match step.do:
        case "kill" | "power_cut" | "wipe":
            return each(getattr(world, step.do)), each(world.restart)
        case "restart" | "resume":
            return each(getattr(world, step.do)), None
        case "pause":
            return each(world.pause), each(world.resume)
        case "fill_disk":
            return each(world.fill_disk), each(partial(world.fill_disk, full=False))
        case "set_clock":
            return each(partial(world.set_clock, offset_s=step.offset_s)), each(
                partial(world.set_clock, offset_s=0.0)
            )
        case "partition":
            groups = [plan.find(group, "groups") for group in step.groups]
            return _cut(world, partial(world.partition, *groups))
        case "one_way":
            source, target = (plan.find((name,), "nodes") for name in step.nodes)
            return _cut(world, partial(world.one_way, source, target))
        case "heal":
            return world.heal, None


def _cut(world: MeshWorld, cut: Callable[[], int]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Its end opens what it closed, and not what others have."""
    cuts: list[int] = []
    return lambda: cuts.append(cut()), lambda: world.heal(cuts.pop())


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; 0 of none."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(int(share * len(sorted_values)), len(sorted_values) - 1)]


def missed_expectations(plan: Plan, report: Report) -> list[str]:
    """What was expected of all seeds together, and was not so."""
    missed = []
    for level, most_ms in plan.file.expect.ack_p99_ms_max.items():
        p99_ms = percentile(report.waits_ms(level), 0.99)
        if p99_ms > most_ms:
            missed.append(
                f"expect.ack_p99_ms_max.{level}: {p99_ms:.1f} ms, at most {most_ms:g} ms were expected"
            )
    return missed
