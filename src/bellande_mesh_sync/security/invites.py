"""The invitations a node has given out: one small file each, so that `bms invite` needs no running node.

A file holds the SHA-256 of the token's secret, never the secret, and the ids of those who came in.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.config_model import check_labels
from bellande_mesh_sync.errors import ConfigError, InvalidTokenError, UsedTokenError
from bellande_mesh_sync.files import locked, make_private_dir, read_private, write_atomic
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.certificates import ROLES, UNREADABLE
from bellande_mesh_sync.security.guesses import Guesses
from bellande_mesh_sync.security.issuing import AnyIssuer
from bellande_mesh_sync.security.tokens import (
    ADDRESSES_MAX,
    check_expiry,
    make_token,
    proof_of,
    secret_key,
)

USES_MAX = 10_000
EXPIRES_S_MAX = 365 * 86_400
CSR_BYTES_MAX = 8_192
LABELS_BYTES_MAX = 600
"""Of the 1,024 bytes of a member record."""
_KEEP_EXPIRED_S = 7 * 86_400
"""An expired invitation stays this long, so that its holder hears `expired` and not `unknown`."""
_TOKEN_ID = re.compile(r"[0-9a-f]{16}")


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """One invitation, as its file holds it."""

    token_id: str
    secret_hash: str
    role: str
    uses: int
    expires_s: int
    """Seconds since 1970."""
    created_s: int
    labels: dict[str, str] = {}
    """What the member records of those who come in say of them."""
    joined: tuple[str, ...] = ()
    """Node ids let in, in order. A node that asks again, because the answer got lost, is let in again."""


class InviteBook:
    """The invitations in a folder. Safe against other threads and other processes on the same folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._guesses = Guesses(folder / "failures")
        # Takes the place of an invitation that does not exist, so that the time tells nothing.
        self._decoy = msgspec.json.encode(
            Invite(
                token_id="0" * 16,
                secret_hash=secrets.token_hex(32),
                role="observer",
                uses=0,
                expires_s=0,
                created_s=0,
            )
        )

    def create(
        self,
        role: str,
        expires_s: float,
        uses: int,
        addresses: Sequence[str],
        authority: AnyIssuer,
        *,
        labels: Mapping[str, str] | None = None,
        now: float | None = None,
    ) -> str:
        """Make an invitation and return its token, the only copy of the secret.

        Args:
            expires_s: seconds from `now`; up to a year.
            uses: how many nodes may come in with it.
            addresses: where this node serves HTTPS, `host:port`; at least one, the first eight count.
            labels: what newcomers shall say of themselves; up to 600 bytes.
            now: seconds since 1970; None asks the clock.

        Raises:
            ConfigError: one of them is out of range.
        """
        labels = dict(labels or {})
        _check_invite(role, expires_s, uses, addresses)
        check_invited_labels(labels)
        now = time.time() if now is None else now
        token = make_token(
            mesh_id=authority.mesh_id,
            authority_key=authority.public_key,
            expires_s=int(now + expires_s),
            addresses=addresses,
        )
        invite = Invite(
            token_id=token.token_id,
            secret_hash=secret_key(token.secret).hex(),
            role=role,
            uses=uses,
            expires_s=token.expires_s,
            created_s=int(now),
            labels=labels,
        )
        make_private_dir(self._folder)
        self._folder.chmod(0o700)
        self._sweep(now)
        self._write(invite)
        return token.text()

    def redeem(
        self,
        token_id: str,
        proof: bytes,
        csr_pem: bytes,
        server_certificate_der: bytes,
        address: str,
        now: float,
    ) -> Invite:
        """Let the holder of a token's secret in, and return its invitation: the role, the labels.

        The file with the new count is on disk before this returns. Blocking: call it in a thread.

        Args:
            proof: HMAC over our certificate and the request, see tokens.proof_of.
            address: the caller's host; five failures a minute are its share.

        Raises:
            TooManyAttemptsError: too many failures from `address`. Nothing was looked at.
            InvalidTokenError: no such token, or a wrong proof: which of the two is not told.
            ExpiredTokenError, UsedTokenError: the proof was right, but the token's time or uses are over.
        """
        with self._locked():
            self._guesses.check(address, now)
            try:
                node = self._check_proof(token_id, proof, csr_pem, server_certificate_der)
            except InvalidTokenError:
                self._guesses.note(address, now)
                raise
            return self._count_use(token_id, node, now)

    def invites(self) -> list[Invite]:
        """All invitations, oldest first, those used up or expired lately included."""
        found = [self._read(path.stem) for path in self._paths()]
        return sorted((i for i in found if i is not None), key=lambda i: (i.created_s, i.token_id))

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless; whether there was one. Who came in with it stays in."""
        if not _TOKEN_ID.fullmatch(token_id):
            return False
        with self._locked():
            path = self._path(token_id)
            existed = path.exists()
            path.unlink(missing_ok=True)
        return existed

    def _check_proof(self, token_id: str, proof: bytes, csr_pem: bytes, server_der: bytes) -> str:
        """The id of the node that asks, if the proof is right."""
        csr = load_csr(csr_pem)
        invite = self._read(token_id) if _TOKEN_ID.fullmatch(token_id) else None
        known = invite is not None
        if invite is None:
            invite = msgspec.json.decode(self._decoy, type=Invite)
        expected = proof_of(bytes.fromhex(invite.secret_hash), server_der, csr.public_bytes(Encoding.DER))
        if not (hmac.compare_digest(expected, proof) and known):
            raise InvalidTokenError(reason="it is not known here, or its proof is wrong")
        return node_id_of(csr_public_key(csr)).hex()

    def _count_use(self, token_id: str, node: str, now: float) -> Invite:
        invite = self._read(token_id)
        assert invite is not None, "its proof was just checked, under the same lock"
        check_expiry(invite.expires_s, now)
        if node in invite.joined:
            return invite
        if len(invite.joined) >= invite.uses:
            raise UsedTokenError
        self._write(msgspec.structs.replace(invite, joined=(*invite.joined, node)))
        return invite

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        make_private_dir(self._folder)
        return locked(self._folder / "book.lock")

    def _paths(self) -> list[Path]:
        return sorted(p for p in self._folder.glob("*.json") if _TOKEN_ID.fullmatch(p.stem))

    def _path(self, token_id: str) -> Path:
        assert _TOKEN_ID.fullmatch(token_id), "callers check what comes from outside"
        return self._folder / f"{token_id}.json"

    def _read(self, token_id: str) -> Invite | None:
        try:
            return msgspec.json.decode(read_private(self._path(token_id)), type=Invite)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            return None  # A damaged invitation lets nobody in.

    def _write(self, invite: Invite) -> None:
        write_atomic(self._path(invite.token_id), msgspec.json.encode(invite))

    def _sweep(self, now: float) -> None:
        for invite in self.invites():
            if now - invite.expires_s > _KEEP_EXPIRED_S:
                self.revoke(invite.token_id)


def load_csr(csr_pem: bytes) -> x509.CertificateSigningRequest:
    """A request that is signed by its own Ed25519 key; InvalidTokenError for anything else."""
    if len(csr_pem) > CSR_BYTES_MAX:
        raise InvalidTokenError(reason="its certificate request is too large")
    try:
        csr = x509.load_pem_x509_csr(csr_pem)
        csr_public_key(csr)
        is_signed = csr.is_signature_valid
    except (ValueError, *UNREADABLE):
        raise InvalidTokenError(reason="its certificate request cannot be read") from None
    if not is_signed:
        raise InvalidTokenError(reason="its certificate request is not signed by its own key")
    return csr


def csr_public_key(csr: x509.CertificateSigningRequest) -> bytes:
    """The raw Ed25519 key that asks for a certificate; ValueError for another kind."""
    key = csr.public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("not an Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def check_invited_labels(labels: Mapping[str, str]) -> None:
    """ConfigError unless a newcomer's member record can hold these beside its name and addresses."""
    check_labels(labels)
    size = sum(len(text.encode()) for pair in labels.items() for text in pair)
    if size > LABELS_BYTES_MAX:
        reason = f"all labels together take {size} bytes; {LABELS_BYTES_MAX} are allowed"
        raise ConfigError(field="labels", reason=reason)


def _check_invite(role: str, expires_s: float, uses: int, addresses: Sequence[str]) -> None:
    if role not in ROLES:
        raise ConfigError(field="role", reason=f"{role!r} is none of {', '.join(ROLES)}")
    if not 1 <= expires_s <= EXPIRES_S_MAX:
        raise ConfigError(field="expires", reason="between 1 second and 365 days")
    if not 1 <= uses <= USES_MAX:
        raise ConfigError(field="uses", reason=f"between 1 and {USES_MAX}")
    if not addresses:
        raise ConfigError(
            field="addresses", reason="a token needs an HTTPS address of this node; turn HTTPS on"
        )
    for address in addresses[:ADDRESSES_MAX]:
        try:
            parse_address(address)
        except ValueError as error:
            raise ConfigError(field="addresses", reason=str(error)) from None
