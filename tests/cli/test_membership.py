"""`init`, `invite` and `join` as far as they are files: no node runs here."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.cli.mesh import ROLES
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security import certificates
from bellande_mesh_sync.security.identity import load_identity
from bellande_mesh_sync.security.tokens import make_token, parse_token


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_init_makes_a_member_with_private_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    code, out, _ = run(
        capsys, "init", "--home", str(home), "--mesh", "harbour", "--name", "crane-1", "--json"
    )
    assert code == 0
    identity = load_identity(home / "identity")
    assert json.loads(out) == {
        "mesh": "harbour",
        "mesh_id": identity.mesh_id.hex(),
        "node": identity.node.hex(),
        "name": "crane-1",
        "role": "admin",
        "home": str(home),
    }
    assert stat.S_IMODE((home / "identity").stat().st_mode) == 0o700
    for file in (home / "identity").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_init_writes_settings_that_can_be_read_and_explain_themselves(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path), "--name", 'a "quoted" name')
    config, _ = Home(tmp_path).load_settings()
    assert config.name == 'a "quoted" name'
    assert "# " in (tmp_path / "node.toml").read_text()


def test_init_leaves_settings_alone_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node.toml").write_text('listen_address = "127.0.0.1:9000"\n')
    assert run(capsys, "init", "--home", str(tmp_path))[0] == 0
    assert (tmp_path / "node.toml").read_text() == 'listen_address = "127.0.0.1:9000"\n'


def test_init_refuses_a_home_that_has_an_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    before = (tmp_path / "identity" / "node.crt").read_bytes()
    code, out, err = run(capsys, "init", "--home", str(tmp_path), "--json")
    assert (code, out) == (6, "")
    assert json.loads(err)["error"]["code"] == "already_a_member"
    assert (tmp_path / "identity" / "node.crt").read_bytes() == before


def test_init_refuses_a_home_that_a_node_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Home(tmp_path).lock():
        code, _, err = run(capsys, "init", "--home", str(tmp_path))
    assert code == 1
    assert "home_in_use" in err


@pytest.mark.parametrize("option", ["--mesh", "--name"])
@pytest.mark.parametrize("name", ["x" * 65, "line\nfeed"])
def test_init_refuses_bad_names_and_makes_no_member(
    option: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "init", "--home", str(tmp_path), option, name)[0] == 1
    assert run(capsys, "init", "--home", str(tmp_path))[0] == 0


def test_an_invitation_is_one_line_that_names_this_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    code, out, err = run(capsys, "invite", "--home", str(tmp_path))
    assert code == 0
    assert out.count("\n") == 1
    token = parse_token(out)
    assert token.addresses == ("127.0.0.1:8002",)
    assert token.mesh_id == load_identity(tmp_path / "identity").mesh_id
    assert "this machine only" in err


def test_an_invitation_names_where_the_node_really_listens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    with Home(tmp_path).lock() as lock:
        lock.update(node="n", tcp="", http="", https="127.0.0.1:4711")
        assert parse_token(run(capsys, "invite", "--home", str(tmp_path))[1]).addresses == ("127.0.0.1:4711",)


def test_an_invitation_names_addresses_that_can_be_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node.toml").write_text(
        'listen_address = "0.0.0.0:8000"\nadvertise = ["crane.example:8000"]\n'
    )
    run(capsys, "init", "--home", str(tmp_path))
    assert parse_token(run(capsys, "invite", "--home", str(tmp_path))[1]).addresses == ("crane.example:8002",)
    given = run(capsys, "invite", "--home", str(tmp_path), "--address", "10.1.1.1:9", "--address", "h:8")[1]
    assert parse_token(given).addresses == ("10.1.1.1:9", "h:8")


def test_an_invitation_without_an_address_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "node.toml").write_text("https_port = -1\n")
    run(capsys, "init", "--home", str(tmp_path))
    code, out, err = run(capsys, "invite", "--home", str(tmp_path))
    assert (code, out) == (1, "")
    assert "https_port" in err


@pytest.mark.parametrize("address", ["nowhere", "h:0", "h:99999", "fe80::1:8002"])
def test_an_invitation_to_no_address_is_a_usage_error(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    assert run(capsys, "invite", "--home", str(tmp_path), "--address", address)[0] == 2


def test_who_is_no_member_cannot_invite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "invite", "--home", str(tmp_path))
    assert (code, out) == (1, "")
    assert "not_a_member" in err
    assert "bms init" in err


def test_who_does_not_hold_the_authority_cannot_invite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    (tmp_path / "identity" / "authority.key").unlink()
    code, _, err = run(capsys, "invite", "--home", str(tmp_path))
    assert code == 1
    assert "made the mesh" in err


def test_roles_are_those_of_certificates() -> None:
    assert set(ROLES) == set(certificates.ROLES)


@pytest.mark.parametrize("text", ["", "hello", "bms1", "bms1aaaa"])
def test_joining_with_what_is_no_token_is_denied_and_leaves_no_member(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "join", text, "--home", str(tmp_path), "--json")
    assert (code, out) == (5, "")
    assert json.loads(err)["error"]["code"] == "invalid_token"
    assert not (tmp_path / "identity" / "node.crt").exists()


def test_joining_a_second_mesh_is_refused_before_anybody_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "init", "--home", str(tmp_path))
    token = run(capsys, "invite", "--home", str(tmp_path))[1].strip()
    assert run(capsys, "join", token, "--home", str(tmp_path))[0] == 6


def test_joining_where_nobody_answers_is_exit_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "init", "--home", str(tmp_path / "a"))
    token = run(capsys, "invite", "--home", str(tmp_path / "a"), "--address", "127.0.0.1:1")[1].strip()
    code, out, err = run(capsys, "join", token, "--home", str(tmp_path / "b"))
    assert (code, out) == (3, "")
    assert "127.0.0.1:1" in err


def test_joining_with_an_expired_token_is_denied_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    late = make_token(mesh_id=bytes(16), authority_key=bytes(32), expires_s=1, addresses=["127.0.0.1:1"])
    code, out, err = run(capsys, "join", late.text(), "--home", str(tmp_path), "--json")
    assert (code, out) == (5, "")
    assert json.loads(err)["error"]["code"] == "token_expired"
    assert not (tmp_path / "identity" / "node.crt").exists()


def test_no_token_on_standard_input_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null", encoding="utf-8"))  # noqa: SIM115
    assert run(capsys, "join", "-", "--home", str(tmp_path))[0] == 2


def test_start_without_an_identity_says_what_to_do_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "start", "--home", str(tmp_path / "home"))
    assert (code, out) == (1, "")
    assert "not_a_member" in err
    assert "bms join TOKEN" in err
    assert not (tmp_path / "home").exists()
