"""Errors as HTTP: which status a code has, and one outermost layer that turns every failure into JSON."""

from __future__ import annotations

import logging
import math
import secrets
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bellande_mesh_sync import errors as tree
from bellande_mesh_sync.errors import BellandeMeshError, InternalError

log = logging.getLogger("bellande_mesh_sync.api")

# The nearest class in an error's ancestry decides.
STATUS_OF: Final[dict[type[BellandeMeshError], int]] = {
    BellandeMeshError: 500,
    tree.UsageError: 400,
    tree.NotRunningError: 503,
    tree.UnsupportedError: 501,
    tree.MissingExtraError: 501,
    tree.MessageTooLargeError: 413,
    tree.BodyTooLargeError: 413,
    tree.QuestionTooLargeError: 413,
    tree.InvalidRangeError: 416,
    tree.MethodNotAllowedError: 405,
    tree.RequestError: 400,
    tree.NotFoundError: 404,
    tree.HistoryGoneError: 410,
    tree.CursorGoneError: 410,
    tree.NoPathError: 422,
    tree.ReservedError: 409,
    tree.ConflictError: 412,
    tree.StillMemberError: 409,
    tree.ConflictLimitError: 409,
    tree.AckTimeoutError: 202,  # the write is kept: accepted, and not yet done
    tree.ChunkMissingError: 503,
    tree.UnauthorizedError: 401,
    tree.ForbiddenError: 403,
    tree.InvalidTokenError: 403,
    tree.ExpiredTokenError: 403,
    tree.UsedTokenError: 403,
    tree.TooManyAttemptsError: 429,
    tree.BusyError: 503,
    tree.PeerError: 502,
    tree.TransportError: 502,
    tree.OwnersUnreachableError: 503,
    tree.DeadlineError: 504,
    tree.DiskFullError: 507,
    tree.StoreUnavailableError: 503,
}


class ClientGoneError(Exception):
    """The client closed the connection while we were answering: nothing to tell, and nobody to tell it to."""


class ErrorText(msgspec.Struct, frozen=True):
    code: str
    message: str
    detail: dict[str, Any] = {}


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every answer that is an error."""

    error: ErrorText


def status_of(error: BellandeMeshError) -> int:
    return next(STATUS_OF[ancestor] for ancestor in type(error).__mro__ if ancestor in STATUS_OF)


def text_of(error: BellandeMeshError) -> ErrorText:
    return ErrorText(error.code, str(error), error.facts)


def encode_json(value: object) -> bytes:
    """JSON; a fact that has no JSON form (a path, a set) becomes its text."""
    return msgspec.json.encode(value, enc_hook=str)


def headers_of(error: BellandeMeshError) -> list[tuple[bytes, bytes]]:
    """The headers that HTTP wants beside some errors."""
    match error:
        case tree.UnauthorizedError():
            return [(b"www-authenticate", b"Bearer")]
        case tree.MethodNotAllowedError():
            return [(b"allow", str(error.facts.get("allowed", "")).encode("latin-1", "replace"))]
        case tree.InvalidRangeError():
            return [(b"content-range", b"bytes */%d" % int(error.facts.get("size", 0)))]
        case tree.TooManyAttemptsError():
            return [(b"retry-after", b"%d" % math.ceil(error.facts.get("wait_s", 1)))]
        case tree.BusyError():
            return [(b"retry-after", b"1")]
        case _:
            return []


async def send_json(
    send: Send, status: int, value: object, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = encode_json(value)
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: BellandeMeshError) -> None:
    await send_json(send, status_of(error), ErrorBody(text_of(error)), headers_of(error))


class ErrorGuard:
    """The outermost layer. Whatever goes wrong inside becomes one JSON error, never a traceback.

    When the answer had already begun, nothing can be said any more: the connection is cut, so that
    the client sees an incomplete answer rather than a short one that looks whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched_send)
        except ClientGoneError:
            log.debug("%s %r: the client went away", scope["method"], scope["path"])
        except Exception as raised:  # noqa: BLE001  the last line: a fault of ours must not leave as a traceback
            error = self._explain(raised, scope)
            if not started:
                await send_error(send, error)
                return
            log.warning("%s %r was cut off: %s", scope["method"], scope["path"], error)
            if "bms.abort" in scope:
                await scope["bms.abort"]()

    def _explain(self, raised: Exception, scope: Scope) -> BellandeMeshError:
        if isinstance(raised, BellandeMeshError):
            return raised
        incident = secrets.token_hex(6)
        log.error("incident %s: %s %r", incident, scope["method"], scope["path"], exc_info=raised)
        return InternalError(incident=incident)
