"""Joining end to end over real TLS: who gets in, who is refused, and what a false server ever hears."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.errors import (
    AlreadyAMemberError,
    AuthenticationError,
    BellandeMeshError,
    ConfigError,
    ExpiredTokenError,
    InvalidTokenError,
    RequestError,
    TooManyAttemptsError,
    UnreachableError,
    UnsupportedError,
    UsageError,
    UsedTokenError,
)
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security.admission import JoinDesk
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.building import leaf_certificate
from bellande_mesh_sync.security.identity import Identity, load_identity, save_identity
from bellande_mesh_sync.security.joining import join, join_home
from bellande_mesh_sync.security.tokens import parse_token
from bellande_mesh_sync.shell.tls import https_context

Answer = Callable[[dict[str, Any]], tuple[int, dict[str, Any] | bytes]]


class Seed:
    """An HTTPS server on loopback that counts what it hears once TLS is up."""

    def __init__(self, identity: Identity, answer: Answer) -> None:
        self.bodies: list[bytes] = []
        self.heard = 0
        self.connected = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def setup(self) -> None:
                outer.connected += 1
                super().setup()

            def handle_one_request(self) -> None:
                first = self.connection.recv(1, 0)
                outer.heard += len(first)
                if not first:
                    self.close_connection = True
                    return
                self.rfile = _Prefixed(first, self.rfile)  # type: ignore[assignment]
                super().handle_one_request()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.bodies.append(body)
                status, content = answer(json.loads(body))
                encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.socket = https_context(identity).wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=True
        )
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Prefixed:
    def __init__(self, first: bytes, rest: Any) -> None:
        self._first, self._rest = first, rest

    def readline(self, limit: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first + bytes(self._rest.readline(limit))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rest, name)


@contextlib.contextmanager
def seed(identity: Identity, answer: Answer) -> Iterator[Seed]:
    running = Seed(identity, answer)
    try:
        yield running
    finally:
        running.close()


class Founder:
    """The node that made the mesh, as far as joining goes."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.identity = found_mesh("harbour", "crane-1")
        self.folder = folder
        self.authority.save(folder)
        save_identity(self.identity, folder)
        self.desk = JoinDesk.open(self.identity, folder, lambda: ["10.0.0.1:8000"])

    def answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            return 200, self.desk.handle_join_request(body, "127.0.0.1")
        except BellandeMeshError as error:
            detail = {k: v for k, v in error.facts.items() if isinstance(v, str | int | float)}
            return 400, {"error": {"code": error.code, "message": str(error), "detail": detail}}

    def token(
        self, *addresses: str, uses: int = 1, expires_s: float = 3600, role: str = "writer",
        labels: dict[str, str] | None = None,
    ) -> str:  # fmt: skip
        return self.desk.invite(role=role, expires_s=expires_s, uses=uses, addresses=addresses, labels=labels)


@pytest.fixture
def founder(tmp_path: Path) -> Founder:
    return Founder(tmp_path / "founder" / "identity")


def test_a_token_makes_its_holder_a_member(founder: Founder, tmp_path: Path) -> None:
    home = Home(tmp_path / "joiner")
    with seed(founder.identity, founder.answer) as server:
        identity = join_home(founder.token(server.address, role="reader"), "crane-2", home)
    assert load_identity(home.identity_dir) == identity
    assert (identity.name, identity.role, identity.mesh_name) == ("crane-2", "reader", "harbour")
    assert identity.mesh_id == founder.identity.mesh_id
    config, _ = home.load_settings()
    assert config.bootstrap_nodes == ("10.0.0.1:8000",)
    assert config.name == "crane-2"


def test_labels_of_an_invitation_are_settings_of_who_comes_in(founder: Founder, tmp_path: Path) -> None:
    home = Home(tmp_path / "joiner")
    with seed(founder.identity, founder.answer) as server:
        join_home(founder.token(server.address, labels={"site": "a", "floor": "2"}), "crane-2", home)
    assert home.load_settings()[0].labels == {"site": "a", "floor": "2"}


def test_labels_that_no_member_record_can_hold_are_refused_when_inviting(founder: Founder) -> None:
    with pytest.raises(ConfigError, match="all labels together take"):
        founder.token("10.0.0.1:1", labels={f"label {i}": "x" * 60 for i in range(10)})
    with pytest.raises(ConfigError, match="printable"):
        founder.token("10.0.0.1:1", labels={"site": "\x1b[2J"})


