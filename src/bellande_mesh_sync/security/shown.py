"""The certificates that the other end of a TLS connection showed."""

from __future__ import annotations

import ssl
import sys
from typing import Any, Final

from cryptography import x509

from bellande_mesh_sync.security.certificates import load_der

_DER: Final = 2
"""As OpenSSL's binding in Python numbers this encoding."""


def shown_chain(session: ssl.SSLObject | ssl.SSLSocket) -> list[x509.Certificate]:
    """All of them, its own first, as they were sent: nothing is verified. CertificateFault for bad bytes.

    Also of a handshake that failed; but an accepting end knows them only of one that succeeded (OpenSSL 3.0).
    """
    if sys.version_info >= (3, 13):
        return [load_der(der) for der in session.get_unverified_chain()]
    # Python 3.10 to 3.12 have the same one floor below, without a public name.
    beneath: Any = session
    return [load_der(each.public_bytes(_DER)) for each in beneath._sslobj.get_unverified_chain() or ()]
