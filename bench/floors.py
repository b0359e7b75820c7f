"""What the machine gives at best, and peers where they are installed, measured in the same run."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bellande_mesh_sync.security.authority import found_mesh
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.shell.tls import client_context, server_context
from bench.measure import Report, percentile
from bench.meshes import fresh_folder
from demo.story import make_blob

TLS_MIB = 512
START_SECONDS_MAX = 10.0


def sqlite_append(report: Report, runs: int, rows: int, value_bytes: int) -> None:
    """Rows appended to SQLite in key order, 1,000 a transaction, each transaction synced."""

    def once() -> float:
        value = os.urandom(value_bytes)
        with fresh_folder() as root, contextlib.closing(sqlite3.connect(root / "floor.db")) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, value BLOB)")
            began = time.perf_counter()
            for start in range(0, rows, 1000):
                with database:
                    database.executemany(
                        "INSERT INTO rows VALUES (?, ?)", ((start + i, value) for i in range(1000))
                    )
            return rows / (time.perf_counter() - began)

    report.add("SQLite alone, appended in order, synced", "records/s", [once() for _ in range(runs)], "floor")


def synced_append(report: Report, runs: int, count: int) -> None:
    """One write and one sync of a file, as any durable put needs at least once."""
    medians, tails = [], []
    for _ in range(runs):
        seconds = []
        with fresh_folder() as root, (root / "floor").open("ab", buffering=0) as file:
            for _ in range(count):
                began = time.perf_counter()
                file.write(bytes(200))
                os.fdatasync(file.fileno())
                seconds.append(time.perf_counter() - began)
        medians.append(percentile(seconds, 0.5) * 1e3)
        tails.append(percentile(seconds, 0.99) * 1e3)
    report.add("append and fdatasync of 200 B, p50", "ms", medians, "floor")
    report.add("append and fdatasync of 200 B, p99", "ms", tails, "floor")


def tls_throughput(report: Report, runs: int) -> None:
    """Blocking sockets between two processes, with the TLS settings of our links."""
    _, identity = found_mesh("bench", "floor")
    values = [_tls_once(identity) for _ in range(runs)]
    report.add("TLS 1.3 on loopback, blocking sockets", "MB/s", values, "floor")


def _tls_once(identity: Identity) -> float:
    piece = random.Random(4).randbytes(1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            _send_pieces(identity, listener.getsockname(), piece)
            os._exit(0)
        plain, _ = listener.accept()
        with server_context(identity).wrap_socket(plain, server_side=True) as link:
            began = time.perf_counter()
            buffer, missing = bytearray(1 << 20), TLS_MIB << 20
            while missing:
                missing -= link.recv_into(buffer, min(missing, len(buffer)))
            seconds = time.perf_counter() - began
            link.sendall(b".")
        os.waitpid(child, 0)
    return TLS_MIB * 2**20 / 1e6 / seconds


def _send_pieces(identity: Identity, address: tuple[str, int], piece: bytes) -> None:
    with socket.create_connection(address) as plain, client_context(identity).wrap_socket(plain) as link:
        for _ in range(TLS_MIB):
            link.sendall(piece)
        link.recv(1)


# -- peers -------------------------------------------------------------------------------------


def rsync_file(report: Report, runs: int, size_mib: int) -> None:
    """The same file through an rsync daemon on loopback: not encrypted, not synced to disk."""
    if shutil.which("rsync") is None:
        report.skipped.append("rsync: not installed")
        return
    report.add("rsync daemon (plaintext, no sync)", "s", [_rsync_once(size_mib) for _ in range(runs)], "peer")


def _rsync_once(size_mib: int) -> float:
    with fresh_folder() as root:
        source, target = root / "source", root / "target"
        source.mkdir()
        target.mkdir()
        make_blob(source / "blob.bin", size_mib)
        settings = root / "rsyncd.conf"
        settings.write_text(
            f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\npid file = {root}/pid\n"
            f"[target]\npath = {target}\nread only = no\n",
            encoding="utf-8",
        )
        port = free_port()
        daemon = ["rsync", "--daemon", "--no-detach", f"--port={port}", "--address=127.0.0.1"]
        with server([*daemon, f"--config={settings}"], port):
            began = time.perf_counter()
            url = f"rsync://127.0.0.1:{port}/target/"
            subprocess.run(["rsync", "-a", f"{source}/", url], check=True)
            return time.perf_counter() - began


def redis_replication(report: Report, runs: int, count: int, value_bytes: int) -> None:
    """Pipelined SETs and one WAIT for a live replica: in memory, not encrypted."""
    if shutil.which("redis-server") is None:
        report.skipped.append("redis: redis-server is not installed")
        return
    values = [_redis_once(count, value_bytes) for _ in range(runs)]
    report.add("Redis, one replica (memory, plaintext)", "records/s", values, "peer")


def _redis_once(count: int, value_bytes: int) -> float:
    value = os.urandom(value_bytes // 2).hex().encode()
    with fresh_folder() as root, _redis(root / "a") as primary, _redis(root / "b") as replica:
        with RedisLink(replica) as link:
            link.ask(_resp(b"REPLICAOF", b"127.0.0.1", str(primary).encode()))
            _poll(lambda: b"master_link_status:up" in link.ask(_resp(b"INFO", b"replication")))
        with RedisLink(primary) as link:
            began = time.perf_counter()
            for start in range(0, count, 1000):
                link.send([_resp(b"SET", b"k%d" % (start + i), value) for i in range(1000)])
            link.ask(_resp(b"WAIT", b"1", b"60000"))
            return count / (time.perf_counter() - began)


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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: Sequence[str], port: int) -> Iterator[None]:
    """Run a peer's server until the block ends."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _poll(lambda: _answers(port))
        yield
    finally:
        child.terminate()
        try:
            child.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True


def _poll(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a peer was not ready after {START_SECONDS_MAX:.0f} s")
        threading.Event().wait(0.02)
