"""Becoming a member, being renewed, or becoming an issuer, by files: for machines that never meet.

A request goes one way, a grant the other. Neither holds a secret. A request is believed for its key alone;
a grant is believed if the authority's key is the one that the receiver knows, or was told of: the pin.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.config_model import check_labels
from bellande_mesh_sync.errors import (
    AuthenticationError,
    ConfigError,
    IdentityError,
    InvalidTokenError,
    UsageError,
)
from bellande_mesh_sync.files import make_private_dir, read_private, write_atomic
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.admission import BOOTSTRAP_MAX, JoinAnswer
from bellande_mesh_sync.security.authority import Authority
from bellande_mesh_sync.security.building import check_name
from bellande_mesh_sync.security.certificates import (
    ISSUER_ROLE,
    CertificateFault,
    check_valid_at,
    common_name,
    load_bundle,
    load_pem,
    raw_public_key,
    utc_now,
)
from bellande_mesh_sync.security.identity import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    KEY_FILE,
    Identity,
    has_identity,
    load_key,
    make_identity,
    new_key,
    read_certificate,
    save_identity,
)
from bellande_mesh_sync.security.invites import check_invited_labels, csr_public_key, load_csr
from bellande_mesh_sync.security.issuing import ISSUER_FILE, ISSUER_KEY_FILE, AnyIssuer, appoint, make_issuer

FILE_BYTES_MAX: Final = 64 * 1024
PENDING_KEY_FILE: Final = "pending.key"
PENDING_FILE: Final = "pending.json"
PENDING_ISSUER_KEY_FILE: Final = "pending-issuer.key"
_PIN = re.compile(r"[0-9a-f]{64}")
_ISSUER_UNIT: Final = "issuer"
"""The organisational unit in a request to become an issuer, so that nobody signs one by mistake."""


class Pending(msgspec.Struct, frozen=True):
    """What a newcomer wrote down with its request."""

    name: str
    pin: str = ""


class Request(NamedTuple):
    """A request, read."""

    public_key: bytes
    name: str
    wants_to_issue: bool


class Accepted(NamedTuple):
    """What came of a grant."""

    identity: Identity
    is_issuer: bool
    is_new: bool


def pin_of(authority_key: bytes) -> str:
    """How people compare an authority's raw key: SHA-256 of its SPKI, 64 hex digits."""
    return node_id_of(authority_key).hex()


def check_pin(pin: str) -> str:
    """As it is kept. UsageError unless it is a pin; its case, and colons or spaces in it, do not matter."""
    plain = re.sub(r"[:\s]", "", pin).lower()
    if not _PIN.fullmatch(plain):
        raise UsageError(reason="a pin is the 64 hex digits that 'bms sign' and 'bms certs' show")
    return plain


# -- asking


def make_request(home: Home, name: str, *, pin: str = "") -> bytes:
    """A request (PEM) to become a member under this name; its private key stays in the home.

    Asked again, it is for the same key. The caller holds the home's lock, and knows that it has no identity.
    """
    check_name("name", name)
    home.create()
    folder = home.identity_dir
    key = _pending_key(folder, PENDING_KEY_FILE)
    write_atomic(folder / PENDING_FILE, msgspec.json.encode(Pending(name, pin and check_pin(pin))))
    return _request(key, name)


def make_renewal_request(home: Home) -> bytes:
    """The same for a member whose certificate nears its end, or has ended: for its key and name again."""
    certificate = load_pem(read_certificate(home.identity_dir / CERTIFICATE_FILE))
    return _request(load_key(home.identity_dir / KEY_FILE), common_name(certificate))


def make_issuer_request(home: Home) -> bytes:
    """A request to make this member an issuer, or one for longer. The key for it is another than its own."""
    folder = home.identity_dir
    name = common_name(load_pem(read_certificate(folder / CERTIFICATE_FILE)))
    if (folder / ISSUER_KEY_FILE).exists():
        return _request(load_key(folder / ISSUER_KEY_FILE), name, _ISSUER_UNIT)
    return _request(_pending_key(folder, PENDING_ISSUER_KEY_FILE), name, _ISSUER_UNIT)


