"""Sealed datagrams over real sockets of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.swim.messages import (
    ACK_BYTES,
    ENVELOPE_BYTES,
    SEAL_BYTES,
    VERDICT_BYTES,
    Ack,
    Datagram,
    Gossip,
    Ping,
    Standing,
    Verdict,
)
from bellande_mesh_sync.errors import ConfigError, PortInUseError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.security.sealing import OLD_KEPT_NS, ROTATE_AFTER_NS, SWITCH_AFTER_NS
from bellande_mesh_sync.shell import datagrams as datagrams_module
from bellande_mesh_sync.shell.datagrams import Datagrams
from bellande_mesh_sync.wire.datagrams import encode_datagram
from tests.shell.link_nodes import LOOPS, polled, run

MESH = bytes(range(16))
SIZE = 1_200
"""What tests plan for a datagram, where they do not care."""


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Node:
    """Datagrams, and what they led to. Answers each ping if it is told to."""

    def __init__(self, letter: str, clock: Callable[[], int] | None) -> None:
        self.id = NodeId(letter.encode() * 32)
        self.heard: list[tuple[NodeId, Datagram]] = []
        self.new_keys: list[bytes] = []
        options: dict[str, Any] = {} if clock is None else {"now_ns": clock}
        self.datagrams = Datagrams(
            node=self.id,
            mesh_id=MESH,
            on_datagram=lambda node, datagram: self.heard.append((node, datagram)),
            on_new_key=self.new_keys.append,
            **options,
        )
        self.port = 0
        self.host = "127.0.0.1"

    def record(self, **changes: Any) -> MemberRecord:
        host = f"[{self.host}]" if ":" in self.host else self.host
        facts: dict[str, Any] = {
            "node": self.id,
            "public_key": bytes(32),
            "name": "",
            "addresses": (f"{host}:1",),
            "role": "writer",
            "incarnation": 1,
            "left": False,
            "software": "",
            "datagram_port": self.port,
            "seal_key": self.datagrams.seal_key,
        }
        return MemberRecord(**facts | changes)

    def knows(self, other: Node, **changes: Any) -> None:
        self.datagrams.record(other.record(**changes))

    async def passes_to(self, other: Node, number: int = 0) -> None:
        """Send a ping, and see it arrive."""
        ping = Datagram(Ping(number, 1))
        count = len(other.heard)
        self.datagrams.send(other.id, ping, SIZE)
        await polled(lambda: len(other.heard) > count)
        assert other.heard[-1] == (self.id, ping)

    def count(self, counter: str) -> int:
        return self.datagrams.counters[counter]


@asynccontextmanager
async def node(
    letter: str, host: str = "127.0.0.1", clock: Callable[[], int] | None = None
) -> AsyncIterator[Node]:
    made = Node(letter, clock)
    made.host = host
    made.port = await made.datagrams.listen(host, 0)
    try:
        yield made
    finally:
        await made.datagrams.close()


@asynccontextmanager
async def pair(
    host: str = "127.0.0.1", clock: Callable[[], int] | None = None
) -> AsyncIterator[tuple[Node, Node]]:
    async with node("a", host, clock) as alice, node("b", host, clock) as bob:
        alice.knows(bob)
        bob.knows(alice)
        yield alice, bob


@contextlib.contextmanager
def raw_socket(*, buffer_bytes: int = 1 << 20) -> Any:
    """A plain socket with an address of its own, as a stranger or a wire-tap has it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        made.bind(("127.0.0.1", 0))
        yield made


def on_wire(raw: socket.socket) -> list[bytes]:
    """All packets that arrived there so far."""
    packets = []
    with contextlib.suppress(BlockingIOError):
        while True:
            packets.append(raw.recv(4096))
    return packets


