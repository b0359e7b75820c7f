"""`request`, `sign`, `accept`: three machines that share nothing but files."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security.certificates import load_bundle, load_pem
from bellande_mesh_sync.security.identity import load_identity
from bellande_mesh_sync.security.issuing import can_issue, load_issuer

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """One command with --json in the home named first; its exit code and what it said."""

    def call(home: Path, *arguments: str) -> tuple[int, Any]:
        capsys.readouterr()
        code = main(["--home", str(home), *arguments, "--json"])
        out, err = capsys.readouterr()
        return code, json.loads(out or err)

    return call


@pytest.fixture
def founder(tmp_path: Path, run: Run) -> Path:
    home = tmp_path / "founder"
    assert run(home, "init", "--mesh", "harbour", "--name", "crane-1")[0] == 0
    return home


@pytest.fixture
def asked(tmp_path: Path, run: Run) -> Path:
    assert run(tmp_path / "joiner", "request", str(tmp_path / "csr"), "--name", "crane-2")[0] == 0
    return tmp_path / "csr"


def signed(run: Run, signer: Path, request: Path, *options: str) -> tuple[Path, str]:
    target = request.with_suffix(".answer")
    code, said = run(signer, "sign", str(request), "-o", str(target), *options)
    assert code == 0, said
    return target, said["pin"]


def test_a_machine_that_meets_nobody_becomes_a_member(
    tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    joiner = tmp_path / "joiner"
    answer, pin = signed(run, founder, asked, "--role", "reader", "--label", "site=a", "--days", "5")
    code, said = run(joiner, "accept", str(answer), "--pin", pin)
    assert code == 0
    identity = load_identity(joiner / "identity")
    assert (identity.name, identity.role, identity.mesh_name) == ("crane-2", "reader", "harbour")
    assert said["node"] == identity.node.hex()
    assert said["not_after"] == identity.not_after.isoformat()
    config, _ = Home(joiner).load_settings()
    assert (config.name, config.labels) == ("crane-2", {"site": "a"})
    assert config.bootstrap_nodes == ("127.0.0.1:8000",)
    for file in (joiner / "identity").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not file.name.startswith("pending")
    certificate = load_pem(identity.certificate_pem)
    days = (certificate.not_valid_after_utc - certificate.not_valid_before_utc).total_seconds() / 86_400
    assert days == pytest.approx(5, abs=0.01)


def test_the_files_that_travel_hold_no_secret(founder: Path, asked: Path, tmp_path: Path, run: Run) -> None:
    answer, _ = signed(run, founder, asked)
    for file in (asked, answer):
        assert b"PRIVATE" not in file.read_bytes()
    key = (tmp_path / "joiner" / "identity" / "pending.key").read_bytes()
    assert key.split(b"\n")[1] not in answer.read_bytes() + asked.read_bytes()


def test_the_pin_may_be_given_with_the_request(tmp_path: Path, founder: Path, asked: Path, run: Run) -> None:
    _, pin = signed(run, founder, asked)
    third = tmp_path / "third"
    grouped = ":".join(pin[i : i + 2].upper() for i in range(0, 64, 2))
    assert run(third, "request", str(tmp_path / "csr3"), "--name", "crane-3", "--pin", grouped)[0] == 0
    answer, _ = signed(run, founder, tmp_path / "csr3")
    assert run(third, "accept", str(answer))[0] == 0


def test_an_answer_of_another_mesh_is_refused_by_its_pin_and_nothing_is_saved(
    tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    _, pin = signed(run, founder, asked)
    run(tmp_path / "false", "init", "--mesh", "harbour", "--name", "crane-1")
    answer, false_pin = signed(run, tmp_path / "false", asked)
    code, said = run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)
    assert (code, said["error"]["code"]) == (5, "authentication_failed")
    assert false_pin in said["error"]["message"]
    assert not (tmp_path / "joiner" / "identity" / "node.crt").exists()
    assert not (tmp_path / "joiner" / "node.toml").exists()


def test_without_a_pin_and_without_a_person_nothing_is_accepted(
    tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    answer, _ = signed(run, founder, asked)
    code, said = run(tmp_path / "joiner", "accept", str(answer))
    assert (code, said["error"]["code"]) == (2, "usage")
    assert "--pin is needed" in said["error"]["message"]
    code, said = run(tmp_path / "joiner", "accept", str(answer), "--pin", "3b1f")
    assert (code, "64 hex digits" in said["error"]["message"]) == (2, True)


def test_asking_again_is_for_the_same_key(tmp_path: Path, founder: Path, asked: Path, run: Run) -> None:
    answer, pin = signed(run, founder, asked)
    assert run(tmp_path / "joiner", "request", str(tmp_path / "again"), "--name", "crane-2")[0] == 0
    assert run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)[0] == 0


def test_an_answer_to_somebody_else_is_refused(tmp_path: Path, founder: Path, asked: Path, run: Run) -> None:
    run(tmp_path / "third", "request", str(tmp_path / "csr3"), "--name", "crane-3")
    answer, pin = signed(run, founder, tmp_path / "csr3")
    code, said = run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert "another private key" in said["error"]["message"]
    code, said = run(tmp_path / "fourth", "accept", str(answer), "--pin", pin)
    assert (code, "has made no request" in said["error"]["message"]) == (2, True)


def test_an_answer_that_came_too_late_says_by_how_much(
    tmp_path: Path, founder: Path, asked: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datetime

    answer, pin = signed(run, founder, asked, "--days", "1")
    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3, minutes=1)
    monkeypatch.setattr("bellande_mesh_sync.security.identity.utc_now", lambda: late)
    code, said = run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert "expired 2 d" in said["error"]["message"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"hello", "something else"),
        (b"-----BEGIN PRIVATE KEY-----\n", "a private key"),
        (b"-----BEGIN CERTIFICATE-----\n", "a bare certificate"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\nxx\n-----END CERTIFICATE REQUEST-----\n", "cannot be read"),
        (b'{"certificate": 1}', "an answer of 'bms sign'"),
        (b"\xff\xfe\x00" * 100, "something else"),
    ],
)
def test_what_is_no_request_is_named(
    content: bytes, words: str, tmp_path: Path, founder: Path, run: Run
) -> None:
    (tmp_path / "file").write_bytes(content)
    code, said = run(founder, "sign", str(tmp_path / "file"), "-o", str(tmp_path / "out"))
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert words in said["error"]["message"]
    assert str(tmp_path / "file") in said["error"]["message"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n", "must be signed first"),
        (b"-----BEGIN CERTIFICATE-----\n", "a bare certificate"),
        (b"{}", "is damaged"),
        (b'{"certificate": "x", "authority": "x", "mesh_name": "", "role": "", "bootstrap": []}', "damaged"),
        (b"[" * 5000, "something else"),
    ],
)
def test_what_is_no_answer_is_named(
    content: bytes, words: str, tmp_path: Path, asked: Path, run: Run
) -> None:
    (tmp_path / "file").write_bytes(content)
    code, said = run(tmp_path / "joiner", "accept", str(tmp_path / "file"), "--pin", "0" * 64)
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert words in said["error"]["message"]
    assert asked.exists()


def test_every_shortened_answer_is_refused(tmp_path: Path, founder: Path, asked: Path, run: Run) -> None:
    answer, pin = signed(run, founder, asked)
    whole = answer.read_bytes()
    for size in range(1, len(whole) - 2, 97):
        answer.write_bytes(whole[:size])
        assert run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)[0] == 1
    answer.write_bytes(whole)
    assert run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)[0] == 0


def test_a_file_that_is_missing_is_named(tmp_path: Path, founder: Path, run: Run) -> None:
    code, said = run(founder, "sign", str(tmp_path / "nowhere"), "-o", str(tmp_path / "out"))
    assert (code, said["error"]["code"]) == (1, "file_error")
    assert "nowhere" in said["error"]["message"]


def test_who_cannot_sign_says_so(tmp_path: Path, founder: Path, asked: Path, run: Run) -> None:
    answer, pin = signed(run, founder, asked)
    run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)
    code, said = run(tmp_path / "joiner", "sign", str(asked), "-o", str(tmp_path / "out"))
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert "or an issuer" in said["error"]["message"]


def test_a_member_is_renewed_by_files_and_stays_itself(
    tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    joiner = tmp_path / "joiner"
    answer, pin = signed(run, founder, asked, "--days", "1")
    run(joiner, "accept", str(answer), "--pin", pin)
    before = load_identity(joiner / "identity")
    code, said = run(joiner, "request", str(tmp_path / "renew"))
    assert (code, said["renews"], said["name"]) == (0, True, "crane-2")
    answer, _ = signed(run, founder, tmp_path / "renew", "--days", "20")
    assert run(joiner, "accept", str(answer))[0] == 0
    after = load_identity(joiner / "identity")
    assert (after.node, after.name) == (before.node, before.name)
    assert after.not_after > before.not_after
    code, said = run(joiner, "request", str(tmp_path / "renew"), "--name", "other")
    assert (code, "keeps its name" in said["error"]["message"]) == (2, True)


def test_a_member_takes_no_certificate_of_another_mesh(
    tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    joiner = tmp_path / "joiner"
    answer, pin = signed(run, founder, asked)
    run(joiner, "accept", str(answer), "--pin", pin)
    run(tmp_path / "false", "init", "--mesh", "harbour", "--name", "crane-1")
    run(joiner, "request", str(tmp_path / "renew"))
    answer, false_pin = signed(run, tmp_path / "false", tmp_path / "renew")
    code, said = run(joiner, "accept", str(answer), "--pin", false_pin)
    assert (code, said["error"]["code"]) == (1, "identity_invalid")
    assert "another mesh" in said["error"]["message"]
    assert load_identity(joiner / "identity").mesh_name == "harbour"


@pytest.fixture
def member(tmp_path: Path, founder: Path, asked: Path, run: Run) -> Path:
    answer, pin = signed(run, founder, asked)
    assert run(tmp_path / "joiner", "accept", str(answer), "--pin", pin)[0] == 0
    return tmp_path / "joiner"


def test_a_member_becomes_an_issuer_and_signs_others(
    tmp_path: Path, founder: Path, member: Path, run: Run
) -> None:
    assert run(member, "request", str(tmp_path / "issuer"), "--issuer")[0] == 0
    assert not can_issue(member / "identity")
    answer, pin = signed(run, founder, tmp_path / "issuer", "--issuer")
    code, said = run(member, "accept", str(answer))
    assert (code, said["issuer"]) == (0, True)
    assert load_issuer(member / "identity").mesh_name == "harbour"
    run(tmp_path / "third", "request", str(tmp_path / "csr3"), "--name", "crane-3")
    answer, same_pin = signed(run, member, tmp_path / "csr3")
    assert same_pin == pin
    assert run(tmp_path / "third", "accept", str(answer), "--pin", pin)[0] == 0
    third = load_identity(tmp_path / "third" / "identity")
    assert len(load_bundle(third.certificate_pem)) == 2
    # For longer: the same key, another certificate.
    assert run(member, "request", str(tmp_path / "issuer"), "--issuer")[0] == 0
    answer, _ = signed(run, founder, tmp_path / "issuer", "--issuer", "--days", "900")
    assert run(member, "accept", str(answer))[0] == 0
    assert load_issuer(member / "identity").public_key == load_issuer(founder / "identity").public_key


def test_nobody_becomes_an_issuer_by_mistake(tmp_path: Path, founder: Path, member: Path, run: Run) -> None:
    run(member, "request", str(tmp_path / "issuer"), "--issuer")
    code, said = run(founder, "sign", str(tmp_path / "issuer"), "-o", str(tmp_path / "out"))
    assert (code, "say --issuer" in said["error"]["message"]) == (2, True)
    run(member, "request", str(tmp_path / "renew"))
    code, said = run(founder, "sign", str(tmp_path / "renew"), "-o", str(tmp_path / "out"), "--issuer")
    assert (code, "asks for membership" in said["error"]["message"]) == (2, True)
    code, said = run(tmp_path / "new", "request", str(tmp_path / "x"), "--issuer")
    assert (code, "only a member" in said["error"]["message"]) == (2, True)


def test_an_issuer_makes_no_issuers(tmp_path: Path, founder: Path, member: Path, run: Run) -> None:
    run(member, "request", str(tmp_path / "issuer"), "--issuer")
    answer, _ = signed(run, founder, tmp_path / "issuer", "--issuer")
    run(member, "accept", str(answer))
    code, said = run(member, "sign", str(tmp_path / "issuer"), "-o", str(tmp_path / "out"), "--issuer")
    assert (code, said["error"]["code"]) == (1, "identity_invalid")


def test_files_may_go_through_pipes(
    tmp_path: Path, founder: Path, asked: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["--home", str(founder), "sign", str(asked), "-o", "-"]) == 0
    assert '"certificate"' in capsys.readouterr().out
    assert main(["--home", str(tmp_path / "joiner"), "request", "-", "--name", "crane-2"]) == 0
    assert capsys.readouterr().out.startswith("-----BEGIN CERTIFICATE REQUEST-----")


@pytest.mark.parametrize("address", ["nowhere", "host:0"])
def test_whom_to_call_must_be_callable(
    address: str, tmp_path: Path, founder: Path, asked: Path, run: Run
) -> None:
    code, said = run(founder, "sign", str(asked), "-o", str(tmp_path / "out"), "--bootstrap", address)
    assert (code, said["error"]["code"]) == (2, "usage")


def test_certificates_of_a_home_are_listed_while_no_node_runs(
    tmp_path: Path, founder: Path, member: Path, run: Run
) -> None:
    code, said = run(member, "certs")
    assert code == 0
    own, authority = said["certificates"]
    assert (own["of"], own["name"], own["role"], own["standing"]) == (
        "this node",
        "crane-2",
        "writer",
        "good",
    )
    assert authority["node"] == run(founder, "certs")[1]["certificates"][1]["node"], "the pin is the same"
    code, said = run(tmp_path / "nobody", "certs")
    assert (code, said["error"]["code"]) == (1, "not_a_member")
