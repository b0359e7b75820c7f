"""A member that the authority made an issuer issues nodes, and nobody else does."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.errors import ConfigError, IdentityError
from bellande_mesh_sync.files import write_atomic
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.building import authority_certificate, issuer_certificate, leaf_certificate
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    load_bundle,
    load_pem,
    utc_now,
)
from bellande_mesh_sync.security.chains import member_below, member_of
from bellande_mesh_sync.security.identity import (
    load_identity,
    make_identity,
    new_key,
    public_bytes,
    save_identity,
)
from bellande_mesh_sync.security.issuing import Issuer, appoint, can_issue, load_issuer, make_issuer
from bellande_mesh_sync.shell.tls import client_context, server_context, verified_peer
from tests.shell.test_tls import shake_hands

AUTHORITY, FOUNDER = found_mesh("harbour", "crane-1")
AUTHORITIES = load_bundle(AUTHORITY.certificate_pem)
HOUR = datetime.timedelta(hours=1)


def issuer_of(authority: Authority = AUTHORITY, *, days: float = 365) -> Issuer:
    key = new_key()
    pem = appoint(authority, public_bytes(key), name="crane-2", days=days)
    return make_issuer(key, load_pem(pem), load_bundle(authority.certificate_pem))


ISSUER = issuer_of()


def test_a_node_that_an_issuer_issued_is_a_member() -> None:
    key = new_key()
    pem = ISSUER.issue(public_bytes(key), name="crane-3", role="writer")
    identity = make_identity(key, pem, AUTHORITY.certificate_pem)
    assert (identity.name, identity.role, identity.mesh_id) == ("crane-3", "writer", AUTHORITY.mesh_id)
    assert member_below(load_bundle(pem), AUTHORITY.mesh_id, [AUTHORITY.public_key]).node == identity.node
    assert ISSUER.public_key == AUTHORITY.public_key, "tokens of an issuer pin the authority"


def test_it_is_known_on_both_ends_of_a_link_and_knows_others() -> None:
    key = new_key()
    pem = ISSUER.issue(public_bytes(key), name="crane-3", role="writer")
    member = make_identity(key, pem, AUTHORITY.certificate_pem)
    other_key = new_key()
    other_pem = issuer_of().issue(public_bytes(other_key), name="crane-4", role="reader")
    other = make_identity(other_key, other_pem, AUTHORITY.certificate_pem)
    for one, two in ((FOUNDER, member), (member, FOUNDER), (member, other)):
        server, client = shake_hands(server_context(one), client_context(two))
        assert verified_peer(server.session, one).node == two.node
        assert verified_peer(client.session, two).node == one.node


def test_a_node_ends_no_later_than_its_issuer() -> None:
    issuer = issuer_of(days=1)
    chain = load_bundle(issuer.issue(public_bytes(new_key()), name="n", role="writer", days=30))
    assert chain[0].not_valid_after_utc == chain[1].not_valid_after_utc


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _by_a_member() -> bytes:
    member = new_member(AUTHORITY, "crane-9", role="admin")
    false = Issuer("harbour", AUTHORITY.mesh_id, AUTHORITY.public_key, member.certificate_pem, member.key)
    return false.issue(public_bytes(new_key()), name="n", role="admin")


def _by_an_issuers_issuer() -> bytes:
    key = new_key()
    second = issuer_certificate(ISSUER, public_bytes(key), "crane-5", 10)
    below = Issuer("harbour", AUTHORITY.mesh_id, AUTHORITY.public_key, _pem(second), key)
    leaf = below.issue(public_bytes(new_key()), name="n", role="admin")
    return leaf + ISSUER.certificate_pem


def _by_an_issuer_of_a_twin() -> bytes:
    twin = replace(Authority.create("harbour"), mesh_id=AUTHORITY.mesh_id)
    key = new_key()
    pem = issuer_certificate(twin, public_bytes(key), "crane-5", 10).public_bytes(Encoding.PEM)
    below = Issuer("harbour", AUTHORITY.mesh_id, AUTHORITY.public_key, pem, key)
    return below.issue(public_bytes(new_key()), name="n", role="admin")


def _without_its_issuer() -> bytes:
    return _pem(load_pem(ISSUER.issue(public_bytes(new_key()), name="n", role="writer")))


def _with_another_issuer() -> bytes:
    return _without_its_issuer() + issuer_of().certificate_pem


def _with_something_else() -> bytes:
    leaf = AUTHORITY.issue(public_bytes(new_key()), name="n", role="writer")
    return leaf + ISSUER.certificate_pem


def _outliving() -> bytes:
    issuer = issuer_of(days=1)
    loose = replace(issuer, certificate_pem=AUTHORITY.certificate_pem)
    span = (utc_now() - HOUR, utc_now() + 48 * HOUR)
    leaf = leaf_certificate(loose, public_bytes(new_key()), "n", "writer", span)
    return _pem(leaf) + issuer.certificate_pem


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_by_a_member, "does not let it issue"),
        (_by_an_issuers_issuer, "not issued by"),
        (_by_an_issuer_of_a_twin, "not made one by this mesh's authority"),
        (_without_its_issuer, "not issued by"),
        (_with_another_issuer, "nor by its issuer"),
        (_with_something_else, "belongs to nothing"),
        (_outliving, "outlives"),
        (lambda: AUTHORITY.issue(public_bytes(new_key()), name="n", role="writer") * 4, "4 certificates"),
    ],
)
def test_a_chain_is_refused_if_it_is(make: object, reason: str) -> None:
    pem = make()  # type: ignore[operator]
    with pytest.raises(CertificateFault, match=reason):
        member_of(load_bundle(pem), AUTHORITIES)


@pytest.mark.parametrize(
    "make", [_by_a_member, _by_an_issuers_issuer, _by_an_issuer_of_a_twin, _without_its_issuer]
)
def test_openssl_refuses_it_too(make: object) -> None:
    shown = replace(FOUNDER, certificate_pem=make())  # type: ignore[operator]
    key = new_key()
    own = replace(shown, key=key, certificate_pem=_for(key, shown.certificate_pem))
    server, _ = shake_hands(server_context(FOUNDER), client_context(own))
    assert not server.done


def _for(key: object, pem: bytes) -> bytes:
    """The chain with a leaf of this key in front, signed as little as before."""
    chain = load_bundle(pem)
    stranger = Authority.create("harbour")
    leaf = leaf_certificate(
        replace(stranger, mesh_id=AUTHORITY.mesh_id),
        public_bytes(key),  # type: ignore[arg-type]
        "n",
        "admin",
        (utc_now() - HOUR, utc_now() + HOUR),
    )
    return _pem(leaf, *chain[1:])


def test_what_a_home_holds_decides_who_signs(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    save_identity(FOUNDER, folder)
    assert not can_issue(folder)
    with pytest.raises(IdentityError, match="or an issuer, can do this"):
        load_issuer(folder)
    write_atomic(folder / "issuer.key", _key_pem(ISSUER))
    with pytest.raises(IdentityError, match=r"issuer\.crt: is missing"):
        load_issuer(folder)
    write_atomic(folder / "issuer.crt", ISSUER.certificate_pem)
    assert can_issue(folder)
    assert load_issuer(folder) == ISSUER
    AUTHORITY.save(folder)
    assert load_issuer(folder) == AUTHORITY, "the authority goes first"
    assert load_identity(folder).node == FOUNDER.node


def _key_pem(issuer: Issuer) -> bytes:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return issuer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_an_issuer_whose_time_is_over_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "identity"
    save_identity(FOUNDER, folder)
    key = new_key()
    late = issuer_certificate(AUTHORITY, public_bytes(key), "crane-2", -1 / 1440)
    write_atomic(folder / "issuer.key", _key_pem(replace(ISSUER, key=key)))
    write_atomic(folder / "issuer.crt", _pem(late))
    with pytest.raises(IdentityError, match=r"issuer\.crt: the certificate expired 1 min"):
        load_issuer(folder)


def test_an_authority_from_before_there_were_issuers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    constraints = x509.BasicConstraints
    monkeypatch.setattr(x509, "BasicConstraints", lambda ca, path_length: constraints(ca, 0 if ca else None))
    key = new_key()
    old = Authority._of(key, authority_certificate(key, "harbour", 10))
    monkeypatch.undo()
    with pytest.raises(IdentityError, match="can have no issuers"):
        appoint(old, public_bytes(new_key()), name="crane-2")


def test_a_name_that_no_certificate_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="printable"):
        appoint(AUTHORITY, public_bytes(new_key()), name="")
