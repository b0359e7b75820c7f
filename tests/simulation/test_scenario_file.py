"""Scenario files: what they may say, what is refused by name, and what a run of one tells."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path

import pytest

from bellande_mesh_sync.errors import BellandeMeshError, ConfigError
from bellande_mesh_sync.sim.links import LINK_CLASSES
from bellande_mesh_sync.sim.mesh_world import MeshWorld
from bellande_mesh_sync.sim.program_simulation import ProgramSimulation
from bellande_mesh_sync.sim.scenario_file import Plan, load_scenario, scenario_of_text
from bellande_mesh_sync.sim.scenario_run import (
    Report,
    _plan_step,
    missed_expectations,
    percentile,
    run_file,
    run_seed,
    run_seeds,
)
from bellande_mesh_sync.sim.troubles import FAULT_KINDS

BASE = 'duration = "20s"\n[fleet.groups]\nrobots = 2\ndocks = 1\n'
PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "simulate.md"


def plan(text: str, folder: Path | None = None) -> Plan:
    return scenario_of_text(textwrap.dedent(text), "s.toml", folder or Path())


# -- reading


def test_a_small_file_is_enough() -> None:
    found = plan('duration = "1m"\nfleet = { nodes = 3 }')
    assert found.names == ["node-0", "node-1", "node-2"]
    assert (found.file.seeds, float(found.file.duration)) == (10, 60)
    assert float(found.file.expect.converge_within) == 300
    assert found.link is LINK_CLASSES["lan"]


def test_groups_are_numbered_through_and_found_by_name() -> None:
    found = plan(BASE)
    assert found.names == ["robots-0", "robots-1", "docks-0"]
    assert found.find(("docks", "robots-1"), "x") == [1, 2]


def test_pairs_of_groups_get_their_links_and_the_last_word_counts() -> None:
    found = plan(
        BASE
        + """
        [links]
        default = "wifi"
        between = [
            { groups = ["robots", "docks"], link = "radio" },
            { groups = ["robots-1", "docks-0"], link = "lte" },
        ]
        [links.classes.radio]
        latency = "20ms"
        jitter = "5ms"
        loss = 0.1
        bandwidth = "8kbit/s"
        drop_every = "1m"
        drop_lasts = "2s"
        """.replace("        ", "")
    )
    links = {(a, b): link for a, b, link in found.pairs}
    assert links.keys() == {(0, 2), (1, 2)}
    radio = links[0, 2]
    assert (radio.latency_ms, radio.jitter_ms, radio.loss_ratio) == (20, 5, 0.1)
    assert (radio.bytes_per_second, radio.drop_every_s, radio.drop_lasts_s) == (1000, 60, 2)
    assert links[1, 2] is LINK_CLASSES["lte"]


def test_functions_beside_the_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "board_of_a_test.py").write_text("async def robot(mesh): ...\ndef merge(siblings): ...\n")
    found = plan(
        BASE
        + '[spaces.tasks]\nconflict = "board_of_a_test:merge"\nack = "quorum"\n'
        + '[[workload]]\nprogram = "board_of_a_test:robot"\non = ["robots"]\n',
        tmp_path,
    )
    assert found.merge["tasks"].__name__ == "merge"
    assert found.spaces["tasks"].ack == "quorum"
    assert found.workers == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "field", "reason"),
    [
        ('fleet = { nodes = 3 }', "(all)", "missing required field duration"),
        ('duration = "1m"', "(all)", "missing required field fleet"),
        ('duration = "1m"\nspeed = 2\nfleet = { nodes = 3 }', "(all)", "unknown field speed"),
        ('duration = 60\nfleet = { nodes = 3 }', "duration", "60 is not a duration"),
        ('duration = "1 fortnight"\nfleet = { nodes = 3 }', "duration", "write a number and a unit"),
        ('duration = "1m"\nfleet = { nodes = 0 }', "fleet.nodes", ">= 1"),
        ('duration = "1m"\nfleet = {}', "fleet", "give either nodes"),
        ('duration = "1m"\nfleet = { nodes = 2, groups = { a = 1 } }', "fleet", "give either nodes"),
        ('duration = "1m"\nfleet = { nodes = 900 }', "fleet", "200 are possible"),
        ('duration = "1m"\nfleet = { groups = { "A b" = 1 } }', "fleet.groups.A b", "short word"),
        ('seeds = 0\n' + BASE, "seeds", ">= 1"),
        (BASE + '[links]\ndefault = "pigeon"', "links.default", "no class of links; there are lan"),
        (BASE + '[links]\nbetween = [{ groups = ["robots", "boats"], link = "lan" }]',
         "links.between[0].groups[1]", "no node and no group"),
        (BASE + '[links]\nbetween = [{ groups = ["robots"], link = "lan" }]',
         "links.between[0].groups", "length 2"),
        (BASE + '[links.classes.x]\nlatency = "1ms"\nloss = 2', "links.classes.x.loss", "<= 1"),
        (BASE + '[links.classes.x]\nlatency = "1ms"\nbandwidth = "3bit/s"', "links.classes.x.bandwidth",
         "less than a byte"),
        (BASE + '[links.classes.x]\nloss = 0.5', "links.classes.x", "latency"),
        (BASE + '[spaces.x]\nack = "most"', "spaces.x.ack", "Invalid enum value"),
        (BASE + '[spaces.x]\nacks = "one"', "spaces.x.acks", "did you mean ack"),
        (BASE + '[spaces.x]\nconflict = "newest"', "spaces.x.conflict", "module:function"),
        (BASE + '[spaces.x]\nconflict = "nowhere_at_all:f"', "spaces.x.conflict", "No module named"),
        (BASE + '[[workload]]\nprogram = "json:no_such"', "workload[0].program", "no function no_such"),
        (BASE + '[[workload]]\non = ["boats"]', "workload[0].on", "no node and no group"),
        (BASE + '[[workload]]\nkeys = ["a//b"]', "workload[0].keys[0]", "a segment is empty"),
        (BASE + '[[workload]]\nkeys = ["a/{robot}"]', "workload[0].keys[0]", "only {node}"),
        (BASE + '[[workload]]\nkeys = []', "workload[0].keys", "length >= 1"),
        (BASE + '[[workload]]\nsize = "4 lines"', "workload[0].size", "is not a size"),
        (BASE + '[[workload]]\nacks = { most = 1 }', "workload[0].acks", "Invalid enum value 'most'"),
        (BASE + '[[workload]]\ndeletes = 7', "workload[0].deletes", "<= 1"),
        (BASE + '[faults]\nevery = { flood = "1s" }', "faults.every.flood", "no such kind; there are"),
        (BASE + '[faults]\nevery = { kill = 3 }', "faults.every.kill", "3 is not a duration"),
        (BASE + '[[faults.script]]\nat = "1s"\ndo = "explode"', "faults.script[0].do", "Invalid enum value"),
        (BASE + '[[faults.script]]\nat = "1s"\ndo = "kill"', "faults.script[0].nodes", "needs the names"),
        (BASE + '[[faults.script]]\nat = "1s"\ndo = "kill"\nnodes = ["x"]', "faults.script[0].nodes",
         "no node"),
        (BASE + '[[faults.script]]\nat = "1s"\ndo = "partition"\ngroups = [["robots"]]',
         "faults.script[0].groups", "two groups or more"),
        (BASE + '[[faults.script]]\nat = "1s"\ndo = "one_way"\nnodes = ["robots-0"]',
         "faults.script[0].nodes", "a sender and a receiver"),
        (BASE + '[[faults.script]]\nat = "20s"\ndo = "heal"', "faults.script[0].at", "after the end"),
        (BASE + '[expect]\nack_p99_ms_max = { local = "fast" }',
         "expect.ack_p99_ms_max.local", "Expected `float`"),
        ("duration = ", "s.toml", "not valid TOML"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(text: str, field: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(text)
    assert caught.value.field.startswith(field)
    assert reason.replace("`", "") in caught.value.reason
    assert "s.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[[workload]]\nevery = "0s"', "workload[0].every"),
        ('[faults.every]\nkill = "0s"', "faults.every.kill"),
        (
            '[links]\ndefault = "x"\n[links.classes.x]\nlatency = "1ms"\ndrop_every = "9s"',
            "links.classes.x.drop_lasts",
        ),
    ],
)
def test_a_time_that_would_never_pass_or_never_come_is_refused(text: str, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(BASE + text)
    assert caught.value.field == field


def test_a_module_that_raises_or_has_no_name_is_told_with_its_cause(tmp_path: Path) -> None:
    (tmp_path / "raises_when_imported.py").write_text("1 / 0\n", encoding="utf-8")
    text = BASE + '[[workload]]\nprogram = "raises_when_imported:robot"'
    with pytest.raises(ConfigError, match=r"raises_when_imported raises ZeroDivisionError") as caught:
        plan(text, tmp_path)
    assert caught.value.field == "workload[0].program"
    with pytest.raises(ConfigError, match="written as module:function"):
        plan(BASE + '[spaces.a]\nconflict = ".bad:merge"')


def test_a_policy_that_nodes_cannot_keep_is_refused_as_in_production() -> None:
    with pytest.raises(BellandeMeshError, match=r"spaces\.x\.ttl"):
        plan(BASE + "[spaces.x]\nttl = 5")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load_scenario(tmp_path / "none.toml")


def test_the_page_names_every_kind_of_fault_and_every_class_of_links() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in (*FAULT_KINDS, *LINK_CLASSES) if f"`{name}`" not in page] == []


# -- running

BUSY = (
    BASE
    + """
