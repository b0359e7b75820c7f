"""A line to a server that can be cut at chosen moments."""

from __future__ import annotations

import contextlib
import socket
import threading


class CutLine:
    """A TCP proxy on loopback.

    `cut_when_asked(b"COMMIT", delivered=True)` hands that piece on to the server, and never its
    answer; with `delivered=False` not even the piece. New connections work again.
    """

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._word = b""
        self._delivered = False
        self._is_refusing = False
        self._answered = threading.Event()
        self.cuts = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut_when_asked(self, word: bytes, *, delivered: bool) -> None:
        self._word, self._delivered = word, delivered

    def refuse_new(self) -> None:
        """Take no new connections."""
        self._is_refusing = True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_refusing:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(self._target)
                except OSError:
                    client.close()
                    continue
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._back, args=(server, client), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), client, server:
            while piece := client.recv(1 << 16):
                self._answered.clear()
                if self._word and self._word in piece:
                    self._word = b""
                    client.shutdown(socket.SHUT_RDWR)  # First, so that no answer gets through.
                    if self._delivered:
                        server.sendall(piece)
                        server.shutdown(socket.SHUT_WR)
                        self._answered.wait(10)
                    self.cuts += 1
                    server.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(piece)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := server.recv(1 << 16):
                client.sendall(piece)
        self._answered.set()
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
