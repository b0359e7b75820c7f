"""When a certificate is to be renewed, and how it stands. Pure: the time comes in."""

from __future__ import annotations

import datetime
import enum
from typing import Final

from cryptography import x509

from bellande_mesh_sync.security.building import SKEW

LEFT_RATIO: Final = 1 / 3
"""Renewed when so much of its life is left: of 30 days ten, in which an issuer must be met once."""
JITTER_RATIO: Final = 0.1
"""Of that; members that joined together must not ask together."""
RETRY_RATIO: Final = 0.05
RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 3600.0


class Standing(enum.StrEnum):
    GOOD = "good"
    ENDING = "ending"
    """It should have been renewed by now."""
    EXPIRED = "expired"
    EARLY = "not valid yet"


def life_of(certificate: x509.Certificate) -> datetime.timedelta:
    """How long it was meant to be valid: without the minutes for slow clocks at its start."""
    whole = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return whole - SKEW if whole > SKEW else whole


def renew_at(certificate: x509.Certificate, jitter: float) -> datetime.datetime:
    """When to ask for the next one; `jitter` from -1 to 1, drawn once for each certificate."""
    left = life_of(certificate) * LEFT_RATIO * (1 + JITTER_RATIO * jitter)
    return certificate.not_valid_after_utc - left


def retry_after_s(certificate: x509.Certificate, now: datetime.datetime) -> float:
    """After an attempt that failed: often enough to have twenty more, at most one a second."""
    left_s = (certificate.not_valid_after_utc - now).total_seconds()
    if left_s <= 0:
        return RETRY_S_MAX  # Nobody renews it any more, unless clocks are wrong.
    return min(RETRY_S_MAX, max(RETRY_S_MIN, left_s * RETRY_RATIO))


def standing(certificate: x509.Certificate, now: datetime.datetime) -> Standing:
    if now < certificate.not_valid_before_utc:
        return Standing.EARLY
    if now > certificate.not_valid_after_utc:
        return Standing.EXPIRED
    # The latest moment at which renewal may begin: before that, nobody needs to look.
    return Standing.ENDING if now > renew_at(certificate, -1.0) else Standing.GOOD
