"""A node's own key and certificate: kept on disk, checked when loaded."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from bellande_mesh_sync.errors import IdentityError, NotAMemberError
from bellande_mesh_sync.files import make_private_dir, read_private, write_atomic
from bellande_mesh_sync.ids import PUBLIC_KEY_BYTES, NodeId
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    MemberCertificate,
    check_valid_at,
    common_name,
    load_bundle,
    load_pem,
    parse_member,
    utc_now,
)
from bellande_mesh_sync.security.chains import member_of

KEY_FILE = "node.key"
CERTIFICATE_FILE = "node.crt"
AUTHORITY_FILE = "authority.crt"
_PUBLIC_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """One node as it proves itself to others. All names come from its certificates."""

    node: NodeId
    public_key: bytes
    """Raw Ed25519, 32 bytes."""
    name: str
    role: str
    mesh_id: bytes
    mesh_name: str
    certificate_pem: bytes
    """This node's, and its issuer's if that is not the authority."""
    authority_pem: bytes
    """The mesh's authority; several while one is being replaced. The first names the mesh."""
    not_after: datetime.datetime
    key: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """Ed25519 over `message`; 64 bytes."""
        return self.key.sign(message)

    def private_key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the Ed25519 signature holds. Never raises: all three may come from a stranger."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def make_identity(
    key: Ed25519PrivateKey,
    certificate_pem: bytes,
    authority_pem: bytes,
    *,
    now: datetime.datetime | None = None,
) -> Identity:
    """Put the parts together; CertificateFault unless they fit each other and are valid at `now`."""
    authorities = load_bundle(authority_pem)
    chain = load_bundle(certificate_pem)
    _check_key_fits(key, parse_member(chain[0]))
    member = member_of(chain, authorities)
    check_valid_at(member.x509, now or utc_now())
    return Identity(
        node=member.node,
        public_key=member.public_key,
        name=member.name,
        role=member.role,
        mesh_id=member.mesh_id,
        mesh_name=common_name(authorities[0]),
        certificate_pem=certificate_pem,
        authority_pem=authority_pem,
        not_after=member.not_after,
        key=key,
    )


def load_identity(
    identity_dir: Path, *, certificate_path: Path | None = None, key_path: Path | None = None
) -> Identity:
    """Load and check the identity in `identity_dir`; the two paths stand in for its files if given.

    Raises:
        NotAMemberError: there is none.
        IdentityError: a file is missing, damaged, readable by others, expired, or does not fit.
    """
    certificate_path = certificate_path or identity_dir / CERTIFICATE_FILE
    key_path = key_path or identity_dir / KEY_FILE
    authority_path = identity_dir / AUTHORITY_FILE
    if not certificate_path.exists() and not key_path.exists():
        raise NotAMemberError(home=str(identity_dir.parent))
    key = load_key(key_path)
    certificate_pem, authority_pem = read_certificate(certificate_path), read_certificate(authority_path)
    for path, pem, load in (
        (certificate_path, certificate_pem, load_pem),
        (authority_path, authority_pem, load_bundle),
    ):
        try:
            load(pem)
        except CertificateFault as fault:
            raise IdentityError(path=str(path), reason=str(fault)) from None
    try:
        return make_identity(key, certificate_pem, authority_pem)
    except CertificateFault as fault:
        raise IdentityError(path=str(certificate_path), reason=str(fault)) from None


def save_identity(identity: Identity, identity_dir: Path) -> None:
    """Write it for this user only. The certificate comes last: without it there is no identity yet."""
    make_private_dir(identity_dir)
    identity_dir.chmod(0o700)
    write_atomic(identity_dir / KEY_FILE, identity.private_key_pem())
    write_atomic(identity_dir / AUTHORITY_FILE, identity.authority_pem)
    write_atomic(identity_dir / CERTIFICATE_FILE, identity.certificate_pem)


def has_identity(identity_dir: Path) -> bool:
    return (identity_dir / CERTIFICATE_FILE).exists()


def new_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw public half, 32 bytes."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def load_key(path: Path) -> Ed25519PrivateKey:
    """Read a private key; IdentityError if it is missing, damaged, or others can read it."""
    try:
        pem = read_private(path)
    except FileNotFoundError:
        raise IdentityError(path=str(path), reason="is missing") from None
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IdentityError(path=str(path), reason=f"holds no readable private key: {error}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(path=str(path), reason="holds a key of another kind than Ed25519")
    return key


def read_certificate(path: Path) -> bytes:
    """A file that anybody may read; IdentityError if it is missing or cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_PUBLIC_BYTES_MAX)
    except FileNotFoundError:
        raise IdentityError(path=str(path), reason="is missing") from None
    except OSError as error:
        raise IdentityError(path=str(path), reason=f"cannot be read: {error.strerror}") from None


def _check_key_fits(key: Ed25519PrivateKey, member: MemberCertificate) -> None:
    if public_bytes(key) != member.public_key:
        raise CertificateFault("the certificate belongs to another private key than the one beside it")