def test_two_hundred_machines_join_in_a_row_with_one_token(founder: Founder) -> None:
    with seed(founder.identity, founder.answer) as server:
        text = founder.token(server.address, uses=200)
        nodes = {join(text, f"crane-{index}").identity.node for index in range(200)}
        with pytest.raises(UsedTokenError):
            join(text, "crane-200")
    assert len(nodes) == 200
    assert len(server.bodies) == 201, "none had to ask twice"


def test_neither_secret_nor_private_key_is_sent(founder: Founder) -> None:
    with seed(founder.identity, founder.answer) as server:
        text = founder.token(server.address)
        identity = join(text, "crane-2").identity
        body = server.bodies[0]
    secret = parse_token(text).secret
    assert secret not in body
    assert secret.hex().encode() not in body
    assert set(json.loads(body)) == {"token_id", "proof", "csr", "name"}
    assert identity.private_key_pem() not in body


def test_a_false_server_under_the_same_names_hears_nothing(founder: Founder, tmp_path: Path) -> None:
    """A seed with its own authority of the same name would pass the request on to the real one."""
    false = new_member(Authority.create("harbour"), "crane-1", role="admin")
    home = Home(tmp_path / "joiner")
    with seed(false, founder.answer) as server:
        text = founder.token(server.address)
        with pytest.raises(AuthenticationError, match="not a node of the token's mesh"):
            join_home(text, "crane-2", home)
        assert server.connected > 0
    assert server.heard == 0
    assert not home.identity_dir.exists()


def _impostors(founder: Founder) -> dict[str, tuple[Identity, str]]:
    real, now = founder.identity, datetime.datetime.now(datetime.UTC)
    twin = Authority.create("harbour")
    claims_ours = replace(twin, mesh_id=founder.authority.mesh_id)
    hour = datetime.timedelta(hours=1)

    def shown(authority: Authority, start: datetime.timedelta, end: datetime.timedelta) -> Identity:
        span = (now + start, now + end)
        leaf = leaf_certificate(authority, real.public_key, "x", "admin", span)
        return replace(real, certificate_pem=leaf.public_bytes(Encoding.PEM))

    authority_itself = replace(
        real, certificate_pem=founder.authority.certificate_pem, key=founder.authority.key
    )
    return {
        "names our mesh but is signed by another": (shown(claims_ours, -hour, hour), "not issued by"),
        "is expired": (shown(founder.authority, -3 * hour, -2 * hour), "expired 2 h"),
        "is not valid yet": (shown(founder.authority, 2 * hour, 3 * hour), "valid only in"),
        "is the authority's own": (authority_itself, "not a node's"),
    }


@pytest.mark.parametrize(
    "fault",
    ["names our mesh but is signed by another", "is expired", "is not valid yet", "is the authority's own"],
)
def test_a_server_hears_nothing_if_its_certificate(founder: Founder, fault: str) -> None:
    identity, reason = _impostors(founder)[fault]
    with seed(identity, founder.answer) as server:
        text = founder.token(server.address)
        with pytest.raises(AuthenticationError, match=reason):
            join(text, "crane-2")
    assert server.heard == 0


def test_a_member_in_the_middle_cannot_use_the_proof(founder: Founder) -> None:
    """A true member may stand at the address; what it hears is worth nothing at the founder."""
    member = new_member(founder.authority, "crane-9", role="writer")
    with seed(member, founder.answer) as server:
        text = founder.token(server.address)
        with pytest.raises(InvalidTokenError):
            join(text, "crane-2")


def test_an_impostor_at_one_address_does_not_keep_the_joiner_from_the_next(founder: Founder) -> None:
    false = new_member(Authority.create("harbour"), "crane-1", role="admin")
    with seed(false, founder.answer) as wrong, seed(founder.identity, founder.answer) as right:
        assert join(founder.token(wrong.address, right.address), "crane-2").identity.name == "crane-2"
    assert wrong.heard == 0


