"""What the machine gives at best, measured in the same run."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import sqlite3
import time

from bellande_mesh_sync.security.authority import found_mesh
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.shell.tls import client_context, server_context
from bench.measure import Report, percentile
from bench.meshes import fresh_folder

TLS_MIB = 512


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
