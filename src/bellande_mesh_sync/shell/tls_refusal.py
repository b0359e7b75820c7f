"""Failures of TLS in words: what is wrong with a certificate, the peer's or ours."""

from __future__ import annotations

import ssl
from typing import Final

from bellande_mesh_sync.wire.handshake import Refusal

_ALERTS: Final = {
    "UNKNOWN_CA": "it does not know the authority that issued it (another mesh?)",
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it was revoked",
    "CERTIFICATE_REQUIRED": "none was shown",
    "BAD_CERTIFICATE": "it is malformed",
    "UNSUPPORTED_CERTIFICATE": "it is not meant for this use",
    "CERTIFICATE_UNKNOWN": "for a reason it does not tell",
    "DECRYPT_ERROR": "its signature does not hold",
}


def tls_refusal(error: ssl.SSLError) -> Refusal:
    """What a failure of TLS means, in words. An alert of the peer's counts as its verdict on us."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refusal("authentication_failed", f"the peer's certificate is refused: {error.verify_message}")
    reason = error.reason or str(error)
    if "ALERT" in reason:
        for alert, meaning in _ALERTS.items():
            if reason.endswith(alert):
                return Refusal("authentication_failed", f"the peer refused our certificate: {meaning}")
        return Refusal("authentication_failed", f"the peer refused the TLS handshake: {_words(reason)}")
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG"):
        return Refusal(
            "authentication_failed", "the other end does not speak TLS; is it a node of this mesh?"
        )
    return Refusal("authentication_failed", f"TLS failed: {_words(reason)}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
