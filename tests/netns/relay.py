"""A switch in user space that loses, delays, repeats and reorders frames, for kernels without netem.

Runs in the namespace that all hosts are wired to, in the place of the bridge, as
`python -m tests.netns.relay HOSTS`. Lines of JSON on standard input say how bad the sending side of a
host is; it says `ready` when frames flow, and ends with its standard input.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import selectors
import socket
import sys
import time

from tests.netns.impairment import Impairment

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_VNET_HDR = 15
_PACKET_IGNORE_OUTGOING = 23
_VNET_HEADER_BYTES = 10
_FRAME_BYTES_MAX = 128 * 1024
_BUFFER_BYTES = 8 * 1024 * 1024
_WAITING_MAX = 1000
"""Frames of one host under way; what comes on top is lost. netem's default `limit`."""

_GOOD = Impairment()


class Relay:
    """Frames from each host's wire to that of whom they are for."""

    def __init__(self, ports: list[socket.socket], rng: random.Random) -> None:
        self._ports = ports
        self._rng = rng
        self._impairments = [_GOOD] * len(ports)
        self._waiting: list[tuple[float, int, int, bytes]] = []
        """(when, order, sender, frame), the next one first."""
        self._waiting_counts = [0] * len(ports)
        self._order = 0

    def impair(self, sender: int, impairment: Impairment) -> None:
        self._impairments[sender] = impairment

    def receive(self, sender: int, now_s: float) -> None:
        """Take all frames that a host has sent."""
        while True:
            try:
                frame = self._ports[sender].recv(_FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            for delay_s in self._impairments[sender].delays_s(self._rng):
                if delay_s == 0.0:
                    self._deliver(sender, frame)
                elif self._waiting_counts[sender] < _WAITING_MAX:
                    self._order += 1
                    self._waiting_counts[sender] += 1
                    heapq.heappush(self._waiting, (now_s + delay_s, self._order, sender, frame))

    def deliver_due(self, now_s: float) -> float | None:
        """Pass on what has waited long enough; seconds until the next frame is due, if one waits."""
        while self._waiting and self._waiting[0][0] <= now_s:
            _, _, sender, frame = heapq.heappop(self._waiting)
            self._waiting_counts[sender] -= 1
            self._deliver(sender, frame)
        return self._waiting[0][0] - now_s if self._waiting else None

    def _deliver(self, sender: int, frame: bytes) -> None:
        mac = frame[_VNET_HEADER_BYTES : _VNET_HEADER_BYTES + 6]
        if mac[0] & 1:  # To a group, or to everybody.
            targets = [number for number in range(len(self._ports)) if number != sender]
        else:
            targets = [mac[5]] if mac[5] < len(self._ports) else []  # See `mac_of` in hosts.py.
        for target in targets:
            try:
                self._ports[target].send(frame)
            except OSError:
                continue  # A full queue or a wire that is down loses the frame, as in any switch.


def open_port(device: str) -> socket.socket:
    """A raw socket on a wire. Checksums and sizes that the sender left to its card pass through unchanged."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    port.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    port.bind((device, _ETH_P_ALL))
    port.setblocking(False)
    return port


def main() -> None:
    ports = [open_port(f"h{number}") for number in range(int(sys.argv[1]))]
    relay = Relay(ports, random.Random(1))
    selector = selectors.DefaultSelector()
    for number, port in enumerate(ports):
        selector.register(port, selectors.EVENT_READ, number)
    selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
    print("ready", flush=True)
    told = b""
    while True:
        pause_s = relay.deliver_due(time.monotonic())
        for key, _ in selector.select(pause_s):
            if key.data is not None:
                relay.receive(key.data, time.monotonic())
                continue
            piece = os.read(sys.stdin.fileno(), 65536)
            if not piece:
                return
            *lines, told = (told + piece).split(b"\n")
            for line in lines:
                order = json.loads(line)
                relay.impair(order.pop("host"), Impairment(**order))
                print("done", flush=True)


if __name__ == "__main__":
    main()
