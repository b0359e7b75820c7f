"""What people are told of certificates: whose, for how long, and what is wrong with one."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.errors import IdentityError
from bellande_mesh_sync.files import write_atomic
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.building import leaf_certificate
from bellande_mesh_sync.security.certificates import load_bundle, load_pem
from bellande_mesh_sync.security.enrolment import pin_of
from bellande_mesh_sync.security.identity import new_key, public_bytes, save_identity
from bellande_mesh_sync.security.inspection import check_of, health_of, view_of, views_in
from bellande_mesh_sync.security.issuing import appoint, make_issuer

AUTHORITY, FOUNDER = found_mesh("harbour", "crane-1")
AUTHORITIES = load_bundle(AUTHORITY.certificate_pem)
MEMBER = new_member(AUTHORITY, "crane-2", role="reader")
LEAF = load_pem(MEMBER.certificate_pem)
END = LEAF.not_valid_after_utc
NOW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
"""Later than any of these tests: what they issue must be valid then."""
DAY = datetime.timedelta(days=1)
HOUR = datetime.timedelta(hours=1)


def issuer_pem() -> bytes:
    return appoint(AUTHORITY, public_bytes(new_key()), name="crane-2")


def test_a_certificate_is_told_with_its_end() -> None:
    view = view_of(LEAF, "this node", END - 3 * DAY, is_renewed=True)
    assert (view.name, view.role, view.issued_by) == ("crane-2", "reader", "harbour")
    assert view.node == MEMBER.node.hex()
    assert view.left_s == pytest.approx(3 * 86_400)
    assert (view.standing, view.renewed) == ("ending", True)
    assert view.not_after == END.isoformat()
    assert int(view.serial, 16) == LEAF.serial_number


def test_those_of_a_home_are_told_while_no_node_runs(tmp_path: Path) -> None:
    save_identity(MEMBER, tmp_path)
    assert [view.of for view in views_in(tmp_path, NOW)] == ["this node", "authority"]
    write_atomic(tmp_path / "issuer.crt", issuer_pem())
    own, issuer, authority = views_in(tmp_path, NOW)
    assert (own.role, issuer.role, authority.role) == ("reader", "issuer", "authority")
    assert authority.node == pin_of(AUTHORITY.public_key)
    (tmp_path / "authority.crt").unlink()
    with pytest.raises(IdentityError, match=r"authority\.crt: is missing"):
        views_in(tmp_path, NOW)


def test_health_warns_when_renewal_is_late_and_fails_at_the_end() -> None:
    good = health_of(LEAF, None, NOW)
    assert (good["ok"], good["warning"]) == (True, False)
    assert "ends in 29 d" in str(good["detail"])
    late = health_of(LEAF, None, END - 8 * DAY)
    assert (late["ok"], late["warning"]) == (True, True)
    assert "ends in 8 d; it should have been renewed by now" in str(late["detail"])
    over = health_of(LEAF, None, END + 2 * HOUR)
    assert (over["ok"], "expired 2 h ago" in str(over["detail"])) == (False, True)
    early = health_of(LEAF, None, NOW - DAY)
    assert (early["ok"], "is the clock right?" in str(early["detail"])) == (False, True)


def test_health_looks_at_the_right_to_issue_too() -> None:
    issuer = load_pem(issuer_pem())
    fresh = load_pem(new_member(AUTHORITY, "n", role="reader", days=900).certificate_pem)
    assert health_of(fresh, issuer, NOW)["ok"]
    late = health_of(fresh, issuer, issuer.not_valid_after_utc - 30 * DAY)
    assert (late["ok"], late["warning"]) == (True, True)
    over = health_of(fresh, issuer, issuer.not_valid_after_utc + DAY)
    assert (over["ok"], "its right to issue expired 1 d ago" in str(over["detail"])) == (False, True)


def test_a_members_certificate_has_no_faults() -> None:
    assert check_of(MEMBER.certificate_pem, AUTHORITIES, NOW).ok
    key = new_key()
    issuer = make_issuer(key, load_pem(appoint(AUTHORITY, public_bytes(key), name="i")), AUTHORITIES)
    found = check_of(issuer.issue(public_bytes(new_key()), name="n", role="writer"), AUTHORITIES, NOW)
    assert (found.ok, found.faults) == (True, ())


def test_every_fault_is_told_and_by_how_much() -> None:
    stranger = Authority.create("harbour")
    leaf = leaf_certificate(stranger, MEMBER.public_key, "n", "admin", (NOW - 3 * DAY, NOW - 2 * DAY - HOUR))
    found = check_of(_pem(leaf), AUTHORITIES, NOW)
    assert not found.ok
    first, second = found.faults
    assert "another mesh" in first
    assert "expired 2 d 1 h ago" in second
    assert found.certificate is not None
    assert found.certificate.name == "n"


def test_a_chain_whose_issuer_is_over_says_which() -> None:
    key = new_key()
    issuer = make_issuer(key, load_pem(appoint(AUTHORITY, public_bytes(key), name="i", days=1)), AUTHORITIES)
    pem = issuer.issue(public_bytes(new_key()), name="n", role="writer")
    late = check_of(pem, AUTHORITIES, NOW + 2 * DAY)
    assert len(late.faults) == 2
    assert late.faults[1].startswith("certificate 2 of the chain: the certificate expired")


@pytest.mark.parametrize("pem", [b"", b"hello", b"\xff" * 100, b"-----BEGIN CERTIFICATE-----\nx"])
def test_what_is_no_certificate_is_a_fault_and_nothing_worse(pem: bytes) -> None:
    found = check_of(pem, AUTHORITIES, NOW)
    assert (found.ok, found.certificate) == (False, None)
    assert "not a PEM bundle" in found.faults[0]


def test_an_authority_is_no_member() -> None:
    assert not check_of(AUTHORITY.certificate_pem, AUTHORITIES, NOW).ok


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
