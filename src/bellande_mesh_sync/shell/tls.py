"""TLS between members: contexts that trust this mesh's authority alone, and who is at the other end.

OpenSSL checks the chain, the dates and the purpose of a certificate during the handshake; which node
it belongs to is checked by `verified_peer`, right after the handshake and before any byte is read.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence

from bellande_mesh_sync.errors import AuthenticationError, ConfigError
from bellande_mesh_sync.security.certificates import (
    CertificateFault,
    MemberCertificate,
    check_valid_at,
    load_bundle,
    utc_now,
)
from bellande_mesh_sync.security.chains import member_of
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.security.shown import shown_chain

ALPN = "bmesh/1"


def server_context(identity: Identity) -> ssl.SSLContext:
    """For links that are accepted: TLS 1.3, and the other end must show a certificate of this mesh."""
    context = _mutual(ssl.PROTOCOL_TLS_SERVER, identity)
    # A resumed session would skip the look at the certificate, which may have expired since.
    context.num_tickets = 0
    return context


def client_context(identity: Identity) -> ssl.SSLContext:
    """For links that are dialled: TLS 1.3, our certificate shown, theirs required to be of this mesh."""
    return _mutual(ssl.PROTOCOL_TLS_CLIENT, identity)


def https_context(identity: Identity) -> ssl.SSLContext:
    """For the HTTPS API: this node's certificate, no certificate asked of the client."""
    context = _tls13(ssl.PROTOCOL_TLS_SERVER, identity)
    context.set_alpn_protocols(["http/1.1"])
    return context


def take_certificate(context: ssl.SSLContext, identity: Identity) -> None:
    """From now on show this certificate, to whoever connects next."""
    with _as_file(identity.certificate_pem + identity.private_key_pem()) as path:
        context.load_cert_chain(path)


def check_ciphers(server: ssl.SSLContext, client: ssl.SSLContext, allowed: Sequence[str]) -> None:
    """ConfigError if these two would agree on another cipher suite; nothing `allowed` means any.

    Python cannot choose among the suites of TLS 1.3, so a handshake in memory shows what OpenSSL chooses.
    """
    if not allowed:
        return
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server),
    )
    for end in (theirs, ours, theirs, ours):
        with contextlib.suppress(ssl.SSLWantReadError):
            end.do_handshake()
    agreed = theirs.cipher()
    chosen = agreed[0] if agreed else "none"
    if chosen not in allowed:
        reason = f"OpenSSL chooses {chosen}; name others by 'Ciphersuites' in the file of OPENSSL_CONF"
        raise ConfigError(field="tls_ciphers", reason=reason)


def verified_peer(
    session: ssl.SSLObject | ssl.SSLSocket, identity: Identity, ciphers: Sequence[str] = ()
) -> MemberCertificate:
    """Who is at the other end of a finished handshake, by its certificate.

    Args:
        ciphers: the suites that a link may use; empty: any.

    Raises:
        AuthenticationError: the other end is not a member of this mesh that speaks our protocol over
            TLS 1.3; the reason says what is wrong. Close the connection.
    """
    if session.version() != "TLSv1.3":
        raise AuthenticationError(reason=f"the peer speaks {session.version()}; TLS 1.3 is required")
    if session.selected_alpn_protocol() != ALPN:
        raise AuthenticationError(reason=f"the peer did not agree to speak {ALPN}")
    cipher = session.cipher()
    if ciphers and (cipher is None or cipher[0] not in ciphers):
        raise AuthenticationError(
            reason=f"the link would use {cipher and cipher[0]}, which tls_ciphers lacks"
        )
    try:
        chain = shown_chain(session)
        if not chain:
            raise CertificateFault("the peer showed no certificate")
        # OpenSSL has done these two; a context made wrongly somewhere must not be the end of them.
        member = member_of(chain, load_bundle(identity.authority_pem))
        check_valid_at(member.x509, utc_now())
    except CertificateFault as fault:
        raise AuthenticationError(reason=str(fault)) from None
    return member


def _mutual(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = _tls13(protocol, identity)
    context.check_hostname = False  # Members are known by key, not by name: see verified_peer.
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(cadata=identity.authority_pem.decode("ascii"))
    context.set_alpn_protocols([ALPN])
    return context


def _tls13(protocol: int, identity: Identity) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    take_certificate(context, identity)
    return context


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path that holds `content` for a moment: the ssl module reads keys from files only.

    On Linux the file is in memory, so the key of a throwaway identity never touches a disk.
    """
    if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
        fd = os.memfd_create("bms-tls", os.MFD_CLOEXEC)
        try:
            os.write(fd, content)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
    else:
        with tempfile.NamedTemporaryFile(prefix="bms-tls-") as file:  # Made with mode 0600.
            file.write(content)
            file.flush()
            yield file.name
