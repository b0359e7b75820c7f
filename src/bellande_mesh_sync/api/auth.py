"""Who may call: a bearer token on everything but a few open paths, and a role for each operation."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.errors import ForbiddenError, TooManyAttemptsError, UnauthorizedError

ROLES: Final = ("observer", "reader", "writer", "admin")
"""From least to most; each may do what those before it may."""

FAILURES_MAX: Final = 20
FAILURE_WINDOW_S: Final = 60.0
ADDRESSES_MAX: Final = 4096

TOKEN_BYTES_MAX: Final = 4096


def check_role(role: str, needed: str) -> None:
    """Raise ForbiddenError unless `role` is `needed` or above. A role nobody here knows may do nothing."""
    if role not in ROLES or ROLES.index(role) < ROLES.index(needed):
        raise ForbiddenError(needed=needed, role=role)


class FailureCounter:
    """Failed attempts by address, so that guessing gets slow answers and a quiet log.

    A right token is never held up: whoever shares an address with a guesser still gets in.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def add(self, address: str) -> None:
        """Count one more; raises TooManyAttemptsError once the address has had its share."""
        now = self._clock()
        since, count = self._failures.pop(address, (now, 0))
        if now - since >= FAILURE_WINDOW_S:
            since, count = now, 0
        self._failures[address] = (since, count + 1)
        if len(self._failures) > ADDRESSES_MAX:
            self._failures.popitem(last=False)
        if count + 1 > FAILURES_MAX:
            raise TooManyAttemptsError(address=address, wait_s=round(since + FAILURE_WINDOW_S - now, 1))


class TokenCheck:
    """Lets requests with a good token through, their role in `scope["bms.role"]`."""

    def __init__(self, app: ASGIApp, mesh: MeshCalls, open_paths: Collection[str]) -> None:
        self._app = app
        self._mesh = mesh
        self._open_paths = frozenset(open_paths)
        self._failures = FailureCounter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["bms.role"] = "" if scope["path"] in self._open_paths else self._role(scope)
        await self._app(scope, receive, send)

    def _role(self, scope: Scope) -> str:
        try:
            return self._mesh.authorize(bearer_token(scope))
        except UnauthorizedError:
            self._failures.add((scope.get("client") or ("unknown", 0))[0])
            raise


def bearer_token(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if not values:
        raise UnauthorizedError(reason="send the header 'Authorization: Bearer TOKEN'")
    scheme, _, token = values[0].partition(b" ")
    if len(values) > 1 or scheme.lower() != b"bearer" or not 0 < len(token) <= TOKEN_BYTES_MAX:
        raise UnauthorizedError(reason="the Authorization header is not 'Bearer TOKEN'")
    # Latin-1 takes any byte, so that what is no token fails in authorize, like any other wrong one.
    return str(token.strip().decode("latin-1"))
