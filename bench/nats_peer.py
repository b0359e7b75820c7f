"""NATS JetStream KV on loopback: one server with file storage, puts over TLS, and just enough of a client.

A put counts once the server has acknowledged it. It does so before its disk has synced, and there is no
second node: what it promises is less than what we do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellande_mesh_sync.security.authority import found_mesh
from bench.peers import free_port, server

INBOX = b"_INBOX.bench."
BUCKET = {
    "name": "KV_bench",
    "subjects": ["$KV.bench.>"],
    "storage": "file",
    "max_msgs_per_subject": 1,
    "num_replicas": 1,
    "allow_rollup_hdrs": True,
    "deny_delete": True,
    "discard": "new",
}
"""As clients make a bucket."""
READ_BYTES = 1 << 18


@contextlib.contextmanager
def jetstream(root: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """A server with an empty store; its port, and how to meet it."""
    _, identity = found_mesh("bench", "nats")
    certificate, key = root / "nats.crt", root / "nats.key"
    certificate.write_bytes(identity.certificate_pem)
    key.write_bytes(identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # Our certificates name nodes, not hosts.
    context.load_verify_locations(cadata=identity.authority_pem.decode())
    port = free_port()
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(root / "jetstream")]
    with server([*command, "--tls", "--tlscert", str(certificate), "--tlskey", str(key)], port):
        yield port, context


@contextlib.asynccontextmanager
async def bucket(root: Path) -> AsyncIterator[Jet]:
    """A connection to a new server with one empty bucket."""
    with jetstream(root) as (port, context):
        async with Jet(port, context) as jet:
            await jet.ask(b"$JS.API.STREAM.CREATE.KV_bench", json.dumps(BUCKET).encode())
            yield jet


class Jet:
    """Requests and their answers; any number may be under way."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._waiting: dict[bytes, asyncio.Future[bytes]] = {}
        self._count = 0

    async def put(self, key: str, value: bytes) -> None:
        await self.ask(b"$KV.bench." + key.encode(), value)

    async def ask(self, subject: bytes, body: bytes) -> bytes:
        """The answer; RuntimeError if that is an error."""
        self._count += 1
        name = INBOX + str(self._count).encode()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[name] = answer
        self._writer.write(b"PUB %b %b %d\r\n%b\r\n" % (subject, name, len(body), body))
        return await answer

    async def _read(self) -> None:
        buffer = bytearray()
        while piece := await self._reader.read(READ_BYTES):
            buffer += piece
            while (size := self._take(buffer)) > 0:
                del buffer[:size]

    def _take(self, buffer: bytearray) -> int:
        """Deal with what stands first; its length, 0 if that is not all here."""
        end = buffer.find(b"\r\n") + 2
        if end < 2:
            return 0
        line = bytes(buffer[: end - 2])
        if line == b"PING":
            self._writer.write(b"PONG\r\n")
        if not line.startswith(b"MSG "):
            return end
        _, name, _, *_, size = line.split(b" ")
        whole = end + int(size) + 2
        if len(buffer) < whole:
            return 0
        body = bytes(buffer[end : whole - 2])
        answer = self._waiting.pop(name)
        if b'"error"' in body:
            answer.set_exception(RuntimeError(body.decode()))
        else:
            answer.set_result(body)
        return whole

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        await self._reader.readline()  # What the server says of itself; then TLS begins.
        await self._writer.start_tls(self._context)
        hello = {"verbose": False, "pedantic": False, "lang": "python", "version": "0", "protocol": 1}
        self._writer.write(b"CONNECT %b\r\nSUB %b* 1\r\n" % (json.dumps(hello).encode(), INBOX))
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        self._writer.close()
