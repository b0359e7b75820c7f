"""`bms add`, `--context` and `bms policy test`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.main import main
from tests.cli.conftest import Bms
from tests.mesh.programs import start_node


@pytest.fixture(scope="module")
def counting_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("counting") / "home"
    assert main(["init", "--home", str(home), "--name", "gate-1"]) == 0
    with (home / "node.toml").open("a") as file:
        file.write('\n[spaces.visits]\nconflict = "counter"\n[spaces.tags]\nconflict = "set"\n')
    program, _ = start_node(home)
    with program:
        yield home


@pytest.fixture
def counting(counting_home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Bms:
    return Bms(counting_home, capsysbinary)


def test_numbers_are_added_to_a_counter(counting: Bms) -> None:
    assert counting("add", "visits/gate").code == 0
    assert counting("add", "visits/gate", "5", "--ack", "local").code == 0
    told = counting("add", "visits/gate", "-2", "--json").json
    assert told["key"] == "visits/gate"
    assert counting("get", "visits/gate").out == b"4"
    entry = counting("get", "visits/gate", "--json").json["entry"]
    assert (entry["version"], entry["content_type"]) == (told["version"], "application/json")


def test_what_does_not_fit_is_told_with_its_code(counting: Bms) -> None:
    ran = counting("put", "visits/gate-2", "many", "--json")
    assert (ran.code, ran.error) == (2, "invalid_value")
    ran = counting("add", "tags/x", "--json")
    assert (ran.code, ran.error) == (2, "invalid_value")
    assert counting("add", "visits/gate", "1.5").code == 2
    assert counting("get", "visits/gate-2").code == 4


def test_an_import_refuses_only_what_does_not_fit(counting: Bms, tmp_path: Path) -> None:
    for name, text in (("a", "[1]"), ("b", "no array"), ("c", '["x"]')):
        (tmp_path / name).write_text(text)
    ran = counting("import", str(tmp_path), "--as", "tags/in")
    assert ran.code == 1
    assert "invalid_value" in ran.err
    assert [line.split("\t")[0] for line in counting("list", "tags/in").text.splitlines()] == [
        "tags/in/a",
        "tags/in/c",
    ]


def test_a_blind_write_stands_beside_up_to_the_cap(bms: Bms, space: str) -> None:
    key = f"{space}/k"
    for number in range(32):
        assert bms("put", key, str(number), "--context", "").code == 0
    ran = bms("put", key, "too many", "--context", "", "--json")
    assert (ran.code, ran.error) == (6, "conflict_limit")
    entry = bms("get", key, "--json").json["entry"]
    assert entry["siblings"] == 32
    assert bms("put", key, "settled", "--context", entry["context"]).code == 0
    assert bms("get", key, "--json").json["entry"]["siblings"] == 1
    ran = bms("delete", key, "--context", "nonsense", "--json")
    assert (ran.code, ran.error) == (2, "usage")


FUNCTIONS = """
import json

def union(siblings):
    return json.dumps(sorted({each for sibling in siblings for each in json.loads(sibling.data)})).encode()

def last(siblings):
    return siblings[-1].data
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "merges_of_a_test.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_right_function_passes(bms: Bms, folder: Path) -> None:
    ran = bms("policy", "test", "merges_of_a_test:union")
    assert ran.code == 0
    assert "keeps all laws" in ran.text


def test_a_wrong_one_fails_with_an_example(bms: Bms, folder: Path) -> None:
    ran = bms("policy", "test", "merges_of_a_test:last")
    assert ran.code == 1
    assert "not commutative: the order of the siblings must not matter" in ran.text
    assert "1. at" in ran.text
    told = bms("policy", "test", "merges_of_a_test:last", "--json")
    assert told.code == 1
    assert told.json["broken"]["law"] == "commutative"
    assert len(told.json["broken"]["siblings"]) == 2


def test_it_may_be_tried_on_values_of_ones_own(bms: Bms, folder: Path) -> None:
    (folder / "values.jsonl").write_text('["a"]\n["b", "c"]\n')
    ran = bms(
        "policy", "test", "merges_of_a_test:union", "--values", "values.jsonl", "--count", "20", "--json"
    )
    assert ran.json == {
        "function": "merges_of_a_test:union", "ok": True, "tried": 20, "kinds": ["yours"], "broken": None,
    }  # fmt: skip
    (folder / "one.jsonl").write_text("1\n")
    assert bms("policy", "test", "merges_of_a_test:union", "--values", "one.jsonl").code == 2


@pytest.mark.parametrize("name", ["nowhere_at_all:f", "merges_of_a_test:nothing", "merges_of_a_test"])
def test_a_function_that_is_not_there_is_told(bms: Bms, folder: Path, name: str) -> None:
    ran = bms("policy", "test", name, "--json")
    assert ran.code == 1
    assert json.loads(ran.err)["error"]["code"] == "config_invalid"
