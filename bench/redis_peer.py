"""Redis on loopback: a live replica, and the full resync of an empty one. In memory, and not encrypted."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.measure import Report
from bench.meshes import fresh_folder
from bench.peers import START_SECONDS_MAX, free_port, is_there, poll, server

SYNC_SECONDS_MAX = 300.0
PIPELINE = 1_000


def replication(report: Report, runs: int, count: int, value_bytes: int) -> list[float]:
    """Records a second by pipelined SETs and one WAIT for a live replica; empty if there is no Redis."""
    if not is_there(report, "redis-server"):
        return []
    values = [_replicate_once(count, value_bytes) for _ in range(runs)]
    report.add("Redis, one replica (memory, plaintext)", "records/s", values, "peer")
    return values


def _replicate_once(count: int, value_bytes: int) -> float:
    with fresh_folder() as root, _redis(root / "a") as primary, _redis(root / "b") as replica:
        _follow(replica, primary)
        with RedisLink(primary) as link:
            began = time.perf_counter()
            _fill(link, count, value_bytes)
            link.ask(_resp(b"WAIT", b"1", b"60000"))
            return count / (time.perf_counter() - began)


class FullPrimary:
    """A primary that holds `count` records, for empty replicas to be synced from."""

    def __init__(self, count: int, value_bytes: int) -> None:
        self._count = count
        self._value_bytes = value_bytes

    @contextlib.contextmanager
    def running(self) -> Iterator[FullPrimary]:
        with fresh_folder() as self._root, _redis(self._root / "primary") as self._port:
            with RedisLink(self._port) as link:
                _fill(link, self._count, self._value_bytes)
            yield self

    def resync(self) -> float:
        """Seconds from REPLICAOF until an empty replica has all records."""
        with fresh_folder() as root, _redis(root / "replica") as replica:
            began = time.perf_counter()
            _follow(replica, self._port, self._count)
            return time.perf_counter() - began


def _follow(replica: int, primary: int, count: int = 0) -> None:
    """Make it a replica; return when it is up to date with that many records."""
    with RedisLink(replica) as link:
        link.ask(_resp(b"REPLICAOF", b"127.0.0.1", str(primary).encode()))

        def is_level() -> bool:
            is_up = b"master_link_status:up" in link.ask(_resp(b"INFO", b"replication"))
            return is_up and int(link.ask(_resp(b"DBSIZE")).strip(b":\r\n")) >= count

        poll(is_level, SYNC_SECONDS_MAX if count else START_SECONDS_MAX)


def _fill(link: RedisLink, count: int, value_bytes: int) -> None:
    value = os.urandom(value_bytes // 2).hex().encode()
    for start in range(0, count, PIPELINE):
        numbers = range(start, min(start + PIPELINE, count))
        link.send([_resp(b"SET", b"k%d" % number, value) for number in numbers])


@contextlib.contextmanager
def _redis(folder: Path) -> Iterator[int]:
    folder.mkdir()
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with server([*command, "--repl-diskless-sync-delay", "0"], port):
        yield port


class RedisLink:
    """Just enough of the protocol for replies of one line or one bulk text."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))

    def send(self, commands: Sequence[bytes]) -> None:
        """Send a pipeline and read as many one-line replies."""
        self._socket.sendall(b"".join(commands))
        missing = len(commands)
        while missing > 0:
            missing -= self._socket.recv(1 << 18).count(b"\n")

    def ask(self, command: bytes) -> bytes:
        self._socket.sendall(command)
        reply = self._socket.recv(1 << 20)
        while not reply.endswith(b"\r\n"):
            reply += self._socket.recv(1 << 20)
        return reply

    def __enter__(self) -> RedisLink:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()


def _resp(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
