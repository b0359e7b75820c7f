"""When a certificate is renewed, and who gets one: decided without a clock and without a network."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.files import make_private_dir
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.certificates import CertificateFault, load_pem
from bellande_mesh_sync.security.identity import Identity, make_identity
from bellande_mesh_sync.security.lifetimes import (
    RETRY_S_MAX,
    Standing,
    life_of,
    renew_at,
    retry_after_s,
    standing,
)
from bellande_mesh_sync.security.renewing import checked_renewal, renewed

AUTHORITY, FOUNDER = found_mesh("harbour", "crane-1")
MEMBER = new_member(AUTHORITY, "crane-2", role="reader")
CERTIFICATE = load_pem(MEMBER.certificate_pem)
END = CERTIFICATE.not_valid_after_utc
NOW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
"""Later than any of these tests: what they issue must be valid then."""
DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


@pytest.fixture
def signer_dir(tmp_path: Path) -> Path:
    make_private_dir(tmp_path / "identity")
    AUTHORITY.save(tmp_path / "identity")
    return tmp_path / "identity"


def ask(
    signer_dir: Path, chain: bytes, asker: Identity = MEMBER, now: datetime.datetime = NOW
) -> bytes | None:
    return renewed(asker.node, chain, signer_dir, AUTHORITY.certificate_pem, days=60, now=now)


def test_thirty_days_are_renewed_when_ten_are_left_give_or_take_one() -> None:
    assert life_of(CERTIFICATE) == pytest.approx(30 * DAY, abs=SECOND)
    assert END - renew_at(CERTIFICATE, 0) == pytest.approx(10 * DAY, abs=SECOND)
    assert END - renew_at(CERTIFICATE, 1) == pytest.approx(11 * DAY, abs=SECOND)
    assert END - renew_at(CERTIFICATE, -1) == pytest.approx(9 * DAY, abs=SECOND)


def test_a_certificate_of_seconds_is_renewed_in_its_seconds() -> None:
    short = load_pem(new_member(AUTHORITY, "crane-3", role="reader", days=9 / 86_400).certificate_pem)
    assert (short.not_valid_after_utc - renew_at(short, 0)).total_seconds() == pytest.approx(3, abs=1)


@given(st.floats(0.01, 40 * 86_400))
def test_attempts_are_neither_a_storm_nor_too_few(left_s: float) -> None:
    wait_s = retry_after_s(CERTIFICATE, END - datetime.timedelta(seconds=left_s))
    assert 1 <= wait_s <= RETRY_S_MAX
    assert wait_s <= max(1.0, left_s / 19)


def test_a_certificate_is_good_until_its_renewal_is_late() -> None:
    assert standing(CERTIFICATE, NOW) is Standing.GOOD
    assert standing(CERTIFICATE, END - 9.5 * DAY) is Standing.GOOD
    assert standing(CERTIFICATE, END - 8.5 * DAY) is Standing.ENDING
    assert standing(CERTIFICATE, END + SECOND) is Standing.EXPIRED
    assert standing(CERTIFICATE, NOW - DAY) is Standing.EARLY


def test_a_member_gets_one_for_the_same_key_name_and_role(signer_dir: Path) -> None:
    pem = ask(signer_dir, MEMBER.certificate_pem)
    assert pem is not None
    new = checked_renewal(MEMBER, pem, NOW)
    assert (new.node, new.name, new.role) == (MEMBER.node, "crane-2", "reader")
    now = datetime.datetime.now(datetime.UTC)
    assert new.not_after - now == pytest.approx(60 * DAY, abs=5 * SECOND)


def test_who_cannot_issue_has_no_answer(tmp_path: Path) -> None:
    assert ask(tmp_path, MEMBER.certificate_pem) is None


STRANGER = new_member(Authority.create("harbour"), "crane-2", role="reader")


@pytest.mark.parametrize(
    ("chain", "asker", "now", "reason"),
    [
        (MEMBER.certificate_pem, FOUNDER, NOW, "it shows the certificate of node"),
        (MEMBER.certificate_pem, MEMBER, END + 2 * DAY, "expired 2 d ago"),
        (STRANGER.certificate_pem, STRANGER, NOW, "another mesh"),
        (AUTHORITY.certificate_pem, MEMBER, NOW, "not a node's"),
        (b"", MEMBER, NOW, "not a PEM bundle"),
        (b"\xff" * 100, MEMBER, NOW, "not a PEM bundle"),
        (MEMBER.certificate_pem * 20, MEMBER, NOW, "more than 16384 bytes|20 certificates"),
    ],
)
def test_nobody_else_gets_one(
    chain: bytes, asker: Identity, now: datetime.datetime, reason: str, signer_dir: Path
) -> None:
    with pytest.raises(CertificateFault, match=reason):
        ask(signer_dir, chain, asker, now)


def test_a_key_of_another_mesh_signs_nobody(tmp_path: Path) -> None:
    Authority.create("harbour").save(tmp_path)
    with pytest.raises(CertificateFault, match="another mesh"):
        ask(tmp_path, MEMBER.certificate_pem)


def _issued(**changes: object) -> bytes:
    wish = {"name": "crane-2", "role": "reader", "days": 60.0, **changes}
    return AUTHORITY.issue(MEMBER.public_key, **wish)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (_issued(role="admin"), "for 'crane-2' as admin"),
        (_issued(name="crane-9"), "for 'crane-9'"),
        (_issued(days=10), "no later"),
        (FOUNDER.certificate_pem, "another private key"),
        (STRANGER.certificate_pem, "another private key"),
        (b"hello", "not a PEM bundle"),
        (b"x" * 20_000, "more than 16384 bytes"),
    ],
)
def test_what_does_not_fit_is_not_taken(pem: bytes, reason: str) -> None:
    with pytest.raises(CertificateFault, match=reason):
        checked_renewal(MEMBER, pem, NOW)


def test_one_of_another_mesh_is_not_taken_either() -> None:
    pem = Authority.create("harbour").issue(MEMBER.public_key, name="crane-2", role="reader", days=60)
    with pytest.raises(CertificateFault, match="another mesh"):
        checked_renewal(MEMBER, pem, NOW)
    assert make_identity(MEMBER.key, _issued(), AUTHORITY.certificate_pem).node == MEMBER.node