def _closed_port() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def test_every_address_of_the_token_is_tried_and_named(founder: Founder) -> None:
    closed, other = _closed_port(), _closed_port()
    with pytest.raises(UnreachableError) as caught:
        join(founder.token(closed, other), "crane-2")
    assert closed in str(caught.value)
    assert other in str(caught.value)
    assert "refused" in str(caught.value).lower()
    with seed(founder.identity, founder.answer) as server:
        assert join(founder.token(closed, server.address), "crane-2").identity.name == "crane-2"


def test_a_server_that_speaks_no_tls_is_not_reachable(founder: Founder) -> None:
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=plain.serve_forever, args=(0.01,))
    thread.start()
    try:
        with pytest.raises(UnreachableError):
            join(founder.token(f"127.0.0.1:{plain.server_address[1]}"), "crane-2")
    finally:
        plain.shutdown()
        plain.server_close()
        thread.join()


def test_a_server_that_never_answers_is_given_up(founder: Founder) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnreachableError, match=r"no answer in time|timed out"):
            join(founder.token(address), "crane-2", timeout_s=0.2)


def test_of_twenty_joiners_with_a_single_use_token_one_comes_in(founder: Founder) -> None:
    with seed(founder.identity, founder.answer) as server:
        text = founder.token(server.address)

        def outcome(index: int) -> str:
            try:
                return join(text, f"crane-{index}").identity.role
            except BellandeMeshError as error:
                return error.code

        with ThreadPoolExecutor(20) as pool:
            outcomes = list(pool.map(outcome, range(20)))
    assert sorted(outcomes) == ["token_used"] * 19 + ["writer"]


