"""Settings in `.bellande` and JSON mean what they do in TOML."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.config import load_config_file, load_node_file
from bellande_mesh_sync.config_bellande import parse_bellande
from bellande_mesh_sync.errors import ConfigError

TOML = """
listen_address = "0.0.0.0:8000"
bootstrap_nodes = ["10.0.0.1:8000", "[::1]:9000"]
node_timeout = 120.5
name = "crane 1"
[options]
max_connections = 200
dev_mode = false
[spaces.fleet]
ack = "quorum"
"""
BELLANDE = """
# Settings of a node.

listen_address: 0.0.0.0:8000
bootstrap_nodes:
    - 10.0.0.1:8000
    - "[::1]:9000"
node_timeout: 120.5
name: "crane 1"
options:
  max_connections: 200
  dev_mode: False
spaces:
    fleet:
        ack: quorum
"""
JSON = {
    "listen_address": "0.0.0.0:8000",
    "bootstrap_nodes": ["10.0.0.1:8000", "[::1]:9000"],
    "node_timeout": 120.5,
    "name": "crane 1",
    "options": {"max_connections": 200, "dev_mode": False},
    "spaces": {"fleet": {"ack": "quorum"}},
}


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_three_forms_say_the_same(tmp_path: Path) -> None:
    toml = load_node_file(write(tmp_path, "node.toml", TOML))
    assert load_node_file(write(tmp_path, "node.bellande", BELLANDE)) == toml
    assert load_node_file(write(tmp_path, "node.json", json.dumps(JSON))) == toml
    assert load_config_file(tmp_path / "node.bellande").listen_address == "0.0.0.0:8000"


def test_the_published_example_is_read() -> None:
    text = """
# This program is free software
url: https://example.org

endpoint_path:
    bellande_step: /api/Bellande_Step/bellande_step_nd

Bellande_Framework_Access_Key: bellande_web_api_opensource
"""
    assert parse_bellande(text, "http_configs.bellande") == {
        "url": "https://example.org",
        "endpoint_path": {"bellande_step": "/api/Bellande_Step/bellande_step_nd"},
        "Bellande_Framework_Access_Key": "bellande_web_api_opensource",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("# nothing", {}),
        ("a: TRUE\nb: null\nc: -5\nd: .5\ne: 1e3\nf: 1_0\ng: \"1\"",
         {"a": True, "b": None, "c": -5, "d": 0.5, "e": 1000.0, "f": "1_0", "g": "1"}),
        ("a:\nb: 1", {"a": [], "b": 1}),
        ("a:\n- 1\n- x: y\nb: 2", {"a": [1, "x: y"], "b": 2}),
        ("a:\n    b:\n        c: 1\n    d: 2\ne: 3", {"a": {"b": {"c": 1}, "d": 2}, "e": 3}),
        ("a:\n  -\n  - -1", {"a": ["", -1]}),
    ],
)  # fmt: skip
def test_what_a_text_holds(text: str, expected: dict[str, Any]) -> None:
    assert parse_bellande(text, "x.bellande") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nnonsense", "line 2: 'name: value' is expected"),
        ("- 1", "line 1: 'name: value' is expected"),
        (": 1", "line 1: 'name: value' is expected"),
        ("a: 1\n  b: 2", "line 2: it is indented more"),
        ("a:\n  - 1\n    - 2", "line 3: it is indented more"),
        ("  a: 1\nb: 2", "line 2: it is indented less"),
        ("a: 1\n\na: 2", "line 3: a was given before"),
        ("a:\n\tb: 2", "line 2: it is indented by tabs"),
        ("\n".join(" " * depth + "a:" for depth in range(50)), "nested deeper than 32"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bellande(text, "node.bellande")
    assert words in str(caught.value)
    assert "node.bellande" in str(caught.value)


@given(st.text(alphabet='ab: -"\n#\t1.', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_bellande(text, "x"), dict)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("node.json", "{", "not valid JSON"),
        ("node.json", "[]", "a JSON object is expected"),
        ("node.json", '{"lsten_address": "x"}', "did you mean listen_address?"),
        ("node.bellande", "lsten_address: x", "did you mean listen_address?"),
        ("node.bellande", "node_timeout: soon", "node_timeout"),
    ],
)
def test_a_wrong_setting_is_named_in_each_form(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_node_file(write(tmp_path, name, text))
    assert words in str(caught.value)
    assert name in str(caught.value)
