"""How links come up, and every way in which they must not."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import errno
import socket
import ssl
from typing import Any

import msgspec
import pytest

from bellande_mesh_sync.core.events import LinkOpened
from bellande_mesh_sync.core.messages import Goodbye, Ping
from bellande_mesh_sync.errors import ConfigError, PortInUseError
from bellande_mesh_sync.security.authority import new_member
from bellande_mesh_sync.shell.accepting import Gate, open_listening_socket
from bellande_mesh_sync.shell.links import LinkConfig, Links
from tests.shell.link_nodes import (
    ALICE,
    AUTHORITY,
    BOB,
    CAROL,
    LOOPS,
    STRANGER,
    Node,
    Sink,
    hello_of,
    linked,
    node,
    polled,
    raw_peer,
    run,
)


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def refusals(of: Node) -> list[tuple[str, str]]:
    """Codes and reasons, once there is at least one."""
    await polled(lambda: of.links.recent_refusals)
    return [(code, reason) for _, code, reason in of.links.recent_refusals]


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("lane", [0, 1])
def test_two_members_link_and_hear_each_others_hello(loop_name: str, encrypted: bool, lane: int) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice, node(BOB, encrypted=encrypted) as bob:
            link, accepted = await linked(alice, bob, lane)
            ours, theirs = await alice.sink.next(LinkOpened), await bob.sink.next(LinkOpened)
            assert (ours.link, ours.peer, ours.dial, ours.address) == (link, BOB.node, 1, bob.address)
            assert (theirs.link, theirs.peer, theirs.dial) == (accepted, ALICE.node, 0)
            assert ours.hello.member.name == "bob"
            assert theirs.hello.lane == lane == ours.hello.lane
            alice.links.send(link, Ping(1))
            bob.links.send(accepted, Ping(2))
            assert (await bob.sink.until(lambda: bob.sink.messages)) == [Ping(1)]
            assert (await alice.sink.until(lambda: alice.sink.messages)) == [Ping(2)]
            (info,) = alice.links.info()
            assert info["peer"] == BOB.node.hex()
            assert info["messages_in"] == info["messages_out"] == 1
            assert info["bytes_in"] > 0
            assert info["bytes_out"] > 0

    run(loop_name, test)


def test_an_address_may_lead_to_any_member(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            alice.links.dial(3, bob.address, None, 0)
            assert (await alice.sink.next(LinkOpened)).peer == BOB.node

    run(loop_name, test)


@pytest.mark.parametrize("encrypted", [True, False])
def test_finding_another_member_than_the_one_dialled_is_wrong_node(loop_name: str, encrypted: bool) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice, node(BOB, encrypted=encrypted) as bob:
            failed = await alice.dial_failure(bob.address, CAROL)
            assert failed.code == "wrong_node"
            assert BOB.node.hex() in failed.reason

    run(loop_name, test)


@pytest.mark.parametrize("encrypted", [True, False])
def test_dialling_oneself_is_noticed(loop_name: str, encrypted: bool) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=encrypted) as alice:
            failed = await alice.dial_failure(alice.address)
            assert failed.code == "self"
            assert not [event for event in alice.sink.events if isinstance(event, LinkOpened)]

    run(loop_name, test)


def test_a_plain_link_to_another_mesh_is_wrong_mesh(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE, encrypted=False) as alice, node(STRANGER, encrypted=False) as stranger:
            failed = await alice.dial_failure(stranger.address)
            assert failed.code == "wrong_mesh"
            assert (await refusals(stranger))[0][0] == "wrong_mesh"

    run(loop_name, test)


def test_a_node_of_another_mesh_is_refused_by_its_certificate(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(STRANGER) as stranger:
            failed = await alice.dial_failure(stranger.address)
            assert failed.code == "authentication_failed"
            assert "certificate is refused" in failed.reason
            code, reason = (await refusals(stranger))[0]
            assert code == "authentication_failed"
            assert "does not know the authority" in reason

    run(loop_name, test)


def test_whoever_is_refused_learns_why_although_it_believed_to_be_in(loop_name: str) -> None:
    async def test() -> None:
        # It trusts our authority, so only the accepting side has anything to object to.
        mallory = dataclasses.replace(STRANGER, authority_pem=ALICE.authority_pem)
        async with node(ALICE) as alice, node(mallory) as stranger:
            failed = await stranger.dial_failure(alice.address)
            assert failed.code == "authentication_failed"
            assert "refused our certificate" in failed.reason
            assert "authority" in failed.reason
            code, reason = (await refusals(alice))[0]
            assert code == "authentication_failed"
            assert "issuer" in reason
            assert not alice.sink.events

    run(loop_name, test)


def test_an_expired_certificate_is_refused_and_both_sides_know_it(loop_name: str) -> None:
    async def test() -> None:
        late = new_member(AUTHORITY, "late", role="writer", days=1 / 86_400)
        end = late.not_after + datetime.timedelta(seconds=1)
        await polled(lambda: datetime.datetime.now(datetime.UTC) > end)
        async with node(ALICE) as alice, node(late) as expired:
            failed = await expired.dial_failure(alice.address)
            assert failed.code == "authentication_failed"
            assert "expired" in failed.reason
            assert "expired" in (await refusals(alice))[0][1]

    run(loop_name, test)


def test_no_certificate_at_all_is_refused(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["bmesh/1"])
            reader, writer = await asyncio.open_connection(alice.host, alice.port, ssl=context)
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await reader.read(1)
            writer.transport.abort()
            assert (await refusals(alice))[0][0] == "authentication_failed"

    run(loop_name, test)


HELLOS: dict[str, tuple[dict[str, Any], str]] = {
    "a newer protocol only": ({"protocol_oldest": 2, "protocol_newest": 3}, "version_mismatch"),
    "another mesh": ({"mesh": bytes(16)}, "wrong_mesh"),
    "another node than the certificate's": ({"node": CAROL.node}, "authentication_failed"),
    "another node's member record": ({"member": hello_of(CAROL, 0).member}, "authentication_failed"),
}


@pytest.mark.parametrize("name", HELLOS)
def test_a_hello_that_does_not_fit_ends_the_link_on_both_sides(loop_name: str, name: str) -> None:
    changes, code = HELLOS[name]

    async def test() -> None:
        async with node(ALICE) as alice, node(BOB, hello=changes) as bob:
            failed = await bob.dial_failure(alice.address)
            assert failed.code == code
            assert (await refusals(alice))[0][0] == code
            failed = await alice.dial_failure(bob.address)
            assert failed.code == code
            assert not [event for event in alice.sink.events if isinstance(event, LinkOpened)]

    run(loop_name, test)


def test_a_forged_member_record_is_refused(loop_name: str) -> None:
    async def test() -> None:
        forged = msgspec.structs.replace(hello_of(BOB, 0).member, role="admin")
        async with node(ALICE) as alice, node(BOB, hello={"member": forged}) as bob:
            failed = await bob.dial_failure(alice.address)
            assert failed.code == "authentication_failed"
            assert "not signed" in failed.reason

    run(loop_name, test)


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 500, b"\x16\x03\x01\xff\xff"]
)
def test_plain_bytes_to_a_tls_port_end_that_connection_alone(loop_name: str, data: bytes) -> None:
    async def test() -> None:
        async with node(ALICE, handshake_timeout_s=0.3) as alice, node(BOB) as bob:
            async with raw_peer(alice, None) as peer:
                peer.send(data)
                async with asyncio.timeout(5):
                    await peer.reader.read()  # At most a TLS alert, then the end.
            assert (await refusals(alice))[0][0] in ("authentication_failed", "handshake_timeout")
            await linked(bob, alice)

    run(loop_name, test)


def test_dialling_something_that_is_no_node_says_so(loop_name: str) -> None:
    async def test() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, node(ALICE) as alice:
            host, port = server.sockets[0].getsockname()
            failed = await alice.dial_failure(f"{host}:{port}")
            assert failed.code == "authentication_failed"
            assert "does not speak TLS" in failed.reason

    run(loop_name, test)


def test_a_half_open_handshake_is_ended_at_its_deadline(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE, handshake_timeout_s=0.2) as alice:
            async with raw_peer(alice, None) as silent:
                async with asyncio.timeout(5):
                    assert await silent.reader.read() == b""
            async with raw_peer(alice, BOB, greets=False) as mute:  # TLS done, no Hello.
                (goodbye,) = await mute.hear_until_end()
                assert isinstance(goodbye, Goodbye)
                assert goodbye.code == "handshake_timeout"
            assert [code for code, _ in await refusals(alice)] == ["handshake_timeout"] * 2

    run(loop_name, test)


def test_dialling_a_silent_server_ends_at_the_deadline(loop_name: str) -> None:
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with node(ALICE, handshake_timeout_s=0.2) as alice:
                host, port = silent.getsockname()
                failed = await alice.dial_failure(f"{host}:{port}")
                assert failed.code == "handshake_timeout"

    run(loop_name, test)


@pytest.mark.parametrize(
    "address", ["", "nowhere", "host:", ":80", "host:99999", "::1:80", "[::1]", "x" * 5000]
)
def test_an_address_that_is_none_is_unreachable(loop_name: str, address: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice:
            failed = await alice.dial_failure(address)
            assert failed.code == "unreachable"
            assert len(failed.reason) < 500

    run(loop_name, test)


def test_a_closed_port_is_unreachable(loop_name: str) -> None:
    async def test() -> None:
        listening, (host, port) = await open_listening_socket("127.0.0.1", 0)
        listening.close()
        async with node(ALICE) as alice:
            failed = await alice.dial_failure(f"{host}:{port}")
            assert failed.code == "unreachable"
            assert "refused" in failed.reason

    run(loop_name, test)


def test_a_port_in_use_is_named(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            with pytest.raises(PortInUseError, match=str(alice.port)):
                await bob.links.listen(alice.host, alice.port)
            with pytest.raises(ConfigError):
                await bob.links.listen("203.0.113.1", 0)
            with pytest.raises(ConfigError):
                await bob.links.listen("no such host.invalid", 0)

    run(loop_name, test)


def test_unfinished_handshakes_are_bounded_and_their_places_come_back(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE, handshakes_max=2) as alice, node(BOB) as bob:
            async with raw_peer(alice, None), raw_peer(alice, None), raw_peer(alice, None) as third:
                async with asyncio.timeout(5):
                    assert await third.reader.read() == b""
                assert (await refusals(alice))[0][0] == "too_many_handshakes"
            await polled(lambda: not alice.links.unfinished_handshakes)
            await linked(bob, alice)
            assert alice.links.unfinished_handshakes == 0

    run(loop_name, test)


def test_one_address_cannot_take_all_places_but_loopback_may() -> None:
    gate = Gate(total_max=20, per_address_max=8)
    assert [gate.enter("192.0.2.1") for _ in range(9)] == [True] * 8 + [False]
    assert gate.enter("192.0.2.2")
    assert all(gate.enter("127.0.0.1") for _ in range(11))
    assert not gate.enter("::1")
    gate.leave("192.0.2.1")
    assert gate.enter("192.0.2.1")


def test_links_are_bounded_and_the_one_too_many_is_told(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE, links_max=1) as alice, node(BOB) as bob, node(CAROL) as carol:
            await linked(bob, alice)
            failed = await carol.dial_failure(alice.address)
            assert failed.code == "too_many_links"

    run(loop_name, test)


def test_running_out_of_descriptors_does_not_end_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        accept = loop.sock_accept
        failures = [errno.EMFILE, errno.ECONNABORTED, errno.ENFILE]

        async def failing(listening: socket.socket) -> Any:
            if failures:
                raise OSError(failures.pop(), "no more")
            return await accept(listening)

        monkeypatch.setattr(loop, "sock_accept", failing)
        async with node(ALICE) as alice, node(BOB) as bob:
            await linked(bob, alice)
        assert not failures

    run("asyncio", test)


def test_encrypted_links_need_an_identity() -> None:
    async def test() -> None:
        with pytest.raises(ValueError, match="identity"):
            Links(
                identity=None, config=LinkConfig(), make_hello=lambda lane: hello_of(ALICE, lane), sink=Sink()
            )

    run("asyncio", test)


def test_a_dial_after_close_fails(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            await alice.links.close()
            assert (await alice.dial_failure(bob.address)).code == "closing"

    run(loop_name, test)
