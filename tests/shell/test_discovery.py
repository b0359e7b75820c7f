"""Nodes find each other by multicast on the loopback interface, whatever strangers say there."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bellande_mesh_sync.core.events import Found
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell import discovery
from bellande_mesh_sync.shell.candidates import NAMES_MAX
from bellande_mesh_sync.shell.discovery import LOOKUPS_PER_S, Discovery
from bellande_mesh_sync.wire.announcement import instance_label, mesh_tag
from tests.shell import mdns_packets as packets
from tests.shell.link_nodes import LOOPS, polled, run

NOWHERE = ("203.0.113.77:8000",)
"""An address that this machine does not have."""


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def mesh() -> bytes:
    return secrets.token_bytes(32)  # Of its own, for other tests may run on this machine.


class Seeker:
    """A Discovery, and what it found."""

    def __init__(self, mesh: bytes, addresses: tuple[str, ...], retry_s: float) -> None:
        self.node = NodeId(secrets.token_bytes(32))
        self.found: list[Found] = []
        self.discovery = Discovery(
            mesh_id=mesh, node=self.node, addresses=addresses, on_found=self.found.append, retry_s=retry_s
        )

    async def finds(self, node: NodeId, *addresses: str) -> None:
        await polled(lambda: Found(node, addresses) in self.found)


@asynccontextmanager
async def seeker(mesh: bytes, *addresses: str, retry_s: float = 60.0) -> AsyncIterator[Seeker]:
    made = Seeker(mesh, addresses, retry_s)
    await made.discovery.start()
    try:
        yield made
    finally:
        await made.discovery.close()


def codes(caplog: pytest.LogCaptureFixture, code: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith(code)]


def test_two_nodes_of_a_mesh_find_each_other_and_no_other_mesh(loop_name: str, mesh: bytes) -> None:
    async def test() -> None:
        async with (
            seeker(secrets.token_bytes(32), "127.0.0.1:8999") as other,
            seeker(mesh, "127.0.0.1:8001") as alice,
            seeker(mesh, "127.0.0.1:8002", "[::1]:8002") as bob,
        ):
            await alice.finds(bob.node, "127.0.0.1:8002", "[::1]:8002")
            await bob.finds(alice.node, "127.0.0.1:8001")
            assert len(alice.found) == len(bob.found) == 1
            assert other.found == []

    run(loop_name, test)


def test_a_node_that_came_later_and_one_that_came_back_elsewhere_are_found(mesh: bytes) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, "127.0.0.1:8002") as bob:
            await alice.finds(bob.node, "127.0.0.1:8002")
            bob.discovery.update(("127.0.0.2:9000",))
            await alice.finds(bob.node, "127.0.0.2:9000")
            alice.discovery.update(("127.0.0.1:9001",))
            await bob.finds(alice.node, "127.0.0.1:9001")

    run("asyncio", test)


def test_the_same_addresses_again_change_nothing(mesh: bytes) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, "127.0.0.1:8002") as bob:
            await alice.finds(bob.node, "127.0.0.1:8002")
            bob.discovery.update(("127.0.0.1:8002",))
            assert not bob.discovery._is_stale

    run("asyncio", test)


def test_a_goodbye_is_said_at_the_end(mesh: bytes) -> None:
    async def test() -> None:
        heard: list[bytes] = []
        with _listener() as listening:
            asyncio.get_running_loop().add_reader(listening, lambda: heard.append(listening.recv(9000)))
            async with seeker(mesh, "127.0.0.1:8001") as alice:
                label = instance_label(mesh_tag(mesh), alice.node).encode()
                await polled(lambda: any(label in packet for packet in heard))
                heard.clear()
            # In an answer, the time to live stands behind type and class of the pointer to us: it is 0.
            pointer = packets.name("_bms._tcp.local") + b"\0\x0c\0\x01" + bytes(4)
            await polled(lambda: any(label in packet and pointer in packet for packet in heard))
            asyncio.get_running_loop().remove_reader(listening)

    run("asyncio", test)


def _listener() -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(packets.GROUP)
    on_loopback = socket.inet_aton(packets.GROUP[0]) + socket.inet_aton("127.0.0.1")
    listening.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, on_loopback)
    listening.setblocking(False)
    return listening


# -- where there is no multicast


def test_without_multicast_one_warning_is_logged_and_it_is_tried_again(
    mesh: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, *NOWHERE, retry_s=0.01) as bob:
            await polled(lambda: len(codes(caplog, "discovery_unavailable")) > 5)
            (warning,) = [each for each in caplog.records if each.levelno >= logging.WARNING]
            assert "(reason: Cannot assign requested address)" in warning.getMessage()
            bob.discovery.update(("127.0.0.1:8002",))
            await alice.finds(bob.node, "127.0.0.1:8002")
            await polled(lambda: codes(caplog, "discovery_available"))

    caplog.set_level(logging.DEBUG, logger="bellande_mesh_sync")
    run("asyncio", test)


def test_a_change_of_address_ends_the_wait_for_the_next_try(
    mesh: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, "name.example:1") as bob:
            await polled(lambda: codes(caplog, "discovery_unavailable"))
            bob.discovery.update(("127.0.0.1:8002",))
            await alice.finds(bob.node, "127.0.0.1:8002")

    run("asyncio", test)


def test_a_system_that_cannot_keep_it_on_loopback_goes_without(
    mesh: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001"):
            await polled(lambda: codes(caplog, "discovery_unavailable"))

    monkeypatch.delattr(socket, "SO_BINDTODEVICE")
    run("asyncio", test)


def test_closing_at_any_moment_leaves_nothing_behind(loop_name: str, mesh: bytes) -> None:
    async def test() -> None:
        for pause_s in (0, 0.001, 0.02, 0.1, 0.3):
            async with seeker(mesh, "127.0.0.1:8001"):
                await asyncio.sleep(pause_s)
        await Discovery(
            mesh_id=mesh, node=NodeId(bytes(32)), addresses=NOWHERE, on_found=lambda _: None
        ).close()
        await _one_turn()

    run(loop_name, test)


async def _one_turn() -> None:
    await asyncio.sleep(0)


def test_the_library_is_loaded_by_nodes_that_use_it_only() -> None:
    code = (
        "import sys, bellande_mesh_sync.cli.main, bellande_mesh_sync.shell.discovery;"
        "assert not {'zeroconf', 'ifaddr'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, timeout=60)


# -- strangers


def text_of(mesh: bytes, node: bytes) -> list[bytes]:
    return [b"mesh=" + mesh_tag(mesh).encode(), b"node=" + node.hex().encode()]


def test_garbage_on_the_network_changes_nothing(mesh: bytes, caplog: pytest.LogCaptureFixture) -> None:
    tag = mesh_tag(mesh)
    node = bytes(range(32))
    good = packets.response(packets.service(f"{tag}-{node.hex()[:16]}", text_of(mesh, node)))
    wrong_texts: list[list[bytes]] = [
        [],
        [b"=", b"\xff" * 255, b"mesh", b"node"],
        [b"mesh=" + tag.encode(), b"node=zz"],
        [b"mesh=" + tag.encode(), b"node=" + b"0" * 200],
        [b"mesh=" + b"0" * 16, b"node=" + node.hex().encode()],
    ]
    said = [
        packets.response(packets.service(f"{tag}-{number:016x}", text))
        for number, text in enumerate(wrong_texts)
    ]
    said += [
        packets.response(packets.service(f"{tag}-{99:016x}", text_of(mesh, node), host="10.1.2.3")),
        packets.response(packets.service(f"{tag}-{98:016x}", text_of(mesh, node), port=0)),
        packets.response(packets.service("x" * 63, text_of(mesh, node))),
        b"", b"\0", os.urandom(100), os.urandom(8000), good[:40], good[:-3], good[:12] + b"\xc0\x0c" * 20,
    ]  # fmt: skip

    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, "127.0.0.1:8002") as bob:
            await alice.finds(bob.node, "127.0.0.1:8002")
            with packets.loopback_sender() as sender:
                for packet in said:
                    sender.sendto(packet, packets.GROUP)
                sender.sendto(good, packets.GROUP)
            await alice.finds(NodeId(node), "127.0.0.1:8000")
            assert {found.node for found in alice.found} == {bob.node, node}

    run("asyncio", test)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def _flood(services: int, label: Callable[[int], str], mesh: bytes) -> None:
    with packets.loopback_sender() as sender:
        for first in range(0, services, 5):
            records: list[bytes] = []
            for number in range(first, first + 5):
                records += packets.service(
                    label(number), text_of(mesh, number.to_bytes(32)), 1 + number % 999
                )
            sender.sendto(packets.response(records), packets.GROUP)
            if first % 250 == 0:
                await asyncio.sleep(0.005)  # The socket's buffer holds a few hundred of these.


def test_ten_thousand_services_are_looked_up_few_a_second_and_a_real_one_is_found_after(mesh: bytes) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        tag = mesh_tag(mesh)
        async with seeker(mesh, "127.0.0.1:8001") as alice, seeker(mesh, "127.0.0.1:8002") as bob:
            await alice.finds(bob.node, "127.0.0.1:8002")
            began = loop.time()
            await _flood(10_000, lambda number: f"{tag}-{number:016x}", mesh)
            await polled(lambda: len(alice.found) > 20)
            assert len(alice.found) <= 2 + LOOKUPS_PER_S * (loop.time() - began + 1)
            assert len(alice.discovery._candidates) <= NAMES_MAX
            async with seeker(mesh, "127.0.0.1:8003") as carol:
                await alice.finds(carol.node, "127.0.0.1:8003")
            assert len(alice.found) <= 2 + LOOKUPS_PER_S * (loop.time() - began + 1)

    run("asyncio", test)


def test_more_services_than_can_be_kept_end_the_session_and_it_begins_anew(
    mesh: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with seeker(mesh, "127.0.0.1:8001", retry_s=0.5) as alice:
            async with seeker(mesh, "127.0.0.1:8002") as bob:
                await alice.finds(bob.node, "127.0.0.1:8002")
            await _flood(2_000, lambda number: f"{number:032x}", mesh)
            await polled(lambda: codes(caplog, "discovery_unavailable"))
            assert "flood" in caplog.text
            async with seeker(mesh, "127.0.0.1:8003") as carol:
                await alice.finds(carol.node, "127.0.0.1:8003")

    monkeypatch.setattr(discovery, "SERVICES_MAX", 500)
    run("asyncio", test)
