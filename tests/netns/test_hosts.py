"""The network that the other tests here stand on: what it is told to do to packets happens to them."""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.netns.hosts import ROOT, NetHosts
from tests.netns.impairment import Impairment
from tests.netns.namespaces import sweep

PORT = 9000
_SO_TIMESTAMPNS = 35


@pytest.fixture(scope="module")
def hosts() -> Iterator[NetHosts]:
    with NetHosts(3) as made:
        yield made


@pytest.fixture(autouse=True)
def _heal(hosts: NetHosts) -> Iterator[None]:
    yield
    hosts.heal()


def hears(hosts: NetHosts, sender: int, receiver: int, wait_s: float = 5.0) -> bool:
    """Whether a datagram arrives, within a time that is plenty."""
    ear = hosts.call(receiver, _listen).result()
    with ear:
        hosts.call(sender, _send, (hosts.address(receiver), PORT), 1).result()
        ear.settimeout(wait_s)
        try:
            return bool(ear.recv(100))
        except TimeoutError:
            return False


def is_cut(hosts: NetHosts, sender: int, receiver: int) -> bool:
    return not hears(hosts, sender, receiver, wait_s=0.3)


def heard(hosts: NetHosts, sender: int, receiver: int, count: int, wait_s: float = 0.5) -> list[float]:
    """Send datagrams; how long each that arrived was under way, until none comes for `wait_s`."""
    ear = hosts.call(receiver, _listen).result()
    with ear:
        target = (hosts.address(receiver), PORT)
        hosts.call(sender, _send, target, count).result()
        ear.settimeout(wait_s)
        arrived = []
        try:
            while True:
                sent, ((_, _, stamp), *_), _, _ = ear.recvmsg(100, 100)
                seconds, nanoseconds = struct.unpack("@ll", stamp)
                arrived.append((seconds * 1_000_000_000 + nanoseconds - int(sent)) / 1e9)
        except TimeoutError:
            return arrived


def _listen() -> socket.socket:
    ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_000_000)
    # The kernel says when each came, however late this process gets to read it.
    ear.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    ear.bind(("0.0.0.0", PORT))
    return ear


def _send(target: tuple[str, int], count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        for _ in range(count):
            mouth.sendto(f"{time.time_ns()}".encode(), target)


def _send_whole(client: socket.socket, payload: bytes) -> None:
    client.sendall(payload)
    client.shutdown(socket.SHUT_WR)


def test_every_host_hears_every_other_one(hosts: NetHosts) -> None:
    pairs = [(a, b) for a in range(3) for b in range(3) if a != b]
    assert all(hears(hosts, a, b) for a, b in pairs)


def test_a_one_way_cut_loses_one_way_only(hosts: NetHosts) -> None:
    hosts.cut(0, 1, one_way=True)
    assert is_cut(hosts, 0, 1)
    assert hears(hosts, 1, 0)
    assert hears(hosts, 0, 2)
    hosts.heal()
    assert hears(hosts, 0, 1)


def test_a_cut_silences_a_connection_that_was_open(hosts: NetHosts) -> None:
    server = hosts.call(1, socket.create_server, ("0.0.0.0", PORT)).result()
    client = hosts.call(0, socket.create_connection, (hosts.address(1), PORT)).result()
    with server, client, server.accept()[0] as accepted:
        accepted.settimeout(0.5)
        client.settimeout(0.5)
        client.send(b"before")
        assert accepted.recv(10) == b"before"
        hosts.cut(0, 1, one_way=True)
        client.send(b"after")
        with pytest.raises(TimeoutError):
            accepted.recv(10)
        accepted.send(b"back")
        assert client.recv(10) == b"back"
        hosts.heal()
        accepted.settimeout(10)
        assert accepted.recv(10) == b"after"


def test_a_split_parts_the_groups_and_nobody_within_one(hosts: NetHosts) -> None:
    hosts.split([0, 1], [2])
    assert hears(hosts, 0, 1)
    assert is_cut(hosts, 0, 2)
    assert is_cut(hosts, 2, 1)


def test_a_host_that_moved_is_heard_at_its_new_address_and_cuts_go_with_it(hosts: NetHosts) -> None:
    old = hosts.address(2)
    hosts.cut(2, 1, one_way=True)
    hosts.move(2, "10.77.0.102")
    try:
        assert hears(hosts, 0, 2)
        assert hears(hosts, 2, 0)
        assert is_cut(hosts, 2, 1)
    finally:
        hosts.move(2, old)


def test_a_bad_network_is_as_bad_as_it_is_told_to_be(hosts: NetHosts) -> None:
    hosts.netem(0, Impairment(loss=0.1, delay_ms=100, jitter_ms=50, reorder=0.25, duplicate=0.05))
    try:
        delays = heard(hosts, 0, 1, count=900)
        assert len(heard(hosts, 1, 0, count=100)) == 100, "only what host 0 sends"
    finally:
        hosts.netem_off(0)
    # Of 900: 90 % arrive and 5 % twice, so 855 +- 10; a quarter of them at once.
    assert 790 < len(delays) < 920
    late = [delay for delay in delays if delay > 0.04]
    assert 0.15 < 1 - len(late) / len(delays) < 0.35
    assert 0.08 < statistics.mean(late) < 0.16
    assert len(heard(hosts, 0, 1, count=100)) == 100, "good again"


def test_large_writes_pass_a_bad_network_whole(hosts: NetHosts) -> None:
    hosts.netem(0, Impairment(delay_ms=2))
    payload = os.urandom(2_000_000)
    try:
        server = hosts.call(1, socket.create_server, ("0.0.0.0", PORT)).result()
        client = hosts.call(0, socket.create_connection, (hosts.address(1), PORT)).result()
        with server, client, server.accept()[0] as accepted:
            sending = hosts.call(0, _send_whole, client, payload)
            accepted.settimeout(10)
            got = bytearray()
            while piece := accepted.recv(1 << 20):
                got += piece
            sending.result()
    finally:
        hosts.netem_off(0)
    assert got == payload


def test_what_a_run_that_was_killed_left_behind_is_swept(hosts: NetHosts) -> None:
    program = (
        "import sys; from tests.netns.hosts import NetHosts\n"
        "hosts = NetHosts(1).__enter__()\n"
        "child = hosts.run(0, ['sh', '-c', 'echo inside; exec sleep 600'], stdout=-1)\n"
        "child.stdout.readline()\n"
        "print(hosts.prefix(0)[-1], child.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    run = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
    with run:
        assert run.stdout is not None
        namespace, child = run.stdout.readline().decode().split()
        assert namespace not in sweep(), "its run is still there"
        run.kill()
    assert namespace in sweep()
    assert not os.path.exists(f"/proc/{child}/exe")
    assert hears(hosts, 0, 1), "those of a living run stay"