def _pending_key(folder: Path, file: str) -> Ed25519PrivateKey:
    if not (folder / file).exists():
        make_private_dir(folder)
        folder.chmod(0o700)
        _write_key(folder / file, new_key())
    return load_key(folder / file)


def _write_key(path: Path, key: Ed25519PrivateKey) -> None:
    write_atomic(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _request(key: Ed25519PrivateKey, name: str, unit: str = "") -> bytes:
    attributes = [x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
    if unit:
        attributes.append(x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, None)
    return csr.public_bytes(Encoding.PEM)


# -- signing


def read_request(content: bytes, source: str) -> Request:
    """IdentityError, naming the file, unless it is a request of `bms request`."""
    if b"BEGIN CERTIFICATE REQUEST" not in content:
        raise IdentityError(path=source, reason=f"is no request of 'bms request', but {_kind_of(content)}")
    try:
        csr = load_csr(content)
        names = csr.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        units = csr.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
    except (InvalidTokenError, ValueError) as error:
        raise IdentityError(path=source, reason=str(error)) from None
    name = str(names[0].value) if names else ""
    return Request(csr_public_key(csr), name, any(unit.value == _ISSUER_UNIT for unit in units))


def grant_membership(
    issuer: AnyIssuer,
    authority_pem: bytes,
    request: Request,
    *,
    name: str,
    role: str,
    days: float,
    labels: Mapping[str, str],
    bootstrap: Sequence[str],
) -> bytes:
    """The grant for a request: a certificate, and what a newcomer needs. ConfigError as `issue`."""
    check_invited_labels(labels)
    certificate = issuer.issue(request.public_key, name=name, role=role, days=days)
    return _grant(issuer, certificate, authority_pem, role, labels, bootstrap)


def grant_issuing(
    authority: Authority, authority_pem: bytes, request: Request, *, name: str, days: float
) -> bytes:
    """The grant that makes the one who asks an issuer. IdentityError, ConfigError as `appoint`."""
    certificate = appoint(authority, request.public_key, name=name, days=days)
    return _grant(authority, certificate, authority_pem, ISSUER_ROLE, {}, ())


def _grant(
    issuer: AnyIssuer, certificate: bytes, authority_pem: bytes, role: str, labels: Mapping[str, str],
    bootstrap: Sequence[str],
) -> bytes:  # fmt: skip
    answer = JoinAnswer(
        certificate=certificate.decode("ascii"),
        authority=authority_pem.decode("ascii"),
        mesh_name=issuer.mesh_name,
        role=role,
        bootstrap=tuple(bootstrap)[:BOOTSTRAP_MAX],
        labels=dict(labels),
    )
    return msgspec.json.format(msgspec.json.encode(answer)) + b"\n"


# -- accepting


def read_grant(content: bytes, source: str) -> JoinAnswer:
    """IdentityError, naming the file, unless it is a grant of `bms sign` that can be read."""
    if not content.lstrip().startswith(b"{"):
        raise IdentityError(path=source, reason=f"is no answer of 'bms sign', but {_kind_of(content)}")
    try:
        grant = msgspec.json.decode(content, type=JoinAnswer)
        load_bundle(grant.certificate.encode())
        load_bundle(grant.authority.encode())
        check_labels(grant.labels)
        for address in grant.bootstrap[:BOOTSTRAP_MAX]:
            parse_address(address)
    except (msgspec.MsgspecError, ValueError, ConfigError) as error:
        raise IdentityError(path=source, reason=f"is damaged: {error}") from None
    return grant


def grant_pin(grant: JoinAnswer) -> str:
    """The pin of the authority that stands in the grant: as long as nobody compared it, a claim."""
    return pin_of(raw_public_key(load_bundle(grant.authority.encode())[0]))


def pending_pin(home: Home) -> str:
    """The pin that was given with the request; "" if none was.

    Raises:
        UsageError: this home made no request.
    """
    try:
        return msgspec.json.decode(read_private(home.identity_dir / PENDING_FILE), type=Pending).pin
    except (FileNotFoundError, msgspec.MsgspecError):
        raise UsageError(
            reason=f"{home.path} has made no request that this could be the answer to; run 'bms request'"
        ) from None


def accept(home: Home, grant: JoinAnswer, source: str, pin: str) -> Accepted:
    """Check a grant against this home's own key and the authority's pin, and save what it gives.

    Args:
        pin: as check_pin returns it. A member needs none: it knows its authority.

    Raises:
        AuthenticationError: the authority is another one. Nothing was saved.
        IdentityError: the grant is for another key, expired, or does not fit otherwise. Nothing was saved.
        UsageError: this home made no request.
    """
    if has_identity(home.identity_dir):
        return _accept_as_member(home, grant, source)
    if grant.role == ISSUER_ROLE:
        raise IdentityError(path=source, reason="makes a member an issuer, and this home is no member")
    if grant_pin(grant) != pin:
        reason = f"its authority has the pin {grant_pin(grant)}, and not {pin}: it is another mesh's"
        raise AuthenticationError(reason=f"{source}: {reason}; nothing was saved")
    key = load_key(home.identity_dir / PENDING_KEY_FILE)
    identity = _identity(key, grant, grant.authority.encode(), source)
    home.remember_bootstrap(grant.bootstrap[:BOOTSTRAP_MAX], name=identity.name, labels=grant.labels)
    save_identity(identity, home.identity_dir)
    for file in (PENDING_KEY_FILE, PENDING_FILE):
        (home.identity_dir / file).unlink(missing_ok=True)
    return Accepted(identity, is_issuer=False, is_new=True)


def _accept_as_member(home: Home, grant: JoinAnswer, source: str) -> Accepted:
    folder = home.identity_dir
    authority_pem = read_certificate(folder / AUTHORITY_FILE)
    if grant.role != ISSUER_ROLE:
        identity = _identity(load_key(folder / KEY_FILE), grant, authority_pem, source)
        write_atomic(folder / CERTIFICATE_FILE, identity.certificate_pem)
        return Accepted(identity, is_issuer=False, is_new=False)
    held = (folder / ISSUER_KEY_FILE).exists()
    key = load_key(folder / (ISSUER_KEY_FILE if held else PENDING_ISSUER_KEY_FILE))
    try:
        issuer = make_issuer(key, load_pem(grant.certificate.encode()), load_bundle(authority_pem))
        check_valid_at(load_pem(issuer.certificate_pem), utc_now())
        identity = make_identity(
            load_key(folder / KEY_FILE), read_certificate(folder / CERTIFICATE_FILE), authority_pem
        )
    except CertificateFault as fault:
        raise IdentityError(path=source, reason=str(fault)) from None
    # The key comes last: it is what makes this home an issuer's.
    write_atomic(folder / ISSUER_FILE, issuer.certificate_pem)
    if not held:
        _write_key(folder / ISSUER_KEY_FILE, key)
        (folder / PENDING_ISSUER_KEY_FILE).unlink(missing_ok=True)
    return Accepted(identity, is_issuer=True, is_new=False)


def _identity(key: Ed25519PrivateKey, grant: JoinAnswer, authority_pem: bytes, source: str) -> Identity:
    try:
        return make_identity(key, grant.certificate.encode(), authority_pem)
    except CertificateFault as fault:
        raise IdentityError(path=source, reason=str(fault)) from None


def _kind_of(content: bytes) -> str:
    """What somebody gave instead, as far as it can be told."""
    kinds = {
        b"BEGIN CERTIFICATE REQUEST": "a request: it must be signed first, with 'bms sign'",
        b"PRIVATE KEY": "a private key, which belongs to nobody else",
        b"BEGIN CERTIFICATE": "a bare certificate",
        b'"certificate"': "an answer of 'bms sign': it is for 'bms accept'",
    }
    if not content.strip():
        return "an empty file"
    return next((words for mark, words in kinds.items() if mark in content), "something else")
