"""Which node a command talks to, and with which token."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.cli.session import Session, dialable, normalize_url
from bellande_mesh_sync.errors import UnreachableError, UsageError
from bellande_mesh_sync.home import Home


@pytest.fixture(autouse=True)
def _no_token_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BMS_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("10.0.0.5:8001", "http://10.0.0.5:8001"),
        ("http://h:1/", "http://h:1"),
        ("https://[::1]:8002", "https://[::1]:8002"),
    ],
)
def test_an_address_without_a_scheme_is_plain_http(text: str, url: str) -> None:
    assert normalize_url(text) == url


@pytest.mark.parametrize("text", ["ftp://h", "http://", "://x", ""])
def test_what_is_no_http_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        normalize_url(text)


@pytest.mark.parametrize(
    ("address", "called"),
    [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.5:1", "10.0.0.5:1")],
)
def test_every_interface_is_called_on_loopback(address: str, called: str) -> None:
    assert dialable(address) == called


def test_without_an_address_it_is_the_node_that_runs_in_the_home(tmp_path: Path) -> None:
    with Home(tmp_path).lock() as lock:
        lock.update(node="n", tcp="", http="0.0.0.0:18001", https="")
        assert Session(home=str(tmp_path)).api_url() == "http://127.0.0.1:18001"


def test_a_node_that_is_still_starting_is_not_reachable(tmp_path: Path) -> None:
    with Home(tmp_path).lock(), pytest.raises(UnreachableError, match="starting"):
        Session(home=str(tmp_path)).api_url()


def test_no_node_in_the_home_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="bms start"):
        Session(home=str(tmp_path)).api_url()


def test_the_token_given_wins_over_the_environment_and_that_over_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:1"
    of_home = Home(tmp_path).admin_token()
    assert Session(home=str(tmp_path)).find_token(url) == of_home
    monkeypatch.setenv("BMS_TOKEN", "from-environment")
    assert Session(home=str(tmp_path)).find_token(url) == "from-environment"
    assert Session(home=str(tmp_path), token="given").find_token(url) == "given"


@pytest.mark.parametrize(
    ("api", "is_own"),
    [
        ("http://127.0.0.1:18001", True),
        ("http://localhost:18001", True),
        ("https://10.0.0.5:18002", True),
        ("http://127.0.0.1:18003", False),
        ("http://10.0.0.6:18001", False),
        ("http://evil.example:18001", False),
    ],
)
def test_the_admin_token_goes_to_the_homes_own_node_only(api: str, is_own: bool, tmp_path: Path) -> None:
    token = Home(tmp_path).admin_token()
    session = Session(home=str(tmp_path), api=api)
    with Home(tmp_path).lock() as lock:
        lock.update(node="n", tcp="", http="127.0.0.1:18001", https="10.0.0.5:18002")
        assert session.find_token(api) == (token if is_own else "")
    assert session.find_token(api) == ""


def test_looking_for_a_token_makes_none(tmp_path: Path) -> None:
    assert Session(home=str(tmp_path)).find_token("http://127.0.0.1:1") == ""
    assert list(tmp_path.iterdir()) == []


def test_https_trusts_the_meshs_own_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", "--home", str(tmp_path)]) == 0
    made: list[Any] = []
    monkeypatch.setattr(
        "bellande_mesh_sync.client.Client", lambda url, token, *, verify: made.append((url, verify))
    )
    Session(home=str(tmp_path), api="https://127.0.0.1:1").client()
    Session(home=str(tmp_path / "none"), api="https://127.0.0.1:1").client()
    ((_, own), (_, other)) = made
    assert isinstance(own, ssl.SSLContext)
    assert own.verify_mode is ssl.CERT_REQUIRED
    assert len(own.get_ca_certs()) == 1
    assert other is True


@pytest.mark.parametrize("place", ["before", "after", "both"])
def test_global_options_stand_on_either_side_of_the_command(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Session] = []

    def look(session: Session) -> None:
        seen.append(session)
        raise UnreachableError(address="x", reason="y")

    monkeypatch.setattr(Session, "client", look)
    given = ["--home", "/h", "--api", "h:1", "--token", "t", "--json"]
    lines = {
        "before": [*given, "status"],
        "after": ["status", *given],
        "both": ["--home", "/other", "--token", "t", "--json", "status", "--home", "/h", "--api", "h:1"],
    }
    assert main(lines[place]) == 3
    assert seen == [Session(home="/h", api="h:1", token="t", json=True)]
    assert capsys.readouterr().out == ""
