"""One request in hand: what it asks (checked), its body (bounded or streamed), and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from starlette.types import Receive, Scope, Send

from bellande_mesh_sync.api.errors import ClientGoneError, send_json
from bellande_mesh_sync.api.needs import MeshCalls
from bellande_mesh_sync.errors import (
    BodyTooLargeError,
    DeadlineError,
    IncompleteValueError,
    InvalidKeyError,
    NotFoundError,
    UsageError,
)

if TYPE_CHECKING:
    from bellande_mesh_sync.api.operations import Operation

READ_TIMEOUT_S: Final = 30.0
"""A body's next bytes must come within this time."""

WRITE_TIMEOUT_S: Final = 60.0
"""A client must take a piece of the answer (at most 1 MiB) within this time."""

JSON_BYTES_MAX: Final = 1024 * 1024
QUERY_FIELDS_MAX: Final = 32
SEND_BYTES: Final = 256 * 1024
"""Small pieces are gathered up to this size before they are sent: each send costs about the same."""

Wanted = TypeVar("Wanted")
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Answer:
    """A JSON answer that is not simply 200."""

    value: object
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Call:
    """A request and the means to answer it, as every handler gets it."""

    def __init__(
        self, mesh: MeshCalls, operation: Operation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self.mesh = mesh
        self.operation = operation
        self.scope = scope
        self.receive = receive
        self._send = send

    # -- what it asks ----------------------------------------------------------------------------

    @cached_property
    def headers(self) -> dict[str, str]:
        """By lower-case name; a repeated header's values are joined by commas."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in self.scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return headers

    @property
    def address(self) -> str:
        """The client's IP address."""
        return str((self.scope.get("client") or ("unknown", 0))[0])

    @property
    def is_https(self) -> bool:
        return bool(self.scope["scheme"] == "https")

    def query(self, wanted: type[Wanted]) -> Wanted:
        """The query string as the Struct `wanted`. Unknown, repeated and unfit fields are refused."""
        try:
            text = self.scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX)
            if len(dict(pairs)) < len(pairs):
                raise UsageError(reason="the query: a field is repeated")
            return msgspec.convert(dict(pairs), wanted, strict=False)
        except ValueError as error:  # not UTF-8, too many fields, or msgspec's ValidationError
            raise UsageError(reason=f"the query: {error}") from None

    def path_rest(self) -> str:
        """The part of the path from the operation's `{` on, up to what follows its `}`, percent-decoded once.

        Taken from the raw path: the server's own decoding turns bytes that are not UTF-8 into
        replacement characters, and so two different URLs into one key.
        """
        prefix = self.operation.path.partition("{")[0].encode()
        suffix = self.operation.path.rpartition("}")[2].encode()
        raw_path: bytes = self.scope["raw_path"]
        if not (raw_path.startswith(prefix) and raw_path.endswith(suffix)):
            raise NotFoundError(what="route", name=self.scope["path"])
        raw = unquote_to_bytes(raw_path[len(prefix) : len(raw_path) - len(suffix)])
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InvalidKeyError(key=raw.decode("latin-1"), reason="it is not valid UTF-8") from None

    # -- its body --------------------------------------------------------------------------------

    @property
    def body_size(self) -> int | None:
        """What Content-Length says; None when the body comes in HTTP's own chunks."""
        text = self.headers.get("content-length")
        return int(text) if text is not None else None

    async def pieces(self, key: str = "") -> AsyncIterator[bytes]:
        """The body as it comes. Raises IncompleteValueError if it breaks off or stalls."""
        more = True
        while more:
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    message = await self.receive()
            except TimeoutError:
                raise IncompleteValueError(
                    f"no bytes came for {READ_TIMEOUT_S:g} s; nothing was written under {key!r}", key=key
                ) from None
            if message["type"] != "http.request":
                raise IncompleteValueError(key=key)
            more = message.get("more_body", False)
            if body := message.get("body", b""):
                yield body

    async def body(self, limit: int, key: str = "") -> bytes:
        """The whole body; BodyTooLargeError as soon as it is known to exceed `limit` bytes."""
        too_large = BodyTooLargeError(what=f"the body of {self.operation.title}", limit=limit)
        if (self.body_size or 0) > limit:
            raise too_large
        parts, size = [], 0
        async for piece in self.pieces(key):
            parts.append(piece)
            size += len(piece)
            if size > limit:
                raise too_large
        return b"".join(parts)

    async def json(self, wanted: type[Wanted], limit: int = JSON_BYTES_MAX) -> Wanted:
        """The body as the Struct `wanted`."""
        body = await self.body(limit)
        try:
            return msgspec.json.decode(body, type=wanted)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UsageError(reason=f"the body: {error}") from None
        except RecursionError:
            raise UsageError(reason="the body: JSON that deep is not allowed") from None

    # -- its answer ------------------------------------------------------------------------------

    async def answer(self, answer: object) -> None:
        if isinstance(answer, Answer):
            await send_json(self._send, answer.status, answer.value, list(answer.headers))
        else:
            await send_json(self._send, 200, answer)

    async def begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Start an answer whose body follows by `write` and `finish`."""
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._write({"type": "http.response.start", "status": status, "headers": raw})

    async def write(self, body: bytes) -> None:
        await self._write({"type": "http.response.body", "body": body, "more_body": True})

    async def finish(self, body: bytes = b"") -> None:
        await self._write({"type": "http.response.body", "body": body, "more_body": False})

    async def write_all(self, pieces: AsyncIterable[bytes]) -> None:
        """Send the pieces, small ones gathered, and finish."""
        waiting: list[bytes] = []
        size = 0
        async for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= SEND_BYTES:
                await self.write(waiting[0] if len(waiting) == 1 else b"".join(waiting))
                waiting, size = [], 0
        await self.finish(b"".join(waiting))

    async def _write(self, message: dict[str, Any]) -> None:
        # uvicorn swallows what is sent after the client has left; without this check a large value
        # would be read to its end for nobody.
        is_gone = self.scope.get("bms.is_gone")
        if is_gone is not None and is_gone():
            raise ClientGoneError
        try:
            async with asyncio.timeout(WRITE_TIMEOUT_S):
                await self._send(message)
        except TimeoutError:
            raise DeadlineError(what="the client taking the answer", timeout_s=WRITE_TIMEOUT_S) from None
