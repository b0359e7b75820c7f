"""Packets as a stranger on the local network can send them, made by hand."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable

GROUP = ("224.0.0.251", 5353)
PTR, TXT, A, SRV = 12, 16, 1, 33
RESPONSE = 0x8400
CACHE_FLUSH = 0x8000


def name(text: str) -> bytes:
    labels = [label.encode() for label in text.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(owner: str, kind: int, data: bytes, ttl_s: int = 4500) -> bytes:
    unique = CACHE_FLUSH if kind != PTR else 0
    return name(owner) + struct.pack(">HHIH", kind, 1 | unique, ttl_s, len(data)) + data


def service(label: str, text: Iterable[bytes], port: int = 8000, host: str = "127.0.0.1") -> list[bytes]:
    """The four records of a service `label`."""
    full, server = f"{label}._bms._tcp.local", f"{label}.local"
    return [
        record("_bms._tcp.local", PTR, name(full)),
        record(full, SRV, struct.pack(">HHH", 0, 0, port) + name(server)),
        record(full, TXT, b"".join(bytes([len(each)]) + each for each in text) or b"\0"),
        record(server, A, socket.inet_aton(host)),
    ]


def response(records: list[bytes]) -> bytes:
    return struct.pack(">6H", 0, RESPONSE, 0, len(records), 0, 0) + b"".join(records)


def question(owner: str, kind: int) -> bytes:
    return struct.pack(">6H", 1, 0, 1, 0, 0, 0) + name(owner) + struct.pack(">HH", kind, 1)


def loopback_sender() -> socket.socket:
    """Sends to the multicast group on the loopback interface, and nowhere else."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    return sender
