"""Certificates over HTTP: those that a node holds and sees, and what is wrong with any one."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bellande_mesh_sync.api.calls import Call
from bellande_mesh_sync.api.operations import OCTETS, Operation
from bellande_mesh_sync.security.inspection import PEM_BYTES_MAX
from bellande_mesh_sync.values import CertificateCheck, CertificateView


class Certificates(Struct, frozen=True):
    certificates: tuple[CertificateView, ...]


async def list_certificates(call: Call) -> Certificates:
    """The node's own, its right to issue if it has one, the authority's, and those its peers showed."""
    return Certificates(tuple(await call.mesh.certificates()))


async def check_certificate(call: Call) -> CertificateCheck:
    """What is wrong with a certificate, and by how much. The body is PEM, its issuer's behind it."""
    return await call.mesh.validate_certificate(await call.body(PEM_BYTES_MAX))


OPERATIONS: Final = (
    Operation(
        "GET", "/v1/certificates", list_certificates, "List certificates", "reader", answer=Certificates
    ),
    Operation(
        "POST",
        "/v1/certificates/check",
        check_certificate,
        "Check a certificate",
        "reader",
        body_media=OCTETS,
        answer=CertificateCheck,
    ),
)