def test_an_expired_token_is_refused_by_the_joiner_itself(
    founder: Founder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with seed(founder.identity, founder.answer) as server:
        text = founder.token(server.address, expires_s=60)
        expires_s = parse_token(text).expires_s
        monkeypatch.setattr("bellande_mesh_sync.security.joining.time.time", lambda: expires_s + 3600.0)
        with pytest.raises(ExpiredTokenError, match="1 h ago"):
            join(text, "crane-2")
        assert server.connected == 0


def test_the_server_has_the_last_word_on_expiry(founder: Founder, tmp_path: Path) -> None:
    """A joiner whose clock is behind, or who changed its token, gains nothing."""
    desk = founder.desk

    def answer_later(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with pytest.raises(ExpiredTokenError) as caught:
            desk.handle_join_request(body, "127.0.0.1", now=4e9)
        error = caught.value
        return 403, {"error": {"code": error.code, "message": str(error), "detail": error.facts}}

    with (
        seed(founder.identity, answer_later) as server,
        pytest.raises(ExpiredTokenError, match="ago; ask for a new one"),
    ):
        join(founder.token(server.address), "crane-2")


@pytest.mark.parametrize(
    ("code", "detail", "cls"),
    [
        ("invalid_token", {"reason": "no"}, InvalidTokenError),
        ("token_expired", {"ago": "1 h"}, ExpiredTokenError),
        ("token_used", {}, UsedTokenError),
        ("too_many_attempts", {"address": "::1", "wait_s": 3.5}, TooManyAttemptsError),
        ("something_new", {"message": 1, "self": 2}, RequestError),
    ],
)
def test_a_refusal_is_the_same_error_here_as_there(
    founder: Founder, code: str, detail: dict[str, Any], cls: type[BellandeMeshError]
) -> None:
    error = {"error": {"code": code, "message": "because \x1b[31mred", "detail": detail}}
    with seed(founder.identity, lambda _: (403, error)) as server:
        with pytest.raises(cls) as caught:
            join(founder.token(server.address), "crane-2")
        assert len(server.bodies) == 1, "a no is not asked again"
    assert "because ?[31mred" in str(caught.value), "a server cannot write to the terminal"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"error": 3}', b"\xff", b'{"error": {"code": []}}'])
def test_a_refusal_in_another_form_is_still_an_error_of_ours(founder: Founder, content: bytes) -> None:
    with (
        seed(founder.identity, lambda _: (500, content)) as server,
        pytest.raises(RequestError, match="HTTP 500"),
    ):
        join(founder.token(server.address), "crane-2")


def _changed(founder: Founder, **changes: Any) -> Answer:
    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return 200, {**founder.answer(body)[1], **changes}

    return answer


def test_an_answer_that_does_not_check_out_saves_nothing(founder: Founder, tmp_path: Path) -> None:
    stranger_authority, stranger = found_mesh("harbour", "x")
    other = new_member(founder.authority, "other", role="writer")
    faults: list[dict[str, Any]] = [
        {"certificate": other.certificate_pem.decode()},
        {"certificate": stranger.certificate_pem.decode()},
        {"certificate": "x"},
        {"certificate": "é"},
        {"authority": stranger_authority.certificate_pem.decode()},
        {"authority": ""},
        {"authority": None},
        {"bootstrap": ["nowhere"]},
        {"bootstrap": 3},
        {"role": None},
    ]
    for index, fault in enumerate(faults):
        home = Home(tmp_path / f"joiner-{index}")
        with seed(founder.identity, _changed(founder, **fault)) as server:
            text = founder.token(server.address)
            with pytest.raises(AuthenticationError, match="cannot be used"):
                join_home(text, "crane-2", home)
        assert not home.identity_dir.exists(), fault
        assert not home.settings_path.exists(), fault


def test_an_answer_that_got_lost_costs_no_use(founder: Founder) -> None:
    asked = 0

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        nonlocal asked
        asked += 1
        result = founder.answer(body)
        if asked == 1:
            raise ConnectionResetError
        return result

    with seed(founder.identity, answer) as server:
        assert join(founder.token(server.address), "crane-2").identity.name == "crane-2"
    assert asked == 2


def test_a_member_does_not_become_another_one(founder: Founder) -> None:
    home = Home(founder.folder.parent)
    with pytest.raises(AlreadyAMemberError, match=founder.identity.node.hex()):
        join_home(founder.token("127.0.0.1:1"), "crane-2", home)


def test_a_name_that_no_certificate_can_hold_is_refused_before_anything_is_sent(founder: Founder) -> None:
    with pytest.raises(ConfigError, match="1 to 64"):
        join(founder.token("127.0.0.1:1"), "x" * 65)


def test_settings_that_were_there_keep_what_they_said(founder: Founder, tmp_path: Path) -> None:
    home = Home(tmp_path / "joiner")
    home.write_settings('# mine\nname = "dock"\n\n[options]\nmax_retries = 7\n')
    with seed(founder.identity, founder.answer) as server:
        join_home(founder.token(server.address), "crane-2", home)
    config, options = home.load_settings()
    assert (config.name, config.bootstrap_nodes, options.max_retries) == ("dock", ("10.0.0.1:8000",), 7)
    assert "# mine" in home.settings_path.read_text()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token_id": 1, "proof": "", "csr": "", "name": "x"},
        {"token_id": "0" * 16, "proof": "zz", "csr": "x", "name": "x"},
        {"token_id": "0" * 16, "proof": "0" * 64, "csr": "x" * 10_000, "name": "x"},
        {"token_id": "0" * 16, "proof": "0" * 64, "csr": "\ud800", "name": "x"},
        {"token_id": "0" * 16, "proof": "0" * 64, "csr": "x", "name": ""},
        {"token_id": "0" * 16, "proof": "0" * 64, "csr": "x", "name": "a\nb"},
    ],
)
def test_a_malformed_request_is_told_so(founder: Founder, body: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="malformed"):
        founder.desk.handle_join_request(body, "127.0.0.1")


def test_a_node_without_the_authoritys_key_says_that_it_lets_nobody_in(
    founder: Founder, tmp_path: Path
) -> None:
    member = new_member(founder.authority, "crane-3", role="admin")
    save_identity(member, tmp_path / "member")
    desk = JoinDesk.open(member, tmp_path / "member", list)
    body = {"token_id": "0" * 16, "proof": "0" * 64, "csr": "x", "name": "x"}
    with pytest.raises(UnsupportedError, match="authority's key"):
        desk.handle_join_request(body, "127.0.0.1")
    with pytest.raises(UnsupportedError, match="authority's key"):
        desk.invite(role="writer", expires_s=60, uses=1, addresses=["127.0.0.1:1"])


def test_joining_needs_tls_1_3(founder: Founder) -> None:
    context = https_context(founder.identity)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_server(("127.0.0.1", 0)) as listener:
        heard: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as tls:
                    heard.append(tls.recv(1))
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError):
            join(founder.token(f"127.0.0.1:{listener.getsockname()[1]}"), "crane-2")
        thread.join()
    assert heard == []
