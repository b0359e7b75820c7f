"""What a client asks a node about who holds what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.values import KeyPlacement, SpacePlacement

Answered = TypeVar("Answered")


class PlacementClient(ABC):
    @abstractmethod
    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered: ...

    @abstractmethod
    def _post(self, path: str, wanted: type[Answered], **options: Any) -> Answered: ...

    def placement(self) -> list[SpacePlacement]:
        """As `Mesh.placement`."""
        answer = self._get("/v1/placement", dict[str, Any])
        return msgspec.convert(answer["spaces"], list[SpacePlacement])

    def placement_of(self, key: str) -> KeyPlacement:
        """As `Mesh.placement_of`."""
        return self._get(_path_of(key), KeyPlacement)

    def replicate(self, key: str, *, timeout: float = 10.0) -> list[str]:
        """As `Mesh.replicate_data`."""
        params = {"timeout": timeout}
        answer = self._post(_path_of(key), dict[str, Any], params=params, timeout=timeout)
        return list(answer["nodes"])

    def sync_with_peers(self) -> int:
        """As `Mesh.sync_with_peers`."""
        return int(self._post("/v1/sync", dict[str, Any])["peers"])


def _path_of(key: str) -> str:
    return f"/v1/placement/{quote(check_key(key), safe='/')}"