[links]
default = "lan"
[[workload]]
on = ["robots"]
every = "200ms"
keys = ["pose/{node}", "plans/{0..3}"]
size = "10B"
size_max = "1KiB"
acks = { local = 3, all = 1 }
deletes = 0.1
[[faults.script]]
at = "5s"
do = "partition"
groups = [["robots"], ["docks"]]
lasts = "4s"
[[faults.script]]
at = "12s"
do = "kill"
nodes = ["docks"]
lasts = "3s"
"""
)


def test_a_run_gives_figures_and_the_same_ones_again() -> None:
    first, again, other = (run_seed(plan(BUSY), seed) for seed in (1, 1, 2))
    assert first.violation == ""
    assert first == again
    assert first.digest != other.digest
    assert 100 < first.writes < 300
    assert len(first.waits_ms["local"]) > len(first.waits_ms["all"]) > 10
    assert max(first.waits_ms["all"]) > 1000 > max(first.waits_ms["local"])
    assert first.converge_s > 0
    assert first.bytes_per_node > 1000


def test_random_faults_follow_the_plan() -> None:
    result = run_seed(plan(BASE + '[faults]\nlasts = "1s"\nevery = { kill = "4s" }'), 3)
    assert result.violation == ""
    assert set(result.faults) == {"kill"}


@pytest.mark.parametrize("do", ["power_cut", "restart", "pause", "wipe", "fill_disk", "set_clock", "one_way"])
def test_every_deed_of_a_script_can_be_done_and_taken_back(do: str) -> None:
    step = f'[[faults.script]]\nat = "2s"\ndo = "{do}"\nnodes = ["robots-0", "docks-0"]\nlasts = "5s"\n'
    work = '[[workload]]\nevery = "500ms"\n'
    result = run_seed(plan(BASE + work + step + ("offset_s = 20.0\n" if do == "set_clock" else "")), 1)
    assert result.violation == ""
    assert result.converge_s >= 0


def test_the_end_of_a_partition_opens_only_its_own_ways() -> None:
    text = (
        BASE
        + """
    [faults]
    script = [
        { at = "1s", do = "partition", groups = [["robots-0"], ["robots-1"]], lasts = "15s" },
        { at = "2s", do = "one_way", nodes = ["robots-0", "robots-1"], lasts = "2s" },
    ]
    """
    )
    found = plan(text)
    with MeshWorld(found.nodes) as world:
        for step in found.file.faults.script:
            _plan_step(world, found, step)
        world.advance(3)
        assert world.simulation.network.is_blocked(0, 1)
        world.advance(2)
        assert world.simulation.network.is_blocked(0, 1)
        world.advance(13)
        assert not world.simulation.network.is_blocked(0, 1)


def test_a_program_that_breaks_is_told_with_its_story(tmp_path: Path) -> None:
    (tmp_path / "broken_of_a_test.py").write_text("async def robot(mesh):\n    raise ValueError('flat')\n")
    result = run_seed(plan(BASE + '[[workload]]\nprogram = "broken_of_a_test:robot"\n', tmp_path), 1)
    assert result.violation == "program: n0: robot raised ValueError('flat')"
    assert result.converge_s < 0
    assert result.trace[0].startswith("the last of the trace")


def test_a_core_that_crashes_is_the_violation_of_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: object, *_: object) -> None:
        raise KeyError("lost")

    with monkeypatch.context() as patch:
        patch.setattr(MeshWorld, "advance", crash)
        result = run_seed(plan(BASE), 7)
    assert (result.seed, result.violation[:25]) == (7, "exception: KeyError('lost")
    monkeypatch.setattr(ProgramSimulation, "begin", crash)
    result = run_seed(plan(BASE), 8)
    assert (result.seed, result.violation[:25]) == (8, "exception: KeyError('lost")


def test_a_mesh_that_does_not_converge_in_time_fails() -> None:
    late = BASE + '[[workload]]\nevery = "100ms"\n[links]\ndefault = "satellite"\n[expect]\n'
    result = run_seed(plan(late + 'converge_within = "100ms"'), 1)
    assert result.violation.startswith("convergence: after 0.1 s\n  load/")


def test_an_expectation_of_all_seeds_together_is_judged_over_them() -> None:
    strict = plan(BASE + "[expect]\nack_p99_ms_max = { local = 500, all = 50 }")
    report = Report([run_seed(plan(BUSY), seed) for seed in (1, 2)])
    (missed,) = missed_expectations(strict, report)
    assert missed.startswith("expect.ack_p99_ms_max.all: ")
    assert missed.endswith(" ms, at most 50 ms were expected")


def test_seeds_run_in_their_order_on_several_processes(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(BASE)
    results = list(run_seeds(path, [3, 1, 2], jobs=2))
    assert [result.seed for result in results] == [3, 1, 2]
    assert results[1] == run_file(path, 1)


def test_counts_of_nothing_are_nothing() -> None:
    result = run_seed(plan(BASE), 1)
    assert (result.writes, result.refusals, +result.faults) == (0, Counter(), Counter())
    assert percentile([], 0.99) == 0
