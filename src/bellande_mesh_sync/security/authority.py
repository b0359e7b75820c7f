"""The mesh's own certificate authority: made by `bms init`, used by whoever may let nodes in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellande_mesh_sync.errors import IdentityError
from bellande_mesh_sync.files import locked, make_private_dir, write_atomic
from bellande_mesh_sync.security.building import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    authority_certificate,
    check_name,
    issue_leaf,
)
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    check_valid_at,
    common_name,
    load_bundle,
    load_pem,
    mesh_id_of_key,
    raw_public_key,
    utc_now,
)
from bellande_mesh_sync.security.identity import (
    AUTHORITY_FILE,
    KEY_FILE,
    Identity,
    has_identity,
    load_key,
    make_identity,
    new_key,
    public_bytes,
    save_identity,
)

AUTHORITY_KEY_FILE = "authority.key"


@dataclass(frozen=True, slots=True)
class Authority:
    """A mesh's authority with its private key."""

    mesh_name: str
    mesh_id: bytes
    public_key: bytes
    """Raw Ed25519; what join tokens pin."""
    certificate_pem: bytes
    key: Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def create(cls, mesh_name: str, *, days: int = AUTHORITY_DAYS) -> Authority:
        check_name("mesh", mesh_name)
        key = new_key()
        return cls._of(key, authority_certificate(key, mesh_name, days))

    @classmethod
    def load(cls, identity_dir: Path) -> Authority:
        """The authority in a home's `identity/`.

        Raises:
            IdentityError: this node does not hold the authority's key, or the files are unusable.
        """
        key_path, certificate_path = identity_dir / AUTHORITY_KEY_FILE, identity_dir / AUTHORITY_FILE
        if not key_path.exists():
            reason = "is missing: only the node that made the mesh, or an issuer, can do this; run it there"
            raise IdentityError(path=str(key_path), reason=reason)
        key = load_key(key_path)
        try:
            for certificate in load_bundle(certificate_path.read_bytes()):
                if raw_public_key(certificate) == public_bytes(key):
                    check_valid_at(certificate, utc_now())
                    return cls._of(key, certificate)
        except FileNotFoundError:
            raise IdentityError(path=str(certificate_path), reason="is missing") from None
        except CertificateFault as fault:
            raise IdentityError(path=str(certificate_path), reason=str(fault)) from None
        raise IdentityError(path=str(certificate_path), reason=f"has no certificate for {key_path.name}")

    @classmethod
    def _of(cls, key: Ed25519PrivateKey, certificate: x509.Certificate) -> Authority:
        public_key = public_bytes(key)
        pem = certificate.public_bytes(Encoding.PEM)
        return cls(common_name(certificate), mesh_id_of_key(public_key), public_key, pem, key)

    def save(self, identity_dir: Path) -> None:
        make_private_dir(identity_dir)
        identity_dir.chmod(0o700)
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomic(identity_dir / AUTHORITY_KEY_FILE, pem)
        write_atomic(identity_dir / AUTHORITY_FILE, self.certificate_pem)

    def issue(self, public_key: bytes, *, name: str, role: str, days: float = LEAF_DAYS) -> bytes:
        """A node certificate (PEM) for a raw Ed25519 public key; ConfigError for a bad name or role."""
        return issue_leaf(self, public_key, name=name, role=role, days=days)


def holds_authority(identity_dir: Path) -> bool:
    """Whether the authority's key is in this home."""
    return (identity_dir / AUTHORITY_KEY_FILE).exists()


def found_mesh(mesh_name: str, node_name: str) -> tuple[Authority, Identity]:
    """A new mesh and its first node, an admin. Nothing is saved."""
    authority = Authority.create(mesh_name)
    return authority, new_member(authority, node_name, role="admin")


def new_member(authority: Authority, name: str, *, role: str, days: float = LEAF_DAYS) -> Identity:
    """An identity with a fresh key, issued on the spot."""
    key = new_key()
    certificate_pem = authority.issue(public_bytes(key), name=name, role=role, days=days)
    return make_identity(key, certificate_pem, authority.certificate_pem)


def dev_identity(dev_dir: Path, node_name: str, identity_dir: Path | None = None) -> Identity:
    """An identity of the throwaway mesh that all dev nodes of this user share.

    The first caller makes the authority in `dev_dir`; others at the same moment wait for it.

    Args:
        identity_dir: keep the node's key here, and come back as the same node. None: a fresh one.
    """
    make_private_dir(dev_dir)
    dev_dir.chmod(0o700)
    with locked(dev_dir / "authority.lock"):
        if not (dev_dir / AUTHORITY_KEY_FILE).exists() or not (dev_dir / AUTHORITY_FILE).exists():
            Authority.create("dev").save(dev_dir)
        authority = Authority.load(dev_dir)
    if identity_dir is None:
        return new_member(authority, node_name, role="admin")
    return _kept_dev_identity(authority, node_name, identity_dir)


def _kept_dev_identity(authority: Authority, node_name: str, identity_dir: Path) -> Identity:
    """The key stays, so the node stays itself; the certificate is new at each start."""
    if has_identity(identity_dir):
        mesh_id = mesh_id_of_key(raw_public_key(load_pem((identity_dir / AUTHORITY_FILE).read_bytes())))
        if mesh_id != authority.mesh_id:
            # A real identity must never be replaced because of a flag.
            reason = "belongs to another mesh than this user's dev nodes; choose another home for dev mode"
            raise IdentityError(path=str(identity_dir), reason=reason)
        key = load_key(identity_dir / KEY_FILE)
    else:
        key = new_key()
    certificate_pem = authority.issue(public_bytes(key), name=node_name, role="admin")
    identity = make_identity(key, certificate_pem, authority.certificate_pem)
    save_identity(identity, identity_dir)
    return identity
