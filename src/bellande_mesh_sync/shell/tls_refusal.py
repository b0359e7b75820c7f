"""Failures of TLS in words: what is wrong with a certificate, the peer's or ours."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Final

from cryptography import x509

from bellande_mesh_sync.security.certificates import CertificateFault, check_valid_at, load_pem, utc_now
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.wire.handshake import Refusal

_ALERTS: Final = {
    "UNKNOWN_CA": "it does not know the authority that issued it (another mesh?)",
    "CERTIFICATE_EXPIRED": "it has expired by the peer's clock, though not by ours: compare them",
    "CERTIFICATE_REVOKED": "it was revoked",
    "CERTIFICATE_REQUIRED": "none was shown",
    "BAD_CERTIFICATE": "it is malformed, or not valid yet by the peer's clock",
    "UNSUPPORTED_CERTIFICATE": "it is not meant for this use",
    "CERTIFICATE_UNKNOWN": "for a reason it does not tell",
    "DECRYPT_ERROR": "its signature does not hold",
}


def tls_refusal(
    error: ssl.SSLError, shown: Sequence[x509.Certificate] = (), own: Identity | None = None
) -> Refusal:
    """What a failure of TLS means, in words. An alert of the peer's counts as its verdict on us.

    Args:
        shown: the peer's certificates, as far as known; the first says by how much its time is missed.
        own: who we are, as what we showed may explain the peer's verdict.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = (shown and _out_of_time(shown[0])) or error.verify_message
        return Refusal("authentication_failed", f"the peer's certificate is refused: {why}")
    reason = error.reason or str(error)
    if "ALERT" in reason:
        for alert, meaning in _ALERTS.items():
            if reason.endswith(alert):
                meaning = (own and _out_of_time(load_pem(own.certificate_pem))) or meaning
                return Refusal("authentication_failed", f"the peer refused our certificate: {meaning}")
        return Refusal("authentication_failed", f"the peer refused the TLS handshake: {_words(reason)}")
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG"):
        return Refusal(
            "authentication_failed", "the other end does not speak TLS; is it a node of this mesh?"
        )
    if reason in ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"):
        return Refusal("authentication_failed", "the peer does not speak TLS 1.3, which links need")
    return Refusal("authentication_failed", f"TLS failed: {_words(reason)}")


def _out_of_time(certificate: x509.Certificate) -> str:
    """By how much it is outside its time; empty if it is not."""
    try:
        check_valid_at(certificate, utc_now())
    except CertificateFault as fault:
        return str(fault)
    return ""


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
