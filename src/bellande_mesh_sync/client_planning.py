"""What a client asks a node of the search path."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import quote

import msgspec

from bellande_mesh_sync.client_errors import error_in
from bellande_mesh_sync.client_transfers import lines
from bellande_mesh_sync.errors import UnreachableError
from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.values import Path


class PlanningCalls(ABC):
    api_url: str

    @abstractmethod
    def _stream(self, method: str, path: str, **options: Any) -> AbstractContextManager[Any]: ...

    def ask_path(self, algorithm: str, question: bytes) -> dict[str, Any]:
        """Let the node compute: the answer of `POST /v1/path/ALGORITHM` to a question, which is JSON."""
        name = quote(algorithm, safe="")
        headers = {"content-type": "application/json"}
        with self._stream("POST", f"/v1/path/{name}", content=question, headers=headers) as answer:
            return msgspec.json.decode(answer.read(), type=dict[str, Any])

    def plan(
        self, wish: PlanWish, *, share: str = "", on_progress: Callable[[Path], object] | None = None
    ) -> Path:
        """Let the node plan. As `search_path.plan`; each shorter path is told as it is found.

        Args:
            share: a prefix of keys; plan together with all that plan this scene there.
        """
        with self._stream(
            "POST",
            "/v1/path/plan",
            params={"progress": "true", "share": share},
            content=msgspec.json.encode(wish),
            headers={"content-type": "application/json"},
        ) as answer:
            for line in lines(answer.iter_raw()):
                told = msgspec.json.decode(line, type=dict[str, Any])
                if told["event"] == "done":
                    return msgspec.convert(told["path"], Path)
                if told["event"] == "error":
                    raise error_in(told)
                if told["event"] == "improved" and on_progress is not None:
                    on_progress(msgspec.convert(told["path"], Path))
        raise UnreachableError(address=self.api_url, reason="the node ended before its search did")
