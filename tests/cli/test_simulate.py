"""`bms simulate`: a table for people, JSON for programs, exit codes, and the way to the swarm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.main import main

FLEET = """
duration = "10s"
seeds = 2
fleet = { nodes = 3 }
[[workload]]
every = "500ms"
acks = { quorum = 1 }
"""
BROKEN = FLEET + 'program = "broken_for_the_command:robot"\n'


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET, encoding="utf-8")
    return path


def test_a_pipe_gets_a_line_for_each_figure(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(fleet)]) == 0
    printed = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert printed["seeds"] == "2, 0 failed"
    assert printed["nodes"] == "3"
    assert printed["missed"] == "no expectation"
    assert printed["faults"] == "none"
    assert "(p99)" in printed["ack quorum"]
    assert "(max)" in printed["converged after"]


def test_json_is_one_document_and_the_same_each_time(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = []
    for arguments in ([], ["--seed", "2"], ["--start", "2", "--seeds", "1"]):
        assert main(["simulate", str(fleet), "--json", *arguments]) == 0
        documents.append(json.loads(capsys.readouterr().out))
    everything, second, second_again = documents
    assert everything["seeds"] == [1, 2]
    assert everything["acks_ms"]["quorum"]["count"] == everything["writes"] > 50
    assert second == second_again
    assert second["digests"] == {"2": everything["digests"]["2"]}


def test_a_broken_promise_is_told_with_its_trace_and_the_command_for_it(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.write_text(BROKEN, encoding="utf-8")
    (fleet.parent / "broken_for_the_command.py").write_text("async def robot(mesh):\n    raise ValueError\n")
    assert main(["simulate", str(fleet)]) == 1
    printed = capsys.readouterr().out
    assert "seeds\t2, 2 failed" in printed
    assert "--- seed 1: program: n0: robot raised ValueError()" in printed
    assert f"--- again: bms simulate {fleet} --seed 1" in printed
    assert main(["simulate", str(fleet), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["violations"]) == 2


def test_a_missed_expectation_is_a_failure(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.write_text(FLEET + "[expect]\nack_p99_ms_max = { quorum = 0.001 }\n", encoding="utf-8")
    assert main(["simulate", str(fleet)]) == 1
    assert "missed\texpect.ack_p99_ms_max.quorum: " in capsys.readouterr().out


def test_a_wrong_field_is_an_error_before_anything_runs(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.write_text(FLEET.replace("10s", "10"), encoding="utf-8")
    assert main(["simulate", str(fleet)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error (config_invalid): setting duration: '10' is not a duration")


def test_options_of_the_swarm_are_refused_with_a_file(fleet: Path) -> None:
    assert main(["simulate", str(fleet), "--minutes", "3"]) == 2


def test_without_a_file_the_swarm_runs_with_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["simulate", "--seeds", "1", "--start", "5", "--minutes", "0.1", "--nodes", "3", "--verbose"])
        == 0
    )
    assert "seed 5: 3 nodes" in capsys.readouterr().out


def test_the_first_seed_may_be_0(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(fleet), "--json", "--start", "0", "--seeds", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["seeds"] == [0]


def test_members_have_a_command_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "members", "--nodes", "3", "--minutes", "0.1", "--seed", "2"]) == 0
    assert "3 nodes" in capsys.readouterr().out


def test_the_swarm_has_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "1", "--json"]) == 2
    assert "needs a scenario file" in capsys.readouterr().err


def test_a_wrong_option_of_the_swarm_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--nodes", "many"]) == 2
    assert "many" in capsys.readouterr().err
