"""Who must not get in does not: with the reason in the log, and no byte of ours for it or of its for us.

Each fault is tried from both sides: the one with the fault dials, and it is dialled. The other end is a
plain TLS socket with whatever certificate the test likes, and not our code.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from bellande_mesh_sync.core.events import LinkOpened
from bellande_mesh_sync.core.messages import Goodbye
from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.security.certificates import member_uri
from bellande_mesh_sync.security.identity import Identity, new_key
from bellande_mesh_sync.shell.link import Link
from bellande_mesh_sync.shell.link_transport import LinkTransport
from bellande_mesh_sync.shell.tls import client_context, server_context
from tests.shell.forgeries import DAY, TWIN, TWIN_MEMBER, forged
from tests.shell.link_nodes import (
    ALICE,
    AUTHORITY,
    BOB,
    CAROL,
    LOOPS,
    PATIENCE_S,
    Node,
    closed,
    hello_of,
    linked,
    node,
    polled,
    raw_peer,
    run,
)

WORD: Final = b"let me in" * 20


@dataclass
class Application:
    """Bytes inside TLS at our end of all links."""

    given: int = 0
    taken: int = 0


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    seen = Application()
    write, received = LinkTransport.write, Link.received

    def counting_write(self: LinkTransport, *pieces: bytes | memoryview) -> None:
        seen.given += sum(map(len, pieces))
        write(self, *pieces)

    def counting_received(self: Link, count: int) -> None:
        seen.taken += count
        received(self, count)

    monkeypatch.setattr(LinkTransport, "write", counting_write)
    monkeypatch.setattr(Link, "received", counting_received)
    return seen


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _as_is(context: ssl.SSLContext) -> None:
    pass


def _tls_1_2(context: ssl.SSLContext) -> None:
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2


def _names(*protocols: str) -> Callable[[ssl.SSLContext], None]:
    return lambda context: context.set_alpn_protocols(list(protocols))


@dataclass(frozen=True)
class Fault:
    who: Callable[[], Identity]
    dialling: str
    """What the node that it dialled says of it."""
    dialled: str
    """What the node that dialled it says of it."""
    change: Callable[[ssl.SSLContext], None] = _as_is


def _self_signed() -> Identity:
    key = new_key()
    return forged(signer=key, other_key=key)


def _of_alice() -> Identity:
    return forged(uris=lambda _: [member_uri(AUTHORITY.mesh_id, CAROL.node, "writer")])


def _server_only() -> Identity:
    return forged(usages=(ExtendedKeyUsageOID.SERVER_AUTH,))


def _client_only() -> Identity:
    return forged(usages=(ExtendedKeyUsageOID.CLIENT_AUTH,))


FAULTS: dict[str, Fault] = {
    "TLS 1.2": Fault(lambda: BOB, "TLS 1.3", "protocol version", _tls_1_2),
    "expired": Fault(
        lambda: forged(from_now=-3 * DAY, until=-DAY), "certificate has expired", "expired 1 d "
    ),
    "not valid yet": Fault(
        lambda: forged(from_now=DAY, until=3 * DAY), "certificate is not yet valid", "valid only in 23 h"
    ),
    "for signing code": Fault(
        lambda: forged(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)), "purpose", "purpose"
    ),
    "of another authority with the same names": Fault(
        lambda: replace(BOB, certificate_pem=TWIN_MEMBER.certificate_pem, key=TWIN_MEMBER.key),
        "issuer",
        "issuer",
    ),
    "of another authority, naming our mesh": Fault(lambda: forged(issuer=TWIN), "issuer", "issuer"),
    "signed by itself": Fault(_self_signed, "signature", "signature"),
    "with the id of another node": Fault(_of_alice, "but its key is that of", "but its key is that of"),
    "of an authority": Fault(lambda: forged(is_authority=True), "an authority's", "an authority's"),
    "without our protocol": Fault(
        lambda: BOB, "did not agree to speak bmesh/1", "did not agree to speak bmesh/1", _names("http/1.1")
    ),
    "with an older protocol": Fault(
        lambda: BOB, "did not agree to speak bmesh/1", "did not agree to speak bmesh/1", _names("bmesh/0")
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_node_that_is_dialled_refuses_one(
    name: str, loop_name: str, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    fault = FAULTS[name]

    async def test() -> None:
        context = client_context(fault.who())
        fault.change(context)
        async with node(ALICE) as alice:
            heard = await _dial(alice, context)
            (_, code, reason) = await _refusal(alice)
            assert heard == b""
            assert code == "authentication_failed"
            assert fault.dialling in reason
            assert not alice.sink.events

    with _logged(caplog) as lines:
        run(loop_name, test)
    assert any("authentication_failed" in line and fault.dialling in line for line in lines()), lines()
    assert application == Application(0, 0)


@pytest.mark.parametrize("name", FAULTS)
def test_a_node_that_dials_refuses_one(name: str, loop_name: str, application: Application) -> None:
    fault = FAULTS[name]

    async def test() -> None:
        context = server_context(fault.who())
        fault.change(context)
        async with _served(context) as (address, heard), node(ALICE) as alice:
            failed = await alice.dial_failure(address)
            assert failed.code == "authentication_failed"
            assert fault.dialled in failed.reason
            assert await heard == b""
            assert len(alice.sink.events) == 1

    run(loop_name, test)
    assert application == Application(0, 0)


@pytest.mark.parametrize(
    ("who", "is_dialled"), [(_server_only, False), (_client_only, True)], ids=["a client", "a server"]
)
def test_a_certificate_for_the_other_side_of_a_link_is_none_for(
    who: Callable[[], Identity], is_dialled: bool, loop_name: str, application: Application
) -> None:
    async def test() -> None:
        async with node(ALICE) as alice:
            if is_dialled:
                async with _served(server_context(who())) as (address, heard):
                    assert "purpose" in (await alice.dial_failure(address)).reason
                    assert await heard == b""
            else:
                assert await _dial(alice, client_context(who())) == b""
                assert "purpose" in (await _refusal(alice))[2]

    run(loop_name, test)
    assert application == Application(0, 0)


def test_who_shows_no_certificate_is_refused_and_told_so(
    loop_name: str, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
        bare.set_alpn_protocols(["bmesh/1"])
        async with node(ALICE) as alice:
            reader, writer = await asyncio.open_connection(alice.host, alice.port, ssl=bare)
            writer.write(WORD)
            with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
                await reader.read(1)
            writer.transport.abort()
            assert "did not return a certificate" in (await _refusal(alice))[2]

    with _logged(caplog) as lines:
        run(loop_name, test)
    assert any("did not return a certificate" in line for line in lines())
    assert application == Application(0, 0)


def test_a_member_that_is_dialled_as_another_hears_nothing_and_both_say_why(
    loop_name: str, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            failed = await alice.dial_failure(bob.address, CAROL)
            assert failed.code == "wrong_node"
            assert f"node {BOB.node.hex()} answers there, not {CAROL.node.hex()}" in failed.reason
            _, code, reason = await _refusal(bob)
            assert code == "lost"
            assert f"node {ALICE.node.hex()} hung up without a word" in reason
            assert not bob.sink.events

    with _logged(caplog) as lines:
        run(loop_name, test)
    assert any("it may look for another node here" in line for line in lines())
    assert application == Application(0, 0)


def test_a_node_that_finds_itself_says_nothing(loop_name: str, application: Application) -> None:
    async def test() -> None:
        async with node(ALICE) as alice:
            assert (await alice.dial_failure(alice.address)).code == "self"

    run(loop_name, test)
    assert application == Application(0, 0)


@pytest.mark.parametrize(
    ("versions", "expected"),
    # Version 1 is the first there is: 0 is no older one, but nonsense.
    [((0, 0), "bad_frame"), ((2, 3), "version_mismatch")],
    ids=["older", "newer"],
)
def test_a_member_of_another_protocol_version_gets_a_goodbye_and_nothing_else(
    versions: tuple[int, int], expected: str, loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Both ends are members, and may say why; but no message reaches a node."""
    oldest, newest = versions

    async def test() -> None:
        other = {"protocol_oldest": oldest, "protocol_newest": newest}
        async with node(ALICE) as alice:
            async with raw_peer(alice, BOB, greets=False) as peer:
                peer.say(hello_of(BOB, 0, **other))
                (goodbye,) = await peer.hear_until_end()
                assert isinstance(goodbye, Goodbye)
                assert goodbye.code == expected
            _, code, reason = await _refusal(alice)
            assert code == expected
            assert "protocol" in reason
            async with node(BOB, hello=other) as bob:
                failed = await alice.dial_failure(bob.address)
                assert failed.code == "version_mismatch"
            assert not alice.sink.messages
            assert not [event for event in alice.sink.events if isinstance(event, LinkOpened)]

    with _logged(caplog) as lines:
        run(loop_name, test)
    assert any(expected in line and "protocol" in line for line in lines())


