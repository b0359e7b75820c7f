"""One HTTP connection: uvicorn's protocol on httptools, with the limits it does not have itself.

uvicorn gives back pressure both ways (it stops reading while 64 KiB of a body wait, and `send` waits
while the client does not read) and closes idle connections. It puts no bound on how long or how
large a request's head may be, on how long a refused body is read, or on how many connections one
address opens: that is here.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any, Final, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from bellande_mesh_sync.addresses import is_loopback
from bellande_mesh_sync.api.errors import ErrorBody, encode_json, status_of, text_of
from bellande_mesh_sync.errors import BellandeMeshError, BusyError, UsageError

HEAD_TIMEOUT_S: Final = 10.0
"""From the connection's start, or a request's first byte, to the end of the head."""

HEAD_BYTES_MAX: Final = 64 * 1024
HEADERS_MAX: Final = 128
IDLE_TIMEOUT_S: Final = 15
LINGER_S: Final = 5.0
"""How long a body is read and thrown away after its request was answered (refused, most often).

Closing at once would reset the connection, and the client would lose the answer that says why.
"""

FLUSH_TIMEOUT_S: Final = 60.0
CONNECTIONS_MAX: Final = 512
CONNECTIONS_PER_ADDRESS_MAX: Final = 64
"""For one address that is not loopback."""

_REASONS: Final = {400: b"Bad Request", 503: b"Service Unavailable"}


class Shared(ServerState):
    """What all connections of a node share."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = asyncio.Event()
        self.by_address: dict[str, int] = {}
        self._date_s = 0

    def refresh_date(self) -> None:
        now = int(time.time())
        if now != self._date_s:
            self._date_s = now
            self.default_headers = [(b"date", formatdate(now, usegmt=True).encode())]


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with deadlines and bounds."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = cast(Shared, server_state)
        self._in_head = False
        self._in_body = False
        self._unframed_bytes = 0  # fed since the parser last came to the end of a head or gave us body
        self._head_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None

    # -- the connection --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self._address
        self._shared.by_address[address] = self._shared.by_address.get(address, 0) + 1
        if not is_loopback(address) and self._shared.by_address[address] > CONNECTIONS_PER_ADDRESS_MAX:
            transport.abort()
        elif len(self.connections) > CONNECTIONS_MAX and not self._drop_an_idle_one():
            self._refuse(BusyError(what="the list of HTTP connections", limit=CONNECTIONS_MAX))
        else:
            self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._close_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()
        left = self._shared.by_address.get(self._address, 1) - 1
        if left:
            self._shared.by_address[self._address] = left
        else:
            self._shared.by_address.pop(self._address, None)
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        cycle: RequestResponseCycle | None = (
            self.cycle
        )  # None before the first request, whatever its type says
        return cycle is None or cycle.response_complete

    def abort(self) -> None:
        self.transport.abort()

    def _drop_an_idle_one(self) -> bool:
        for other in self.connections:
            if isinstance(other, LimitedProtocol) and other is not self and other.is_idle:
                other.abort()
                return True
        return False

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else "unknown"

    # -- the head --------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._unframed_bytes > HEAD_BYTES_MAX:
            self._refuse(UsageError(reason=f"a request's head may have {HEAD_BYTES_MAX} bytes"))
            return
        self._unframed_bytes += len(data)
        super().data_received(data)
        self._watch_head()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()
        self.scope["bms.abort"] = self._abort_and_settle  # type: ignore[typeddict-unknown-key]
        self.scope["bms.is_gone"] = self.transport.is_closing  # type: ignore[typeddict-unknown-key]
        self.scope["bms.stopping"] = self._shared.stopping  # type: ignore[typeddict-unknown-key]

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) >= HEADERS_MAX:
            raise ValueError("too many headers")  # httptools turns it into its own error, and that into a 400
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._in_body = False, True
        self._unframed_bytes = 0
        self._shared.refresh_date()
        super().on_headers_complete()

    def _watch_head(self) -> None:
        """Keep the deadline while a head, or a whole first request, is awaited; lift it otherwise."""
        waits = self._in_head or (not self._in_body and self.is_idle)
        if waits and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._end_head)
        elif not waits and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_head(self) -> None:
        self._head_timer = None
        if self.is_idle:
            self.transport.abort()
        else:
            self._watch_head()  # the next request's head may take its time while this one is answered

    # -- the body --------------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        self._unframed_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._unframed_bytes = 0
        super().on_message_complete()
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        # A whole request was refused before its body had come: its connection is as good as new.
        if self.is_idle and not self.transport.is_closing():
            self._start_idle_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._close_timer = self.loop.call_later(LINGER_S, self.transport.close)
        if self.transport.is_closing():
            self._close_timer = self.loop.call_later(FLUSH_TIMEOUT_S, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        # Closing first flushes; a client that does not read what it asked for would hold it for ever.
        self._close_timer = self.loop.call_later(FLUSH_TIMEOUT_S, self.transport.abort)

    def _start_idle_timer(self) -> None:
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    # -- answers without a request ---------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls for bytes that are no HTTP."""
        self._refuse(UsageError(reason=msg))

    def _refuse(self, error: BellandeMeshError) -> None:
        if not self.is_idle:
            self.transport.abort()  # in the midst of an answer there is no room for another
            return
        status = status_of(error)
        body = encode_json(ErrorBody(text_of(error)))
        head = (
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n" % (status, _REASONS[status], len(body))
        )
        self.transport.write(head + body)
        self.transport.close()
        self._close_timer = self.loop.call_later(LINGER_S, self.transport.abort)

    async def _abort_and_settle(self) -> None:
        self.transport.abort()
        await asyncio.sleep(0)  # the loop tells uvicorn, which then does not complain of a short answer
        await asyncio.sleep(0)