def test_two_nodes_exchange_datagrams(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            verdict = Verdict(alice.id, 3, Standing.SUSPECT, bob.id)
            datagram = Datagram(Ack(1, 2), (verdict,), (bob.record(),))
            await alice.passes_to(bob)
            bob.datagrams.send(alice.id, datagram, SIZE)
            await polled(lambda: alice.heard)
            assert alice.heard == [(bob.id, datagram)]
            assert alice.count("received_bytes") == bob.count("sent_bytes") > 200
            told = alice.datagrams.describe()
            assert (told["peers"], told["pairs"]) == (1, 1)
            assert told["address"] == ["127.0.0.1", alice.port]
            assert told["seal_key"] == alice.datagrams.seal_key.hex()

    run(loop_name, test)


def test_a_packet_is_no_larger_than_planned_and_told_if_it_is(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            planned = SEAL_BYTES + ENVELOPE_BYTES + ACK_BYTES + VERDICT_BYTES
            datagram = Datagram(Ack(2**63 - 1, 2**63 - 1), (Verdict(bob.id, 2**63 - 1, 3, bob.id),))
            alice.datagrams.send(bob.id, datagram, planned)
            assert 0 < alice.count("sent_bytes") <= planned
            assert not alice.count("larger_than_planned")
            alice.datagrams.send(bob.id, datagram, 100)
            assert alice.count("larger_than_planned") == 1

    run(loop_name, test)


def test_the_same_datagram_to_many_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = []

    def encode(datagram: Datagram) -> bytes:
        encoded.append(datagram)
        return encode_datagram(datagram)

    monkeypatch.setattr(datagrams_module, "encode_datagram", encode)

    async def test() -> None:
        async with pair() as (alice, bob), node("c") as carol:
            alice.knows(carol)
            carol.knows(alice)
            gossip = Datagram(Gossip())
            for target in (bob, carol):
                alice.datagrams.send(target.id, gossip, SIZE)
            await polled(lambda: bob.heard and carol.heard)
            assert bob.heard == carol.heard == [(alice.id, gossip)]
            assert encoded == [gossip]

    run("asyncio", test)


# -- what must not get in


def test_a_flood_of_garbage_gets_no_answer_and_changes_nothing(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(1)
    garbage_count = 20_000

    async def test() -> None:
        async with pair() as (alice, bob):
            await alice.passes_to(bob)
            with raw_socket() as tap:
                alice.knows(bob, datagram_port=tap.getsockname()[1])
                alice.datagrams.send(bob.id, Datagram(Ping(1, 1)), SIZE)
                good = on_wire(tap)[0]
            before = bob.datagrams.describe()
            with raw_socket() as stranger:
                for number in range(garbage_count):
                    match number % 4:
                        case 0:
                            packet = rng.randbytes(rng.randrange(60))
                        case 1:
                            packet = b"\x01" + rng.randbytes(100)
                        case 2:
                            packet = good[:13] + rng.randbytes(len(good) - 13)
                        case _:
                            packet = rng.randbytes(rng.choice((1_200, 4_000)))
                    stranger.sendto(packet, ("127.0.0.1", bob.port))
                    if number % 100 == 99:
                        await all_refused(bob, number + 1)
                assert on_wire(stranger) == []
            after = bob.datagrams.describe()
            counters, was = after.pop("counters"), before.pop("counters")
            assert after == before
            assert {name for name in counters if counters[name] != was.get(name)} == {
                "refused_bad_packet",
                "refused_unknown_key",
                "refused_bad_tag",
            }
            assert refused(bob) == garbage_count
            assert bob.heard == [(alice.id, Datagram(Ping(0, 1)))]
            assert 3 <= len(caplog.records) < 60
            alice.knows(bob)
            await alice.passes_to(bob)

    run(loop_name, test)


async def all_refused(of: Node, count: int) -> None:
    await polled(lambda: refused(of) >= count)


def refused(of: Node) -> int:
    return sum(count for name, count in of.datagrams.counters.items() if name.startswith("refused_"))


def test_packets_that_were_captured_and_are_sent_again_are_dropped(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            with raw_socket() as tap:
                alice.knows(bob, datagram_port=tap.getsockname()[1])
                for number in range(50):
                    alice.datagrams.send(bob.id, Datagram(Ping(number, 1)), SIZE)
                captured = on_wire(tap)
                assert len(captured) == 50
                for packet in captured * 3:
                    tap.sendto(packet, ("127.0.0.1", bob.port))
                await polled(lambda: bob.count("refused_replayed") == 100)
            assert [datagram for _, datagram in bob.heard] == [Datagram(Ping(n, 1)) for n in range(50)]

    run(loop_name, test)


def test_a_member_that_sends_what_is_no_datagram_is_counted(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(datagrams_module, "encode_datagram", lambda _: b"\x93no datagram")
                alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            await polled(lambda: bob.count("refused_bad_datagram"))
            assert alice.id.hex() in caplog.text
            await alice.passes_to(bob)

    run(loop_name, test)


def test_a_node_that_was_forgotten_is_neither_heard_nor_sent_to(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            bob.datagrams.forget(alice.id)
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            await polled(lambda: bob.count("refused_unknown_key"))
            bob.datagrams.send(alice.id, Datagram(Gossip()), SIZE)
            assert bob.count("undeliverable_no_address") == 1
            bob.knows(alice)
            await alice.passes_to(bob)
            bob.knows(alice, datagram_port=0, seal_key=b"")
            bob.datagrams.send(alice.id, Datagram(Gossip()), SIZE)
            assert bob.count("undeliverable_no_address") == 2
            assert bob.datagrams.describe()["peers"] == 0
            bob.datagrams.record(bob.record())
            assert bob.datagrams.describe()["peers"] == 0, "its own record is no peer's"

    run(loop_name, test)


# -- roads


def test_answers_go_to_where_the_peer_is_now(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            with raw_socket() as elsewhere:
                alice.knows(bob, datagram_port=elsewhere.getsockname()[1])
                alice.datagrams.send(bob.id, Datagram(Ping(1, 1)), SIZE)
                elsewhere.sendto(on_wire(elsewhere)[0], ("127.0.0.1", bob.port))
                await polled(lambda: bob.heard)
                bob.datagrams.send(alice.id, Datagram(Ack(1, 1)), SIZE)
                assert len(on_wire(elsewhere)) == 1
            alice.knows(bob)
            await alice.passes_to(bob, 2)
            await bob.passes_to(alice)

    run(loop_name, test)


def test_a_packet_from_elsewhere_that_does_not_open_moves_nobody(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            with raw_socket() as elsewhere:
                alice.knows(bob, datagram_port=elsewhere.getsockname()[1])
                alice.datagrams.send(bob.id, Datagram(Ping(1, 1)), SIZE)
                packet = on_wire(elsewhere)[0]
                alice.knows(bob)
                await alice.passes_to(bob)
                elsewhere.sendto(packet[:-1] + bytes([packet[-1] ^ 1]), ("127.0.0.1", bob.port))
                await polled(lambda: bob.count("refused_bad_tag"))
                await bob.passes_to(alice)
                assert on_wire(elsewhere) == []

    run(loop_name, test)


def test_a_closed_port_at_the_other_end_does_not_break_the_socket(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob), node("c") as carol:
            alice.knows(carol)
            carol.knows(alice)
            await bob.datagrams.close()
            for number in range(20):
                alice.datagrams.send(bob.id, Datagram(Ping(number, 1)), SIZE)
                await asyncio.sleep(0)
            await alice.passes_to(carol)
            await carol.passes_to(alice)

    run(loop_name, test)


@pytest.mark.parametrize(
    ("number", "counter"),
    [
        (errno.EAGAIN, "undeliverable_no_room"),
        (errno.ENOBUFS, "undeliverable_no_room"),
        (errno.ECONNREFUSED, "undeliverable_unreachable"),
        (errno.ENETUNREACH, "undeliverable_unreachable"),
        (errno.EMSGSIZE, "undeliverable_too_large"),
        (errno.EPERM, "undeliverable_failed"),
    ],
)
def test_what_the_system_refuses_to_send_is_counted(number: int, counter: str) -> None:
    class Refusing:
        def sendto(self, packet: bytes, address: object) -> int:
            raise OSError(number, "no")

    async def test() -> None:
        async with pair() as (alice, bob):
            real, alice.datagrams._socket = alice.datagrams._socket, Refusing()  # type: ignore[assignment]
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            alice.datagrams._socket = real
            assert alice.datagrams.counters == {counter: 1}
            await alice.passes_to(bob)

    run("asyncio", test)


def test_an_address_of_the_other_family_is_counted_and_harms_nothing(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            alice.knows(bob, addresses=("[::1]:1",))
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            assert alice.count("undeliverable_no_address") == 1
            alice.knows(bob)
            await alice.passes_to(bob)

    run(loop_name, test)


def test_a_host_name_is_looked_up_while_packets_are_dropped(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            alice.knows(bob, addresses=("localhost:1",))
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            assert alice.count("undeliverable_no_address") == 1

            def arrived() -> bool:
                alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
                return bool(bob.heard)

            await polled(arrived)

    run(loop_name, test)


def ipv6_is_here() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not ipv6_is_here(), reason="this machine has no IPv6 loopback")
def test_datagrams_pass_over_ipv6_and_a_dual_socket_takes_both(loop_name: str) -> None:
    async def test() -> None:
        async with pair("::1") as (alice, bob):
            await alice.passes_to(bob)
            await bob.passes_to(alice)
            alice.knows(bob, addresses=("127.0.0.1:1",))
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            assert alice.count("undeliverable_no_address") + alice.count("undeliverable_unreachable") == 1
        async with node("a", "::") as dual, node("b") as v4, node("c", "::1") as v6:
            for other in (v4, v6):
                dual.knows(other)
                other.knows(dual, addresses=("127.0.0.1:1", "[::1]:1"))
                await dual.passes_to(other)
                await other.passes_to(dual)

    run(loop_name, test)


# -- the socket itself


def test_a_port_is_taken_by_one_node_and_a_wrong_host_is_told(loop_name: str) -> None:
    async def test() -> None:
        async with node("a") as alice:
            second = Node("b", None)
            with pytest.raises(PortInUseError):
                await second.datagrams.listen("127.0.0.1", alice.port)
            with pytest.raises(ConfigError):
                await second.datagrams.listen("203.0.113.1", 0)
            with pytest.raises(ConfigError):
                await second.datagrams.listen("no..host", 0)
            assert await second.datagrams.listen("", 0) > 0
            await second.datagrams.close()

    run(loop_name, test)


def test_after_closing_nothing_is_sent_and_nothing_raises(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            await alice.datagrams.close()
            await alice.datagrams.close()
            alice.datagrams.send(bob.id, Datagram(Gossip()), SIZE)
            assert alice.count("undeliverable_closed") == 1
            assert alice.datagrams.describe()["address"] is None

    run(loop_name, test)


def test_a_node_may_close_while_it_takes_packets(loop_name: str) -> None:
    async def test() -> None:
        async with pair() as (alice, bob):
            closing: list[asyncio.Task[None]] = []

            def on_datagram(*_: object) -> None:
                closing.append(asyncio.ensure_future(alice.datagrams.close()))

            alice.datagrams._on_datagram = on_datagram
            for number in range(10):
                bob.datagrams.send(alice.id, Datagram(Ping(number, 1)), SIZE)
            await polled(lambda: closing)
            await asyncio.gather(*closing)

    run(loop_name, test)


# -- rotation


def test_every_day_a_new_key_is_announced_and_no_packet_is_lost(
    loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datagrams_module, "TICK_S", 0.01)

    async def test() -> None:
        now = [10**15]
        async with pair(clock=lambda: now[0]) as (alice, bob):
            await alice.passes_to(bob)
            first = alice.datagrams.seal_key
            assert not alice.new_keys
            now[0] += ROTATE_AFTER_NS
            await polled(lambda: alice.new_keys and bob.new_keys)
            assert alice.new_keys == [alice.datagrams.seal_key] != [first]
            for knows in (False, True):
                if knows:
                    alice.knows(bob)
                    bob.knows(alice)
                await alice.passes_to(bob)
                await bob.passes_to(alice)
            now[0] += SWITCH_AFTER_NS
            await alice.passes_to(bob)
            await bob.passes_to(alice)
            now[0] += OLD_KEPT_NS
            await polled(lambda: all(len(of.datagrams._sealer._own) == 1 for of in (alice, bob)))
            await alice.passes_to(bob)
            await bob.passes_to(alice)
            assert not refused(alice) + refused(bob)

    run(loop_name, test)