def test_the_refused_side_knows_by_how_much_its_own_certificate_is_out_of_time(loop_name: str) -> None:
    """It takes the other's word for nothing: it looks at its own."""

    async def test() -> None:
        late = forged(from_now=-3 * DAY, until=-DAY)
        async with node(ALICE) as alice, node(late) as bob:
            failed = await bob.dial_failure(alice.address)
            assert "refused our certificate: the certificate expired 1 d " in failed.reason
        early = forged(from_now=DAY, until=3 * DAY)
        async with node(ALICE) as alice, node(early) as bob:
            failed = await bob.dial_failure(alice.address)
            assert "refused our certificate: the certificate is valid only in 23 h" in failed.reason

    run(loop_name, test)


def test_nothing_of_a_link_can_be_resumed(loop_name: str) -> None:
    """A resumed session would skip the look at the certificate."""

    async def test() -> None:
        context = client_context(BOB)
        async with node(ALICE) as alice:
            reader, writer = await asyncio.open_connection(alice.host, alice.port, ssl=context)
            session = writer.get_extra_info("ssl_object")
            writer.write(b"\0\0\0\1\0")  # No Hello: it answers with a Goodbye, after whatever TLS has to say.
            assert await reader.read()
            assert not session.session.has_ticket
            writer.transport.abort()
            reader, writer = await asyncio.open_connection(alice.host, alice.port, ssl=context)
            assert not writer.get_extra_info("ssl_object").session_reused
            writer.transport.abort()

    run(loop_name, test)


