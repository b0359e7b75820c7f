"""Commands about members, as people and programs see them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from bellande_mesh_sync.cli.main import main
from tests.api.conftest import Served
from tests.api.memory_mesh import NODE

TWIN = "cd" * 32


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


def _run(served: Served, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main([*words, "--api", served.url, "--token", "admin-token"])
    return code, capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (["nearest", "fleet/x", "--count", "2"], ("nearest", "fleet/x", 2)),
        (["topology", "--timeout", "1"], ("topology", 1)),
        (["register", "10.0.0.7:8000"], ("register", "10.0.0.7:8000", 10)),
        (["remove", "twin"], ("remove", TWIN)),
        (["cleanup", "--older-than", "1d"], ("cleanup", 86_400)),
        (["cleanup"], ("cleanup", None)),
        (["restore-nodes"], ("restore", 5)),
        (["update", "--label", "floor=2", "--capacity", "7"], ("update", {"floor": "2"}, 7, None)),
        (["update", "--no-labels"], ("update", {}, None, None)),
        (["announce"], ("announce",)),
        (["max-connections", "9"], ("max_connections", 9)),
        (["sleep", "--for", "10m"], ("sleep", 600)),
        (["wake"], ("wake",)),
    ],
)
def test_a_command_asks_the_node_and_prints_one_document(
    served: Served, capsys: pytest.CaptureFixture[str], words: list[str], call: tuple[object, ...]
) -> None:
    code, out = _run(served, capsys, *words, "--json")
    assert code == 0
    assert out.count("\n") == 1
    assert isinstance(json.loads(out), dict)
    assert served.mesh.calls == [call]
    assert _run(served, capsys, *words)[0] == 0


def test_a_verdict_is_explained_with_its_evidence(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = _run(served, capsys, "why", "twin")
    lines = dict(line.split("\t", 1) for line in out.splitlines())
    assert code == 0
    assert lines["own_health"] == "1 (this node doubts itself)"
    assert (lines["loss"], lines["accused_by"], lines["dead_in_s"]) == ("25.0%", NODE[:12], "4.0")
    assert lines["2.5"].split("\t") == ["no_answer", NODE[:12], "no answer to a ping"]
    assert json.loads(_run(served, capsys, "why", "twin", "--json")[1])["incarnation"] == 3


def test_the_topology_has_a_line_for_each_pair(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(served, capsys, "topology")[1] == "alone\ttwin\tdirect\t-\t0.5\t25.0%\n"


def test_the_topology_of_a_small_mesh_is_a_matrix_on_a_terminal(
    served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    out = _run(served, capsys, "topology")[1]
    assert "0.5 25.0%" in out
    assert out.count("?") == 5, "whom nobody said anything of"


def test_a_member_that_is_not_alive_is_shown_with_the_reason(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [line.split("\t") for line in _run(served, capsys, "nodes")[1].splitlines()]
    assert {row[0]: row[9] for row in rows} == {"alone": "this node", "other": "", "twin": "told"}


@pytest.mark.parametrize(
    "words",
    [
        ["update"],
        ["update", "--label", "a=b", "--no-labels"],
        ["sleep"],
        ["sleep", "--for", "10"],
        ["remove"],
    ],
)
def test_a_wish_that_makes_no_sense_is_wrong_usage(
    served: Served, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert _run(served, capsys, *words)[0] == 2
    assert served.mesh.calls == []
