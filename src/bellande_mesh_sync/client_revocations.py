"""The client's calls about nodes that are no members any more, and about keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar

from msgspec import Struct

from bellande_mesh_sync.values import KeyRotation, RevocationView

Answered = TypeVar("Answered")


class _Revoked(Struct, frozen=True):
    revocations: tuple[RevocationView, ...]


class RevocationClient(ABC):
    @abstractmethod
    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered: ...

    @abstractmethod
    def _post(self, path: str, wanted: type[Answered], **options: Any) -> Answered: ...

    def revoke(self, node: str, *, reason: str = "") -> RevocationView:
        """Expel a node for good, by its id, a start of it, or its name."""
        return self._post("/v1/revocations", RevocationView, json={"node": node, "reason": reason})

    def revocations(self) -> tuple[RevocationView, ...]:
        """Who was revoked, and what the node has refused of them since."""
        return self._get("/v1/revocations", _Revoked).revocations

    def rotate_keys(self, what: str = "udp") -> KeyRotation:
        """Make a new key of the node now."""
        return self._post("/v1/keys/rotate", KeyRotation, json={"what": what})
