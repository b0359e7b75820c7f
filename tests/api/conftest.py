"""A served mesh double: the real listeners on a loop of their own, so that tests are plain clients."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import httpx
import pytest
import uvloop

from bellande_mesh_sync.api.servers import HttpServers
from bellande_mesh_sync.client import Client

from .memory_mesh import MemoryMesh

Result = TypeVar("Result")


class Served:
    """A MemoryMesh behind HttpServers, in a thread with an event loop."""

    def __init__(self) -> None:
        self.mesh = MemoryMesh()
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.servers = self.run(self._start())
        self.url = f"http://{self.servers.http_address}"

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def call(self, work: Callable[[], Result]) -> Result:
        async def do() -> Result:
            return work()

        return self.run(do())

    async def _start(self) -> HttpServers:
        servers = HttpServers(self.mesh)
        await servers.start()
        return servers

    def stop(self) -> None:
        self.run(self.servers.stop())

    def close(self) -> None:
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def client(self, role: str = "admin") -> Client:
        return Client(self.url, f"{role}-token" if role else "")

    def http(self, role: str = "admin") -> httpx.Client:
        headers = {"authorization": f"Bearer {role}-token"} if role else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False)

    def connect(self) -> socket.socket:
        host, _, port = self.servers.http_address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout=20)

    def raw(self, request: bytes) -> bytes:
        """Send bytes as they are, and read until the server closes or the answer is whole."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    answer = b""
    while piece := connection.recv(65536):
        answer += piece
    return answer


def wait_until(question: Callable[[], object], within_s: float = 10.0) -> None:
    """Ask until it is true; fails at the deadline."""
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.close()


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with served.client() as client:
        yield client


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    with served.http() as http:
        yield http
