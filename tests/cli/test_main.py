"""The command line as a whole: help, usage errors, exit codes, and what goes to which stream."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from bellande_mesh_sync import errors
from bellande_mesh_sync.cli import exits
from bellande_mesh_sync.cli.main import COMMANDS, bms, main
from bellande_mesh_sync.cli.options import SECTIONS

HEAVY = ("asyncio", "cryptography", "httpx", "platformdirs", "rich", "starlette", "uvicorn", "uvloop", "ssl")


def test_help_lists_every_command_in_its_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for section in SECTIONS:
        assert f"\n{section}:\n" in text
    for name in COMMANDS:
        assert re.search(rf"^  {name}  +\S", text, re.MULTILINE), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: bms {name}")
    assert "Examples:" in text
    for option in ("--home", "--api", "--token", "--json"):
        assert option in text.partition("Global options:")[2]
    description = text.split("\n\n")[1].strip()
    assert description[0].isupper()
    assert len(description) > 10


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 100


def test_no_command_prints_the_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "Usage: bms" in err


@pytest.mark.parametrize("arguments", [["--version"], ["status", "--version"]])
def test_the_version_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert re.fullmatch(r"bms \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [["--json", "--version"], ["--version", "--json"]])
def test_the_version_is_json_on_request(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"version"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["stattus"], "'status'"),
        (["put", "k", "v", "--akc", "all"], "--ack"),
        (["--jsn", "status"], "--json"),
        (["list", "--limt", "3"], "--limit"),
    ],
)
def test_a_typing_error_gets_a_suggestion(
    arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert "id you mean" in err
    assert hint in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["put", "k"],
        ["put", "k", "v", "--file", "f"],
        ["put", "k", "v", "--ack", "some"],
        ["put", "k", "v", "--timeout", "-1"],
        ["get"],
        ["get", "a", "b"],
        ["send", "node"],
        ["import", "/"],
        ["export", "p"],
        ["invite", "--expires", "1.5h"],
        ["invite", "--uses", "0"],
        ["invite", "--role", "king"],
        ["start", "--http-port", "99999"],
        ["status", "--api", "ftp://x"],
        ["status", "--api", "http://"],
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_usage_is_exit_2_and_nothing_on_stdout(
    arguments: list[str], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *(["--json"] if as_json else [])]) == exits.USAGE
    out, err = capsys.readouterr()
    assert out == ""
    if as_json:
        assert json.loads(err)["error"]["code"] == "usage"
    else:
        assert "error (usage): " in err


CODES = [
    (errors.InvalidKeyError(key="a//b", reason="x"), 2),
    (errors.UsageError(reason="x"), 2),
    (errors.UnreachableError(address="x", reason="y"), 3),
    (errors.NotRunningError(), 3),
    (errors.NotFoundError(what="key", name="x"), 4),
    (errors.UnauthorizedError(reason="x"), 5),
    (errors.ForbiddenError(needed="admin", role="reader"), 5),
    (errors.InvalidTokenError(reason="x"), 5),
    (errors.ExpiredTokenError(ago="1 h"), 5),
    (errors.UsedTokenError(), 5),
    (errors.TooManyAttemptsError(address="x", wait_s=1), 5),
    (errors.AuthenticationError(reason="x"), 5),
    (errors.ConflictError(key="k"), 6),
    (errors.AlreadyAMemberError(home="h", node="n"), 6),
    (errors.AckTimeoutError(level="all", timeout_s=1, have=1, need=3), 7),
    (errors.DeadlineError(what="x", timeout_s=1), 7),
    (errors.ConfigError(field="x", reason="y"), 1),
    (errors.NotAMemberError(home="h"), 1),
    (errors.HomeInUseError(home="h", pid=1), 1),
    (errors.PortInUseError(address="a"), 1),
    (errors.CorruptStoreError(path="p", reason="r"), 1),
    (errors.DiskFullError(path="p"), 1),
    (errors.BusyError(what="q", limit=1), 1),
    (errors.UnsupportedError(what="x"), 1),
]


@pytest.mark.parametrize(("error", "code"), CODES, ids=lambda value: getattr(value, "code", str(value)))
@pytest.mark.parametrize("as_json", [False, True])
def test_each_error_has_its_exit_code_and_tells_itself_on_stderr(
    error: errors.BellandeMeshError,
    code: int,
    as_json: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(session: Any) -> None:
        raise error

    monkeypatch.setattr("bellande_mesh_sync.cli.session.Session.client", fail)
    assert main(["status", *(["--json"] if as_json else [])]) == code
    out, err = capsys.readouterr()
    assert out == ""
    if as_json:
        assert json.loads(err) == {
            "error": {"code": error.code, "message": str(error), "detail": error.facts}
        }
    else:
        assert err == f"error ({error.code}): {error}\n"


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["put", "k", "--file", "/nothing/here"]) == exits.FAILED
    assert capsys.readouterr().err == "error (file_error): /nothing/here: No such file or directory\n"


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(session: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bellande_mesh_sync.cli.session.Session.client", interrupt)
    assert main(["status"]) == exits.INTERRUPTED
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["put", "--help"], ["start", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\n"
        "from bellande_mesh_sync.cli.main import main\n"
        f"main({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stderr.strip() == "[]"


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "bellande_mesh_sync", "--help"]
    child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert child.stdout.startswith("Usage: bms")


def test_a_reader_that_closes_early_is_no_failure() -> None:
    command = f"set -o pipefail; {sys.executable} -m bellande_mesh_sync list --help | head -c 1 >/dev/null"
    assert subprocess.run(["bash", "-c", command], timeout=60, check=False).returncode == 0


def test_every_command_is_found_under_its_own_name() -> None:
    import click

    for name in COMMANDS:
        command = bms.get_command(click.Context(bms), name)
        assert command is not None
        assert command.name is not None
