"""What a client asks about certificates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from bellande_mesh_sync.values import CertificateCheck, CertificateView

Answered = TypeVar("Answered")


class CertificateCalls(ABC):
    """The certificates that a node holds and sees."""

    @abstractmethod
    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered: ...

    @abstractmethod
    def _post(self, path: str, wanted: type[Answered], **options: Any) -> Answered: ...

    def certificates(self) -> tuple[CertificateView, ...]:
        """The node's own first, then its right to issue, the authority's, and those its peers showed."""
        return self._get("/v1/certificates", dict[str, tuple[CertificateView, ...]])["certificates"]

    def check_certificate(self, pem: bytes) -> CertificateCheck:
        """What is wrong with a certificate (PEM, its issuer's behind it)."""
        return self._post("/v1/certificates/check", CertificateCheck, content=pem)
