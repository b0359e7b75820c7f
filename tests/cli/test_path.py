"""`bms path`: JSON in, JSON out, and errors with their codes."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.cli.options import Command
from bellande_mesh_sync.cli.path import path
from bellande_mesh_sync.path_questions import QUESTIONS

from .conftest import Bms

STEP = '{"node0": [0, 0], "node1": [30, 40], "limit": 25}'


def test_every_algorithm_has_its_name() -> None:
    assert set(QUESTIONS) <= set(path.list_commands(click.Context(path)))


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_example_of_each_algorithm_is_answered(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["path", name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 140
    command = path.get_command(click.Context(path), name)
    assert isinstance(command, Command)
    assert main([*shlex.split(command.examples[0])[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["path", "step", STEP, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"next_step": [15, 20]}


def test_a_pipe_gets_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["path", "particle", '{"action": "estimate", "particles": [[1, 2, 350, 1], [3, 2, 10, 1]]}'])
        == 0
    )
    lines = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert (lines["x"], lines["y"]) == ("2.0", "2.0")
    assert float(lines["heading"]) % 360 == pytest.approx(0, abs=1e-9)


def test_a_question_comes_from_a_file_or_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "question.json"
    file.write_text(STEP)
    assert main(["path", "step", "--file", str(file), "--json"]) == 0
    from_file = capsys.readouterr().out
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(STEP.encode())))
    assert main(["path", "step", "--file", "-", "--json"]) == 0
    assert capsys.readouterr().out == from_file


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["step", '{"node0": [0], "node1": [1, 2], "limit": 1}'], "dimension_mismatch"),
        (["step", '{"node0": [0], "node1": [1], "limit": -1}'], "invalid_number"),
        (["step", '{"node0": [0], "node1": [1]}'], "usage"),
        (["step", "no json"], "usage"),
        (["step", '{"node0": [0], "node1": [1], "limit": 1, "more": 1}'], "usage"),
        (["step"], "usage"),
        (["step", STEP, "--file", "x"], "usage"),
        (["probability", '{"mu": "i.x", "sigma": "1", "x": [1]}'], "invalid_expression"),
    ],
)
def test_a_wrong_question_is_a_usage_error_with_its_code(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["path", *arguments, "--json"]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] == code


def test_the_node_computes_on_request(bms: Bms) -> None:
    assert bms("path", "step", STEP, "--remote", "--json").json == {"next_step": [15, 20]}
    assert bms("path", "step", "{}", "--remote", "--json").error == "usage"
