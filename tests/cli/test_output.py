"""What is printed: safe for a terminal, whole for a pipe."""

from __future__ import annotations

import json

import pytest

from bellande_mesh_sync.cli.output import (
    Output,
    human_bytes,
    human_seconds,
    iso_time,
    json_text,
    plain,
    shown,
)
from bellande_mesh_sync.values import Receipt


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("fleet/dock", "fleet/dock"),
        ("r\u00e9sum\u00e9/\u6e2f", "r\u00e9sum\u00e9/\u6e2f"),
        ("a\tb\nc", "a\\tb\\nc"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        (None, ""),
        (3, "3"),
    ],
)
def test_text_for_a_pipe_stays_in_its_field(text: object, printed: str) -> None:
    assert plain(text) == printed


def test_text_for_a_terminal_cannot_reorder_the_line() -> None:
    assert shown("exe.\u202egpj") == "exe.\\u202egpj"


def test_rows_on_a_pipe_are_tab_separated_without_headings(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).table(("A", "B"), [("1", "x y"), ("2", "z\t")])
    assert capsys.readouterr().out == "1\tx y\n2\tz\\t\n"


def test_notes_go_to_stderr_and_are_left_out_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).note("hint")
    Output(as_json=True).note("hint")
    assert capsys.readouterr() == ("", "hint\n")


def test_results_of_the_library_become_json() -> None:
    receipt = Receipt(key="k", version="v", nodes=("n",), ack="local")
    assert json.loads(json_text({"receipt": receipt})) == {
        "receipt": {"key": "k", "version": "v", "nodes": ["n"], "ack": "local"}
    }


def test_a_terminal_sees_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    output.is_terminal = True
    output.table(("KEY", "NAME"), [("k", "[red]not markup[/red]\x1b[2J")])
    text = capsys.readouterr().out
    assert "KEY" in text
    assert "[red]not markup[/red]\\x1b[2J" in text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB"), (1 << 50, "1024.0 TiB")],
)
def test_sizes_read_well(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (250, "4 min 10 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_spans_read_well(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_times_are_utc() -> None:
    assert iso_time(0) == "1970-01-01T00:00:00Z"
