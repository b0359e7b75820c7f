"""A TCP connection of a link, with TLS inside or not; the same on asyncio's loop and on uvloop.

TLS is run here over memory buffers, not by the loop: both loops drop the alert with which OpenSSL explains
a refused certificate, so the refused side would only ever see the connection end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol, cast

READ_BYTES: Final = 256 * 1024
"""What one read may take from the socket."""


class TransportOwner(Protocol):
    """The link above. All calls come from the event loop."""

    def connected(self) -> None:
        """TCP stands. Always the first call."""
        ...

    def secured(self, session: ssl.SSLObject | None) -> None:
        """The connection stands; with TLS, both certificates passed OpenSSL's checks."""
        ...

    def space(self) -> memoryview:
        """Where to put the next received bytes."""
        ...

    def received(self, count: int) -> None:
        """So many bytes were put there."""
        ...

    def turn_ended(self) -> None:
        """All that could be read now was reported."""
        ...

    def ended(self, error: BaseException | None) -> None:
        """No more bytes will come: the peer finished or vanished, or TLS failed. Called at most once, and
        not after `finish` or `abort`."""
        ...

    def gone(self) -> None:
        """The connection is released. Always the last call, and always made once."""
        ...


class LinkTransport(asyncio.BufferedProtocol):
    def __init__(
        self,
        owner: TransportOwner,
        *,
        context: ssl.SSLContext | None,
        server_side: bool,
        buffer_bytes: int,
        shared: memoryview,
    ) -> None:
        """
        Args:
            context: of TLS; None for a plain connection.
            buffer_bytes: high-water mark of the write buffer.
            shared: READ_BYTES of scratch memory. It is used up before a read returns, so all connections
                of a loop can have the same.
        """
        self._owner = owner
        self._shared = shared
        self._buffer_bytes = buffer_bytes
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._session = (
            context.wrap_bio(self._incoming, self._outgoing, server_side=server_side) if context else None
        )
        self._is_secured = False
        self._is_finished = False  # We are done with it: what still arrives is thrown away.
        self._has_ended = False
        self._is_gone = False
        self._transport: asyncio.Transport | None = None
        self._linger: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._is_reading = True
        self.bytes_in = 0
        self.bytes_out = 0

    # -- for the owner

    @property
    def peer_address(self) -> tuple[str, int]:
        if self._transport is None:
            return ("", 0)
        name = self._transport.get_extra_info("peername")
        return (name[0], name[1]) if name else ("", 0)

    @property
    def session(self) -> ssl.SSLObject | None:
        """TLS, in whatever state; None on a plain connection."""
        return self._session

    @property
    def is_secured(self) -> bool:
        """Whether messages can be sent, as far as TLS is concerned."""
        return self._is_secured

    @property
    def is_usable(self) -> bool:
        return self._transport is not None and not self._is_finished and not self._has_ended

    @property
    def queued_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def write(self, *pieces: bytes | memoryview) -> None:
        """Send the pieces in order; nothing happens if the connection is over."""
        if not self.is_usable:
            return
        assert self._transport is not None
        if self._session is None:
            for piece in pieces:
                self.bytes_out += len(piece)
                self._transport.write(piece)
            return
        try:
            for piece in pieces:
                self._session.write(piece)
        except ssl.SSLError as error:
            self._end(error)
            return
        self._send_outgoing()

    async def writable(self) -> None:
        """Wait until the write buffer has drained below its mark, or the connection is over."""
        await self._writable.wait()

    def pause(self) -> None:
        """Stop reading; TCP then slows the peer down."""
        if self.is_usable and self._is_reading:
            assert self._transport is not None
            self._is_reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        if not self._is_reading and self._transport is not None:
            self._is_reading = True
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def finish(self, linger_s: float) -> None:
        """Send what is queued and end the connection, by force after `linger_s` seconds.

        Until the peer ends its side too, what it sends is read and thrown away: closing a socket with
        unread bytes resets it, and a reset destroys the goodbye that is still on its way.
        """
        if self._is_finished:
            return
        self._is_finished = True
        self._writable.set()
        transport = self._transport
        if transport is None or self._is_gone:
            return
        self._linger = asyncio.get_running_loop().call_later(linger_s, transport.abort)
        if transport.is_closing():
            return
        if self._session is not None and self._is_secured:
            with contextlib.suppress(ssl.SSLError):
                self._session.unwrap()  # Writes close_notify; the peer's own is not waited for.
            self._send_outgoing()
        self.resume()
        with contextlib.suppress(OSError, RuntimeError):
            transport.write_eof()

    def abort(self) -> None:
        """End it now; queued bytes are lost."""
        self._is_finished = True
        self._writable.set()
        if self._linger is not None:
            self._linger.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance.
        self._transport = stream
        if self._is_finished:
            stream.abort()
            return
        stream.set_write_buffer_limits(high=self._buffer_bytes)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._owner.connected()
        if self._session is None:
            self._is_secured = True
            self._owner.secured(None)
        else:
            self._shake_hands(self._session)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._session is not None or self._is_finished:
            return self._shared
        return self._owner.space()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        if self._is_finished or self._has_ended:
            return
        session = self._session
        if session is None:
            self._owner.received(nbytes)
            self._owner.turn_ended()
            return
        self._incoming.write(self._shared[:nbytes])
        if self._is_secured or self._shake_hands(session):
            self._decrypt(session)

    def eof_received(self) -> bool:
        self._end(None)
        return False  # The loop closes the transport, after sending what is queued.

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._is_gone = True
        if self._linger is not None:
            self._linger.cancel()
        self._end(exc)
        self._writable.set()
        self._owner.gone()

    # -- TLS

    def _shake_hands(self, session: ssl.SSLObject) -> bool:
        """Go on with the handshake; True when it is done."""
        try:
            session.do_handshake()
        except ssl.SSLWantReadError:
            self._send_outgoing()
            return False
        except ssl.SSLError as error:
            self._send_outgoing()  # The alert that tells the peer why.
            self._end(error)
            return False
        self._send_outgoing()
        self._is_secured = True
        self._owner.secured(session)
        return True

    def _decrypt(self, session: ssl.SSLObject) -> None:
        """Hand over all plaintext there is. TLS gives at most 16 KiB a call."""
        owner = self._owner
        read = cast(Callable[[int, memoryview], int], session.read)  # With a buffer it returns a count.
        failure: BaseException | None = None
        while not self._is_finished:
            space = owner.space()
            room = len(space)
            count = 0
            is_dry = False
            try:
                while count < room:
                    got = read(room - count, space[count:])
                    if not got:
                        raise ssl.SSLZeroReturnError
                    count += got
            except ssl.SSLWantReadError:
                is_dry = True
            except ssl.SSLError as error:
                is_dry, failure = True, error
            if count:
                owner.received(count)
            if is_dry:
                break
        owner.turn_ended()
        if failure is not None:
            self._send_outgoing()
            self._end(None if isinstance(failure, ssl.SSLZeroReturnError) else failure)
        elif self._outgoing.pending:
            self._send_outgoing()  # An answer of TLS itself, to a key update.

    def _send_outgoing(self) -> None:
        if self._outgoing.pending and self._transport is not None and not self._transport.is_closing():
            ciphertext = self._outgoing.read()
            self.bytes_out += len(ciphertext)
            self._transport.write(ciphertext)

    def _end(self, error: BaseException | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        self._writable.set()
        if not self._is_finished:
            self._owner.ended(error)
