"""Links trust this mesh's members and nobody else, on both sides, whatever is wrong with the other end."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from bellande_mesh_sync.errors import AuthenticationError
from bellande_mesh_sync.security.authority import Authority
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.shell.tls import client_context, https_context, server_context, verified_peer
from bellande_mesh_sync.shell.tls_refusal import tls_refusal
from tests.shell.forgeries import (
    REFUSED_BY_OPENSSL,
    REFUSED_BY_US,
    TWIN_MEMBER,
    forged,
    twin_claiming_our_mesh,
)
from tests.shell.link_nodes import ALICE, AUTHORITY, BOB


class Outcome:
    """How one end of a handshake in memory ended."""

    def __init__(self, session: ssl.SSLObject) -> None:
        self.session = session
        self.done = False
        self.error: ssl.SSLError | None = None

    def step(self) -> None:
        if self.done or self.error:
            return
        try:
            self.session.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error

    def read_after(self) -> None:
        """A TLS 1.3 client learns at its first read what the server thought of its certificate."""
        try:
            self.session.read(1)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = self.error or error


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[Outcome, Outcome]:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        Outcome(server.wrap_bio(to_server, to_client, server_side=True)),
        Outcome(client.wrap_bio(to_client, to_server)),
    )
    for _ in range(5):
        ends[1].step()
        ends[0].step()
    if ends[1].done:
        ends[1].read_after()
    return ends


def test_two_members_know_each_other_and_their_roles() -> None:
    server, client = shake_hands(server_context(ALICE), client_context(BOB))
    theirs, ours = verified_peer(server.session, ALICE), verified_peer(client.session, BOB)
    assert (theirs.node, theirs.role) == (BOB.node, "writer")
    assert (ours.node, ours.role) == (ALICE.node, "admin")
    assert server.session.version() == "TLSv1.3"


def test_nothing_that_could_resume_a_session_is_handed_out() -> None:
    _, client = shake_hands(server_context(ALICE), client_context(BOB))
    session = client.session.session
    assert session is None or not session.has_ticket


@pytest.mark.parametrize("fault", REFUSED_BY_OPENSSL)
def test_a_server_refuses_a_client_whose_certificate_is(fault: str) -> None:
    server, client = shake_hands(server_context(ALICE), client_context(REFUSED_BY_OPENSSL[fault]()))
    assert not server.done
    assert isinstance(server.error, ssl.SSLCertVerificationError)
    assert "certificate is refused" in tls_refusal(server.error).reason
    assert client.error is not None, "the client is told at its first read"


@pytest.mark.parametrize("fault", REFUSED_BY_OPENSSL)
def test_a_client_refuses_a_server_whose_certificate_is(fault: str) -> None:
    server, client = shake_hands(server_context(REFUSED_BY_OPENSSL[fault]()), client_context(BOB))
    assert isinstance(client.error, ssl.SSLCertVerificationError)
    assert not client.done
    assert not server.done


@pytest.mark.parametrize("fault", REFUSED_BY_US)
def test_a_server_refuses_a_certificate_that_chains_but(fault: str) -> None:
    make, reason = REFUSED_BY_US[fault]
    server, _ = shake_hands(server_context(ALICE), client_context(make()))
    assert server.done, server.error
    with pytest.raises(AuthenticationError, match=reason):
        verified_peer(server.session, ALICE)


@pytest.mark.parametrize("fault", REFUSED_BY_US)
def test_a_client_refuses_a_certificate_that_chains_but(fault: str) -> None:
    make, reason = REFUSED_BY_US[fault]
    _, client = shake_hands(server_context(make()), client_context(BOB))
    assert client.done, client.error
    with pytest.raises(AuthenticationError, match=reason):
        verified_peer(client.session, BOB)


def test_our_own_checks_hold_where_openssl_checks_nothing() -> None:
    lax = client_context(BOB)
    lax.verify_mode = ssl.CERT_NONE
    for identity, reason in (
        (TWIN_MEMBER, "another mesh"),
        (twin_claiming_our_mesh(), "not issued by"),
        (REFUSED_BY_OPENSSL["expired"](), "expired 1 d"),
        (REFUSED_BY_OPENSSL["not valid yet"](), "valid only in 23 h"),
    ):
        other = server_context(identity)
        other.verify_mode = ssl.CERT_NONE
        _, client = shake_hands(other, lax)
        assert client.done
        with pytest.raises(AuthenticationError, match=reason):
            verified_peer(client.session, BOB)


def _old_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def test_tls_1_2_is_refused_by_both_sides() -> None:
    server, client = shake_hands(server_context(ALICE), _old_tls(client_context(BOB)))
    assert server.error is not None
    assert not client.done
    server, client = shake_hands(_old_tls(server_context(ALICE)), client_context(BOB))
    assert client.error is not None
    assert not server.done


def test_tls_1_2_is_refused_by_our_own_check_too() -> None:
    _, client = shake_hands(_old_tls(server_context(ALICE)), _old_tls(client_context(BOB)))
    with pytest.raises(AuthenticationError, match=r"TLS 1\.3 is required"):
        verified_peer(client.session, BOB)


def test_a_client_without_a_certificate_is_refused() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.load_verify_locations(cadata=AUTHORITY.certificate_pem.decode())
    bare.set_alpn_protocols(["bmesh/1"])
    server, client = shake_hands(server_context(ALICE), bare)
    assert server.error is not None
    assert "CERTIFICATE" in str(server.error).upper()
    assert client.error is not None


def test_a_peer_that_showed_no_certificate_is_refused_by_our_own_check_too() -> None:
    lax, bare = server_context(ALICE), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.verify_mode = ssl.CERT_NONE
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    bare.set_alpn_protocols(["bmesh/1"])
    server, _ = shake_hands(lax, bare)
    with pytest.raises(AuthenticationError, match="showed no certificate"):
        verified_peer(server.session, ALICE)


@pytest.mark.parametrize("offered", [[], ["http/1.1"], ["bmesh/2"]])
def test_a_peer_that_does_not_name_our_protocol_is_refused(offered: list[str]) -> None:
    def without(context: ssl.SSLContext, identity: Identity) -> ssl.SSLContext:
        plain = ssl.SSLContext(context.protocol)
        plain.check_hostname = False
        plain.verify_mode = ssl.CERT_NONE
        other = https_context(identity) if context.protocol == ssl.PROTOCOL_TLS_SERVER else context
        other.set_alpn_protocols(offered or ["x"])
        return other

    server, _ = shake_hands(server_context(ALICE), without(client_context(BOB), BOB))
    with pytest.raises(AuthenticationError, match="did not agree to speak bmesh/1"):
        verified_peer(server.session, ALICE)
    _, client = shake_hands(without(server_context(ALICE), ALICE), client_context(BOB))
    with pytest.raises(AuthenticationError, match="did not agree to speak bmesh/1"):
        verified_peer(client.session, BOB)


def test_a_chain_through_a_member_is_refused() -> None:
    """A stolen node key must not be able to issue nodes."""
    member = Authority(AUTHORITY.mesh_name, AUTHORITY.mesh_id, BOB.public_key, BOB.certificate_pem, BOB.key)
    child = forged(issuer=member)
    chained = replace(child, certificate_pem=child.certificate_pem + BOB.certificate_pem)
    server, _ = shake_hands(server_context(ALICE), client_context(chained))
    assert isinstance(server.error, ssl.SSLCertVerificationError)
    _, client = shake_hands(server_context(chained), client_context(BOB))
    assert isinstance(client.error, ssl.SSLCertVerificationError)


def test_https_asks_nobody_for_a_certificate_and_works_as_localhost() -> None:
    browser = ssl.create_default_context(cadata=AUTHORITY.certificate_pem.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = Outcome(https_context(ALICE).wrap_bio(to_server, to_client, server_side=True))
    client = Outcome(browser.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"))
    for _ in range(4):
        client.step()
        server.step()
    assert client.done, client.error
    assert server.session.getpeercert(binary_form=True) is None


async def _meet(
    server_side: ssl.SSLContext, client_side: ssl.SSLContext, *, reaches_server: bool = True
) -> tuple[object, object, bytes]:
    """What each end makes of the other over real sockets, and the application bytes the server got."""
    seen: asyncio.Future[tuple[object, bytes]] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = writer.get_extra_info("ssl_object")
        try:
            peer: object = verified_peer(session, ALICE).node
        except AuthenticationError as error:
            peer = error
        else:
            writer.write(b"welcome")
        received = b""
        if isinstance(peer, bytes):
            received = await reader.read(100)
        seen.set_result((peer, received))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side, ssl_handshake_timeout=5)
    port = server.sockets[0].getsockname()[1]
    mine: object
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side)
        mine = verified_peer(writer.get_extra_info("ssl_object"), BOB).node
        if await reader.read(100) != b"welcome":
            raise ConnectionError("no welcome")
        writer.write(b"hello")
        await writer.drain()
        theirs = await asyncio.wait_for(seen, 5)
        writer.close()
    except OSError as error:
        mine = error
        # Refused within the handshake, the server's side never starts.
        theirs = await asyncio.wait_for(seen, 5) if reaches_server else (None, b"")
    finally:
        server.close()
    return mine, theirs[0], theirs[1]


RUNNERS: dict[str, Callable[..., Any]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


@pytest.mark.parametrize("loop", RUNNERS)
def test_members_meet_over_real_sockets(loop: str) -> None:
    with asyncio.Runner(loop_factory=RUNNERS[loop]) as runner:
        mine, theirs, received = runner.run(_meet(server_context(ALICE), client_context(BOB)))
    assert mine == ALICE.node
    assert theirs == BOB.node
    assert received == b"hello"


@pytest.mark.parametrize("loop", RUNNERS)
@pytest.mark.parametrize("fault", [*REFUSED_BY_OPENSSL, *REFUSED_BY_US])
def test_a_false_member_gets_no_welcome_over_real_sockets(loop: str, fault: str) -> None:
    make = REFUSED_BY_OPENSSL.get(fault) or REFUSED_BY_US[fault][0]
    with asyncio.Runner(loop_factory=RUNNERS[loop]) as runner:
        meeting = _meet(server_context(ALICE), client_context(make()), reaches_server=fault in REFUSED_BY_US)
        mine, theirs, received = runner.run(meeting)
    assert isinstance(mine, OSError), mine
    assert isinstance(theirs, AuthenticationError) == (fault in REFUSED_BY_US)
    assert received == b""
