"""Certificates as people read them: which there are, how long they last, and what is wrong with one."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.certificates import (
    ISSUER_ROLE,
    CertificateFault,
    check_valid_at,
    common_name,
    format_duration,
    load_bundle,
    load_pem,
    parse_member,
    raw_public_key,
)
from bellande_mesh_sync.security.chains import member_of
from bellande_mesh_sync.security.identity import AUTHORITY_FILE, CERTIFICATE_FILE, read_certificate
from bellande_mesh_sync.security.issuing import ISSUER_FILE
from bellande_mesh_sync.security.lifetimes import Standing, standing
from bellande_mesh_sync.values import CertificateCheck, CertificateView

PEM_BYTES_MAX: Final = 64 * 1024
AUTHORITY_ROLE: Final = "authority"
_SHOWN_MAX: Final = 10
"""Certificates of a text that are looked at; a node shows three at most."""


def view_of(
    certificate: x509.Certificate, of: str, now: datetime.datetime, *, is_renewed: bool = False
) -> CertificateView:
    """
    Args:
        of: whose it is to this node: `this node`, `issuer`, `authority` or `peer`.
        is_renewed: whether it is renewed by itself.
    """
    end = certificate.not_valid_after_utc
    return CertificateView(
        of=of,
        name=common_name(certificate),
        node=node_id_of(raw_public_key(certificate)).hex(),
        role=_role_of(certificate, of),
        serial=f"{certificate.serial_number:x}",
        issued_by=_issuer_name(certificate),
        not_before=certificate.not_valid_before_utc.isoformat(),
        not_after=end.isoformat(),
        left_s=round((end - now).total_seconds(), 1),
        standing=str(standing(certificate, now)),
        renewed=is_renewed,
    )


def views_in(
    folder: Path, now: datetime.datetime, *, certificate_path: Path | None = None
) -> list[CertificateView]:
    """Those of an identity's folder, the node's own first. Blocking.

    Raises:
        IdentityError: the node's own, or the authority's, is missing.
        CertificateFault: one of them cannot be read.
    """
    own = load_pem(read_certificate(certificate_path or folder / CERTIFICATE_FILE))
    found = [view_of(own, "this node", now, is_renewed=certificate_path is None)]
    if (folder / ISSUER_FILE).exists():
        found.append(view_of(load_pem(read_certificate(folder / ISSUER_FILE)), "issuer", now))
    authorities = load_bundle(read_certificate(folder / AUTHORITY_FILE))
    return found + [view_of(each, "authority", now) for each in authorities]


def health_of(
    own: x509.Certificate, issuer: x509.Certificate | None, now: datetime.datetime
) -> dict[str, object]:
    """A check: it fails when one is out of its time, and warns when its renewal is late."""
    told, ok, is_late = [], True, False
    for what, certificate in (("this node's certificate", own), ("its right to issue", issuer)):
        if certificate is None:
            continue
        stands = standing(certificate, now)
        ok = ok and stands in (Standing.GOOD, Standing.ENDING)
        is_late = is_late or stands is Standing.ENDING
        told.append(f"{what} {_words(certificate, stands, now)}")
    return {"ok": ok, "detail": "; ".join(told), "warning": is_late}


def check_of(pem: bytes, authorities: Sequence[x509.Certificate], now: datetime.datetime) -> CertificateCheck:
    """What is wrong with a certificate (PEM, an issuer's behind it), as one of a member of this mesh."""
    try:
        chain = load_bundle(pem)[:_SHOWN_MAX]
    except CertificateFault as fault:
        return CertificateCheck(False, (str(fault),), None)
    faults: list[str] = []
    try:
        member_of(chain, authorities)
    except CertificateFault as fault:
        faults.append(str(fault))
    for index, certificate in enumerate(chain):
        try:
            check_valid_at(certificate, now)
        except CertificateFault as fault:
            faults.append(str(fault) if index == 0 else f"certificate {index + 1} of the chain: {fault}")
    return CertificateCheck(not faults, tuple(faults), view_of(chain[0], "", now))


def _words(certificate: x509.Certificate, stands: Standing, now: datetime.datetime) -> str:
    if stands is Standing.EARLY:
        early = format_duration(certificate.not_valid_before_utc - now)
        return f"is valid only in {early}: is the clock right?"
    if stands is Standing.EXPIRED:
        return f"expired {format_duration(now - certificate.not_valid_after_utc)} ago"
    late = "; it should have been renewed by now" if stands is Standing.ENDING else ""
    return f"ends in {format_duration(certificate.not_valid_after_utc - now)}{late}"


def _role_of(certificate: x509.Certificate, of: str) -> str:
    if of in (AUTHORITY_ROLE, ISSUER_ROLE):
        return of
    try:
        return parse_member(certificate).role
    except CertificateFault:
        return ""


def _issuer_name(certificate: x509.Certificate) -> str:
    names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""
