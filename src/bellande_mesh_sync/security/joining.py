"""Becoming a member: the joiner's half. The other half is admission.py.

The joiner trusts only the public key in its token. It looks at the server's certificate right after
the TLS handshake, and before that it sends nothing. The token's secret itself is never sent.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from typing import NamedTuple

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.config_model import check_labels
from bellande_mesh_sync.errors import (
    AlreadyAMemberError,
    AuthenticationError,
    BellandeMeshError,
    ConfigError,
    ExpiredTokenError,
    InvalidTokenError,
    RequestError,
    TooManyAttemptsError,
    UnreachableError,
    UsedTokenError,
)
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security.admission import BOOTSTRAP_MAX, JoinAnswer, JoinRequest
from bellande_mesh_sync.security.building import check_name
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    check_valid_at,
    der_of,
    load_bundle,
    raw_public_key,
    utc_now,
)
from bellande_mesh_sync.security.chains import member_below
from bellande_mesh_sync.security.identity import (
    Identity,
    has_identity,
    load_identity,
    make_identity,
    new_key,
    save_identity,
)
from bellande_mesh_sync.security.shown import shown_chain
from bellande_mesh_sync.security.tokens import JoinToken, parse_token, proof_of, secret_key

REQUEST_TIMEOUT_S = 15.0
ANSWER_BYTES_MAX = 256 * 1024
_ROUNDS = 2
"""An answer that got lost costs nothing: asking again with the same key counts once."""
_TEXT_LENGTH_MAX = 500
_KNOWN_REFUSALS: dict[str, tuple[type[RequestError], frozenset[str]]] = {
    InvalidTokenError.code: (InvalidTokenError, frozenset({"reason"})),
    ExpiredTokenError.code: (ExpiredTokenError, frozenset({"ago"})),
    UsedTokenError.code: (UsedTokenError, frozenset()),
    TooManyAttemptsError.code: (TooManyAttemptsError, frozenset({"address", "wait_s"})),
}


class Membership(NamedTuple):
    """What a joiner gets: an identity that has been checked, and whom to call first."""

    identity: Identity
    bootstrap: tuple[str, ...]
    labels: dict[str, str]


def join_home(token_text: str, name: str, home: Home) -> Identity:
    """Join and save: the identity, and in node.toml the members to call first and this node's labels.

    The caller holds the home's lock. Nothing is saved unless everything checked out.

    Raises:
        AlreadyAMemberError: the home has an identity. Nothing was sent.
        and what `join` raises.
    """
    if has_identity(home.identity_dir):
        node = load_identity(home.identity_dir).node.hex()
        raise AlreadyAMemberError(home=str(home.path), node=node)
    home.create()
    membership = join(token_text, name)
    home.remember_bootstrap(membership.bootstrap, name=name, labels=membership.labels)
    save_identity(membership.identity, home.identity_dir)
    return membership.identity


def join(token_text: str, name: str, *, timeout_s: float = REQUEST_TIMEOUT_S) -> Membership:
    """Ask the node that issued the token for a certificate, trying each of its addresses.

    Raises:
        InvalidTokenError: the token cannot be read; or the node says that it is not valid.
        ExpiredTokenError, UsedTokenError, TooManyAttemptsError: the node, or the token itself, says so.
        AuthenticationError: who answers is not of the token's mesh. It was sent nothing.
        UnreachableError: no address answers.
    """
    check_name("name", name)
    token = parse_token(token_text)
    token.check_expiry(time.time())
    key = new_key()
    csr = _certificate_request(key)
    failures: dict[str, str] = {}
    impostor: AuthenticationError | None = None
    for _ in range(_ROUNDS):
        for address in token.addresses:
            try:
                answer = _ask(token, address, csr, name, timeout_s)
            except AuthenticationError as error:
                impostor = error
            except (OSError, http.client.HTTPException) as error:
                failures[address] = _reason(error)
            else:
                return _checked_membership(answer, token, key)
    if impostor is not None:
        raise impostor
    reasons = "; ".join(f"{address}: {reason}" for address, reason in failures.items())
    raise UnreachableError(address=", ".join(token.addresses), reason=reasons)


class PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to a node that is recognised by its authority's public key, before anything is sent.

    The ssl module cannot check against a bare public key, so it is told to check nothing, and the
    certificate is checked here. The handshake has then proved that the server holds its key.
    """

    def __init__(self, address: str, token: JoinToken, timeout_s: float) -> None:
        host, port = parse_address(address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(host, port, timeout=timeout_s, context=context)
        self._address, self._token, self._tls = address, token, context
        self.server_certificate_der = b""

    def connect(self) -> None:
        raw = socket.create_connection((self.host, self.port), self.timeout)
        try:
            session = self._tls.wrap_socket(raw)
        except BaseException:
            raw.close()
            raise
        try:
            self.server_certificate_der = self._check(session)
        except BaseException:
            session.close()
            raise
        self.sock = session

    def _check(self, session: ssl.SSLSocket) -> bytes:
        """The server's certificate, if it is of the token's mesh."""
        try:
            chain = shown_chain(session)
            member = member_below(chain, self._token.mesh_id, [self._token.authority_key])
            check_valid_at(member.x509, utc_now())
        except CertificateFault as fault:
            reason = f"{self._address} is not a node of the token's mesh ({fault}); it was told nothing"
            raise AuthenticationError(reason=reason) from None
        return der_of(chain[0])


def _ask(
    token: JoinToken, address: str, csr: x509.CertificateSigningRequest, name: str, timeout_s: float
) -> bytes:
    connection = PinnedConnection(address, token, timeout_s)
    try:
        connection.connect()
        proof = proof_of(
            secret_key(token.secret), connection.server_certificate_der, csr.public_bytes(Encoding.DER)
        )
        csr_pem = csr.public_bytes(Encoding.PEM).decode("ascii")
        body = msgspec.json.encode(JoinRequest(token.token_id, proof.hex(), csr_pem, name))
        connection.request("POST", "/join", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX + 1)
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise _refusal(response.status, content)
    return content


def _refusal(status: int, content: bytes) -> BellandeMeshError:
    """The error that the node answered, as the class it has there."""
    try:
        body = json.loads(content)["error"]
        code, message, detail = str(body["code"]), _printable(body["message"]), dict(body.get("detail") or {})
    except (ValueError, TypeError, KeyError):
        return RequestError(f"the node answered HTTP {status}, without saying why")
    if code in _KNOWN_REFUSALS:
        cls, names = _KNOWN_REFUSALS[code]
        facts = {k: v for k, v in detail.items() if k in names and isinstance(v, str | int | float)}
        return cls(message, **facts)
    return RequestError(f"the node refused ({_printable(code)}): {message}")


def _checked_membership(content: bytes, token: JoinToken, key: Ed25519PrivateKey) -> Membership:
    """AuthenticationError unless the certificate is for our key, from the pinned authority."""
    try:
        answer = msgspec.json.decode(content, type=JoinAnswer)
        authority_pem, certificate_pem = answer.authority.encode("ascii"), answer.certificate.encode("ascii")
        if all(raw_public_key(authority) != token.authority_key for authority in load_bundle(authority_pem)):
            raise CertificateFault("its authority is not the token's")
        member_below(load_bundle(certificate_pem), token.mesh_id, [token.authority_key])
        identity = make_identity(key, certificate_pem, authority_pem)
        bootstrap = answer.bootstrap[:BOOTSTRAP_MAX]
        for address in bootstrap:
            parse_address(address)
        check_labels(answer.labels)
    except (msgspec.MsgspecError, ValueError, ConfigError) as error:  # A CertificateFault is one.
        raise AuthenticationError(reason=f"the node's answer cannot be used: {error}") from None
    return Membership(identity, bootstrap, answer.labels)


def _certificate_request(key: Ed25519PrivateKey) -> x509.CertificateSigningRequest:
    # The names in the certificate are the authority's choice, so the request has none.
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)


def _printable(text: object) -> str:
    """A stranger's text, safe for a terminal."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:_TEXT_LENGTH_MAX])


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or "") or str(error) or type(error).__name__
