"""Whatever bytes a stranger shows as a certificate or a request, they are a member's or a named fault."""

from __future__ import annotations

import base64
import contextlib
import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import InvalidTokenError
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.authority import Authority, new_member
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    check_valid_at,
    format_duration,
    load_bundle,
    load_der,
    load_pem,
    mesh_id_of_key,
    utc_now,
)
from bellande_mesh_sync.security.chains import member_below, member_of
from bellande_mesh_sync.security.identity import new_key
from bellande_mesh_sync.security.invites import load_csr

# The library warns of some forms that it will refuse one day.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

AUTHORITY = Authority.create("harbour")
MEMBER = new_member(AUTHORITY, "crane-1", role="writer")
DER = load_pem(MEMBER.certificate_pem).public_bytes(Encoding.DER)
CSR = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(new_key(), None)
CSR_DER = CSR.public_bytes(Encoding.DER)


def test_a_certificate_says_who_and_in_which_mesh() -> None:
    member = member_of([load_der(DER)], load_bundle(AUTHORITY.certificate_pem))
    assert (member.node, member.role, member.name) == (MEMBER.node, "writer", "crane-1")
    assert member.mesh_id == AUTHORITY.mesh_id == mesh_id_of_key(AUTHORITY.public_key)
    assert member.mesh_id == node_id_of(AUTHORITY.public_key)[:16]
    assert member_below([load_der(DER)], AUTHORITY.mesh_id, [AUTHORITY.public_key]) == member


@given(st.lists(st.tuples(st.integers(0, len(DER) - 1), st.integers(1, 255)), min_size=1, max_size=3))
def test_a_changed_certificate_is_a_fault_and_nothing_worse(changes: list[tuple[int, int]]) -> None:
    changed = bytearray(DER)
    for position, mask in changes:
        changed[position] ^= mask
    if changed == DER:
        return
    with pytest.raises(CertificateFault):
        member_below([load_der(bytes(changed))], AUTHORITY.mesh_id, [AUTHORITY.public_key])


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_changed_certificate_is_no_member_of_the_bundle_either(position: int, mask: int) -> None:
    changed = bytearray(DER)
    changed[position] ^= mask
    authorities = load_bundle(AUTHORITY.certificate_pem)
    with pytest.raises(CertificateFault):
        member_of([load_der(bytes(changed))], authorities)


@given(st.integers(0, len(CSR_DER) - 1), st.integers(1, 255))
def test_a_changed_request_is_refused_and_nothing_worse(position: int, mask: int) -> None:
    changed = bytearray(CSR_DER)
    changed[position] ^= mask
    body = base64.encodebytes(bytes(changed))
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(InvalidTokenError):
        load_csr(pem)


@given(st.binary(max_size=200))
def test_other_bytes_are_a_fault(content: bytes) -> None:
    for read in (load_der, load_pem, load_bundle):
        with pytest.raises(CertificateFault):
            read(content)
    with contextlib.suppress(InvalidTokenError):
        load_csr(content)


def test_a_bundle_with_an_old_and_a_new_authority_knows_members_of_both() -> None:
    successor = Authority.create("harbour")
    issued_by_new = Authority(
        "harbour", AUTHORITY.mesh_id, successor.public_key, successor.certificate_pem, successor.key
    )
    newcomer = issued_by_new.issue(MEMBER.public_key, name="crane-1", role="writer")
    bundle = load_bundle(AUTHORITY.certificate_pem + successor.certificate_pem)
    member_of(load_bundle(newcomer), bundle)
    member_of([load_der(DER)], bundle)
    with pytest.raises(CertificateFault, match="not issued by"):
        member_of(load_bundle(newcomer), bundle[:1])


def test_dates_say_by_how_much_they_are_missed() -> None:
    certificate = load_pem(MEMBER.certificate_pem)
    check_valid_at(certificate, utc_now())
    with pytest.raises(CertificateFault, match="expired 2 d 3 h ago"):
        check_valid_at(certificate, certificate.not_valid_after_utc + datetime.timedelta(days=2, hours=3))
    with pytest.raises(CertificateFault, match="valid only in 10 min"):
        check_valid_at(certificate, certificate.not_valid_before_utc - datetime.timedelta(minutes=10))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (0.4, "0 s"), (61, "1 min 1 s"), (90_061, "1 d 1 h"), (3600, "1 h")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert format_duration(datetime.timedelta(seconds=seconds)) == text
