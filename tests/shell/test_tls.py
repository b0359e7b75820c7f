"""Links trust this mesh's members and nobody else, on both sides, whatever is wrong with the other end."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from bellande_mesh_sync.errors import AuthenticationError
from bellande_mesh_sync.ids import NodeId, node_id_of
from bellande_mesh_sync.security.authority import Authority, new_member
from bellande_mesh_sync.security.certificates import member_uri
from bellande_mesh_sync.security.identity import Identity, new_key, public_bytes
from bellande_mesh_sync.shell.tls import (
    client_context,
    https_context,
    refusal_reason,
    server_context,
    verified_peer,
)

AUTHORITY = Authority.create("harbour")
ALICE = new_member(AUTHORITY, "alice", role="admin")
BOB = new_member(AUTHORITY, "bob", role="writer")
DAY = datetime.timedelta(days=1)


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


def forged(
    *,
    issuer: Authority = AUTHORITY,
    uris: Callable[[NodeId], list[str]] = lambda node: [member_uri(AUTHORITY.mesh_id, node, "writer")],
    from_now: datetime.timedelta = -DAY,
    until: datetime.timedelta = DAY,
    is_authority: bool = False,
    usages: tuple[x509.ObjectIdentifier, ...] = (
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    ),
    signer: Ed25519PrivateKey | None = None,
    other_key: Any = None,
) -> Identity:
    """A member that never went through Authority.issue; it trusts the true mesh, to get as far as it can."""
    key = new_key()
    shown = other_key or key
    issuer_name = x509.load_pem_x509_certificate(issuer.certificate_pem).subject
    names = [x509.UniformResourceIdentifier(uri) for uri in uris(node_id_of(public_bytes(key)))]
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mallory")]))
        .issuer_name(issuer_name)
        .public_key(shown.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + from_now)
        .not_valid_after(now + until)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, is_authority, False, False, False), critical=True
        )
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(shown.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
        )
        .sign(signer or issuer.key, None)
    )
    return replace(BOB, certificate_pem=certificate.public_bytes(Encoding.PEM), key=shown)


def test_two_members_know_each_other_and_their_roles() -> None:
    server, client = shake_hands(server_context(ALICE), client_context(BOB))
    assert verified_peer(server.session, ALICE) == (BOB.node, "writer")
    assert verified_peer(client.session, BOB) == (ALICE.node, "admin")
    assert server.session.version() == "TLSv1.3"


def test_nothing_that_could_resume_a_session_is_handed_out() -> None:
    _, client = shake_hands(server_context(ALICE), client_context(BOB))
    session = client.session.session
    assert session is None or not session.has_ticket


TWIN = Authority.create("harbour")  # Another authority under the same name.
TWIN_MEMBER = new_member(TWIN, "bob", role="writer")


def _twin_claiming_our_mesh() -> Identity:
    return forged(issuer=TWIN)


def _self_signed() -> Identity:
    key = new_key()
    return forged(signer=key, other_key=key)


REFUSED_BY_OPENSSL: dict[str, Callable[[], Identity]] = {
    "another authority of the same name": lambda: replace(
        BOB, certificate_pem=TWIN_MEMBER.certificate_pem, key=TWIN_MEMBER.key
    ),
    "another authority, naming our mesh": _twin_claiming_our_mesh,
    "signed by its own key": _self_signed,
    "expired": lambda: forged(from_now=-3 * DAY, until=-DAY),
    "not valid yet": lambda: forged(from_now=DAY, until=3 * DAY),
    "of another purpose": lambda: forged(usages=(ExtendedKeyUsageOID.CODE_SIGNING,)),
}


@pytest.mark.parametrize("fault", REFUSED_BY_OPENSSL)
def test_a_server_refuses_a_client_whose_certificate_is(fault: str) -> None:
    server, client = shake_hands(server_context(ALICE), client_context(REFUSED_BY_OPENSSL[fault]()))
    assert not server.done
    assert isinstance(server.error, ssl.SSLCertVerificationError)
    assert "certificate is refused" in refusal_reason(server.error)
    assert client.error is not None, "the client is told at its first read"


@pytest.mark.parametrize("fault", REFUSED_BY_OPENSSL)
def test_a_client_refuses_a_server_whose_certificate_is(fault: str) -> None:
    server, client = shake_hands(server_context(REFUSED_BY_OPENSSL[fault]()), client_context(BOB))
    assert isinstance(client.error, ssl.SSLCertVerificationError)
    assert not client.done
    assert not server.done


def _two_names(node: NodeId) -> list[str]:
    return [member_uri(AUTHORITY.mesh_id, node, role) for role in ("reader", "admin")]


REFUSED_BY_US: dict[str, tuple[Callable[[], Identity], str]] = {
    "names another node": (
        lambda: forged(uris=lambda _: [member_uri(AUTHORITY.mesh_id, ALICE.node, "writer")]),
        "but its key is that of",
    ),
    "names another mesh": (
        lambda: forged(uris=lambda node: [member_uri(TWIN.mesh_id, node, "writer")]),
        "for another mesh",
    ),
    "has two names": (
        lambda: forged(
            uris=lambda node: [member_uri(AUTHORITY.mesh_id, node, r) for r in ("reader", "admin")]
        ),
        "2 URI names",
    ),
    "has no name": (lambda: forged(uris=lambda _: []), "0 URI names"),
    "has a name of another form": (lambda: forged(uris=lambda _: ["https://localhost/"]), "is not a node's"),
    "has a name with something after it": (
        lambda: forged(uris=lambda node: [member_uri(AUTHORITY.mesh_id, node, "writer") + "&role=admin"]),
        "is not a node's",
    ),
    "is an authority": (lambda: forged(is_authority=True), "is an authority's"),
    "has another kind of key": (
        lambda: forged(other_key=ec.generate_private_key(ec.SECP256R1())),
        "not Ed25519",
    ),
}


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
        (_twin_claiming_our_mesh(), "not issued by"),
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
            peer: object = verified_peer(session, ALICE)
        except AuthenticationError as error:
            peer = error
        else:
            writer.write(b"welcome")
        received = b""
        if isinstance(peer, tuple):
            received = await reader.read(100)
        seen.set_result((peer, received))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side, ssl_handshake_timeout=5)
    port = server.sockets[0].getsockname()[1]
    mine: object
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_side)
        mine = verified_peer(writer.get_extra_info("ssl_object"), BOB)
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
    assert mine == (ALICE.node, "admin")
    assert theirs == (BOB.node, "writer")
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