def test_members_still_meet(loop_name: str, application: Application) -> None:
    """The counter of these tests counts."""

    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            await linked(alice, bob)
            bob.links.hangup(bob.sink.events[0].link, "closing", "enough")  # type: ignore[union-attr]
            await closed(alice.sink)

    run(loop_name, test)
    assert application.given > 0
    assert application.taken > 0


def test_a_link_with_a_cipher_suite_that_may_not_be_is_refused_by_the_one_that_minds(loop_name: str) -> None:
    async def test() -> None:
        async with node(ALICE) as alice, node(BOB) as bob:
            link, _ = await linked(alice, bob)
            alice.links.hangup(link, "closing", "enough")
            await closed(bob.sink)
            alice.links.config = dataclasses.replace(alice.links.config, ciphers=("TLS_AES_128_CCM_SHA256",))
            failed = await alice.dial_failure(bob.address)
            assert failed.code == "authentication_failed"
            assert "TLS_AES_256_GCM_SHA384, which tls_ciphers lacks" in failed.reason
            failed = await bob.dial_failure(alice.address)
            assert "hung up without a word" in failed.reason
            assert "which tls_ciphers lacks" in (await _refusal(alice))[2]

    run(loop_name, test)


def test_a_start_says_which_cipher_suite_openssl_would_choose_instead() -> None:
    async def test() -> None:
        async with node(ALICE, ciphers=("TLS_AES_256_GCM_SHA384",)) as alice, node(BOB) as bob:
            await linked(alice, bob)
        with pytest.raises(ConfigError, match="tls_ciphers: OpenSSL chooses TLS_AES_256_GCM_SHA384"):
            async with node(ALICE, ciphers=("TLS_AES_128_GCM_SHA256",)):
                pass

    run("asyncio", test)


_PROGRAM = """
from tests.shell.link_nodes import ALICE, BOB
from tests.shell.test_tls import shake_hands
from bellande_mesh_sync.shell.tls import check_ciphers, client_context, server_context, verified_peer
server, client = server_context(ALICE), client_context(BOB)
check_ciphers(server, client, ["TLS_CHACHA20_POLY1305_SHA256"])
print(shake_hands(server, client)[0].session.cipher()[0])
"""


def test_the_file_of_openssl_chooses_the_cipher_suite_as_the_documentation_says(tmp_path: Path) -> None:
    text = "openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\n"
    (tmp_path / "openssl.cnf").write_text(f"{text}Ciphersuites = TLS_CHACHA20_POLY1305_SHA256\n")
    environment = {**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")}
    command = [sys.executable, "-c", _PROGRAM]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.strip() == "TLS_CHACHA20_POLY1305_SHA256"


async def _dial(to: Node, context: ssl.SSLContext) -> bytes:
    """All that a stranger gets to read after it said its word."""
    heard = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(to.host, to.port, ssl=context)
        try:
            writer.write(WORD)
            async with asyncio.timeout(PATIENCE_S):
                while piece := await reader.read(1 << 16):
                    heard += piece
        finally:
            writer.transport.abort()
    return heard


@contextlib.asynccontextmanager
async def _served(context: ssl.SSLContext) -> AsyncIterator[tuple[str, asyncio.Future[bytes]]]:
    """A TLS server for one connection: its address, and all that it got to read, once that is over."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(PATIENCE_S)
        host, port = listening.getsockname()
        heard = asyncio.ensure_future(asyncio.to_thread(_serve_one, listening, context))
        yield f"{host}:{port}", heard
        await heard


def _serve_one(listening: socket.socket, context: ssl.SSLContext) -> bytes:
    connection, _ = listening.accept()
    connection.settimeout(PATIENCE_S)
    heard = b""
    with (
        connection,
        contextlib.suppress(ssl.SSLError, ConnectionError),
        context.wrap_socket(connection, server_side=True) as session,
    ):
        session.sendall(WORD)
        while piece := session.recv(1 << 16):
            heard += piece
    return heard


async def _refusal(of: Node) -> tuple[str, str, str]:
    await polled(lambda: of.links.recent_refusals)
    return of.links.recent_refusals[0]


@contextlib.contextmanager
def _logged(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    with caplog.at_level(logging.WARNING, "bellande_mesh_sync"):
        yield lambda: [record.getMessage() for record in caplog.records]
