"""Letting a newcomer in: the half of a node that signs certificates; see joining.py."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bellande_mesh_sync.errors import ConfigError, UnsupportedError, UsageError
from bellande_mesh_sync.security.building import LEAF_DAYS, check_name
from bellande_mesh_sync.security.certificates import der_of, load_pem
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.security.invites import CSR_BYTES_MAX, InviteBook, csr_public_key, load_csr
from bellande_mesh_sync.security.issuing import AnyIssuer, can_issue, load_issuer

INVITES_FOLDER = "invites"
BOOTSTRAP_MAX = 16
_PROOF = re.compile(r"[0-9a-f]{64}")


class JoinRequest(msgspec.Struct, frozen=True):
    """The body of `POST /join`."""

    token_id: str
    proof: str
    """HMAC-SHA256 in hex, see tokens.proof_of."""
    csr: str
    """PEM."""
    name: str


class JoinAnswer(msgspec.Struct, frozen=True):
    certificate: str
    """PEM, as `authority`."""
    authority: str
    mesh_name: str
    role: str
    bootstrap: tuple[str, ...]
    labels: dict[str, str] = {}
    """What the newcomer is asked to say of itself."""


@dataclass(frozen=True, slots=True)
class JoinDesk:
    """Answers join requests on a node that holds the authority's key, or an issuer's."""

    identity: Identity
    identity_dir: Path
    book: InviteBook
    bootstrap: Callable[[], Sequence[str]]
    """Addresses of members a newcomer may call first, as `host:port`."""
    days: float = LEAF_DAYS
    """How long the certificates of newcomers are valid."""

    @classmethod
    def open(
        cls, identity: Identity, identity_dir: Path, bootstrap: Callable[[], Sequence[str]], *,
        days: float = LEAF_DAYS,
    ) -> JoinDesk:  # fmt: skip
        return cls(identity, identity_dir, InviteBook(identity_dir / INVITES_FOLDER), bootstrap, days)

    def invite(
        self, *, role: str, expires_s: float, uses: int, addresses: Sequence[str],
        labels: Mapping[str, str] | None = None,
    ) -> str:  # fmt: skip
        """A join token, see InviteBook.create; UnsupportedError if this node lets nobody in."""
        return self.book.create(role, expires_s, uses, addresses, self._authority(), labels=labels)

    def handle_join_request(
        self, body: dict[str, Any], address: str, *, now: float | None = None
    ) -> dict[str, Any]:
        """Check the proof in `body` and issue a certificate. Blocking: call it in a thread.

        Args:
            body: the decoded JSON of `POST /join`.
            address: the caller's host, for the count of failures.

        Raises:
            UsageError: the body is malformed. Not counted as a guess.
            InvalidTokenError, ExpiredTokenError, UsedTokenError, TooManyAttemptsError: as the names say.
            UnsupportedError: this node signs no certificates.
        """
        request = _read_request(body)
        authority = self._authority()
        csr_pem = request.csr.encode()
        server_der = der_of(load_pem(self.identity.certificate_pem))
        proof = bytes.fromhex(request.proof)
        invite = self.book.redeem(
            request.token_id, proof, csr_pem, server_der, address, time.time() if now is None else now
        )
        public_key = csr_public_key(load_csr(csr_pem))
        certificate_pem = authority.issue(public_key, name=request.name, role=invite.role, days=self.days)
        answer = JoinAnswer(
            certificate=certificate_pem.decode("ascii"),
            authority=self.identity.authority_pem.decode("ascii"),
            mesh_name=authority.mesh_name,
            role=invite.role,
            bootstrap=tuple(self.bootstrap())[:BOOTSTRAP_MAX],
            labels=invite.labels,
        )
        return dict(msgspec.to_builtins(answer))

    def _authority(self) -> AnyIssuer:
        if not can_issue(self.identity_dir):
            raise UnsupportedError(
                what="letting nodes in here (it takes the authority's key, or an issuer's)"
            )
        return load_issuer(self.identity_dir)


def _read_request(body: dict[str, Any]) -> JoinRequest:
    try:
        request = msgspec.convert(body, JoinRequest)
    except msgspec.ValidationError as error:
        raise UsageError(reason=f"the join request is malformed: {error}") from None
    if len(request.csr) > CSR_BYTES_MAX or not request.csr.isascii():
        raise UsageError(reason="the join request is malformed: csr is no PEM of an acceptable size")
    if not _PROOF.fullmatch(request.proof):
        raise UsageError(reason="the join request is malformed: proof is not 64 hex digits")
    try:
        check_name("name", request.name)
    except ConfigError as error:
        raise UsageError(reason=f"the join request is malformed: {error}") from None
    return request
