"""The listeners: ports, TLS, slow and greedy clients, stopping."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from bellande_mesh_sync.api import calls, protocol
from bellande_mesh_sync.api.servers import HttpServers
from bellande_mesh_sync.errors import ConfigError, PortInUseError
from bellande_mesh_sync.security.authority import dev_identity

from .conftest import Served, read_all, wait_until
from .memory_mesh import MemoryMesh

PUT = b"PUT /v1/data/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin-token\r\n"
GET = b"GET /v1/data/a HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin-token\r\n"


def settings(**ports: Any) -> Any:
    given = {"http_host": "127.0.0.1", "http_port": -1, "https_host": "127.0.0.1", "https_port": -1}
    return SimpleNamespace(**{**given, **ports})


def start(mesh: MemoryMesh) -> None:
    async def do() -> None:
        servers = HttpServers(mesh)
        try:
            await servers.start()
        finally:
            await servers.stop()

    asyncio.run(do())


class TestPorts:
    def test_a_port_in_use_is_named_and_nothing_stays_bound(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as free:
            taken_port, free_port = taken.getsockname()[1], free.getsockname()[1]
            free.close()
            with pytest.raises(PortInUseError) as caught:
                start(MemoryMesh(settings=settings(http_port=free_port, https_port=taken_port)))
            assert f"127.0.0.1:{taken_port}" in str(caught.value)
            socket.create_server(("127.0.0.1", free_port)).close()

    @pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "a" * 300])
    def test_an_address_that_is_not_ours_is_a_config_error(self, host: str) -> None:
        with pytest.raises(ConfigError):
            start(MemoryMesh(settings=settings(http_host=host, http_port=0)))

    def test_both_may_be_off(self) -> None:
        start(MemoryMesh(settings=settings()))

    def test_the_same_port_can_be_bound_again_after_a_stop(self, served: Served) -> None:
        port = int(served.servers.http_address.rpartition(":")[2])
        with served.http() as http:
            http.get("/status")
            served.stop()
        start(MemoryMesh(settings=settings(http_port=port)))

    def test_it_works_on_the_plain_asyncio_loop_too(self) -> None:
        async def do() -> int:
            servers = HttpServers(MemoryMesh())
            await servers.start()
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"http://{servers.http_address}/status")
            await servers.stop()
            return answer.status_code

        assert asyncio.run(do()) == 200


class TestHttps:
    def test_the_api_and_join_answer_over_tls(self, tmp_path: Path) -> None:
        identity = dev_identity(tmp_path, "one")

        async def do() -> None:
            mesh = MemoryMesh(settings=settings(https_port=0), identity=identity)
            servers = HttpServers(mesh)
            await servers.start()
            context = ssl.create_default_context(cadata=identity.authority_pem.decode())
            async with httpx.AsyncClient(verify=context, trust_env=False) as http:
                url = f"https://{servers.https_address}"
                assert (await http.get(f"{url}/status")).status_code == 200
                body = {"token_id": "a", "proof": "b", "csr": "c", "name": "d"}
                answer = await http.post(f"{url}/join", json=body)
                assert answer.status_code == 403
                assert answer.json()["error"]["code"] == "invalid_token"
                assert mesh.calls == [("join", body, "127.0.0.1")]
                too_large = await http.post(f"{url}/join", content=b'{"csr":"' + b"x" * 100_000 + b'"}')
                assert too_large.status_code == 413
            await servers.stop()

        asyncio.run(do())

    def test_a_tls_handshake_that_never_comes_is_given_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bellande_mesh_sync.api.servers.TLS_TIMEOUT_S", 0.3)

        async def do() -> None:
            mesh = MemoryMesh(settings=settings(https_port=0), identity=dev_identity(tmp_path, "one"))
            servers = HttpServers(mesh)
            await servers.start()
            host, _, port = servers.https_address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"\x16\x03\x01\x02\x00")
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
            await servers.stop()

        asyncio.run(do())


class TestHostileClients:
    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"nonsense\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET http:// HTTP/1.1\r\nhost: x\r\n\r\n",
            PUT + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello",
            PUT + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
            PUT + b"content-length: -5\r\n\r\nhello",
            PUT + b"content-length: 99999999999999999999999999\r\n\r\nhello",
            b"GET / HTTP/1.1\r\nhost x\r\n\r\n",
            b"GET /status HTTP/1.1\r\n" + b"a:b\r\n" * 200 + b"\r\n",
        ],
        ids=range(11),
    )
    def test_what_is_no_http_is_a_json_400_and_a_close(self, served: Served, request_bytes: bytes) -> None:
        answer = served.raw(request_bytes)
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b'{"error":{"code":' in answer
        assert not served.mesh.values

    @pytest.mark.parametrize(
        "flood",
        [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100, PUT],
        ids=["one header", "the url", "many headers", "after a start"],
    )
    def test_a_head_without_an_end_is_cut_at_its_limit(self, served: Served, flood: bytes) -> None:
        with served.connect() as connection:
            connection.sendall(flood)
            sent = 0
            try:
                while sent < 50_000_000:
                    connection.sendall(b"a" * 65536)
                    sent += 65536
            except OSError:
                pass
            assert sent < 10_000_000

    def test_trailers_without_an_end_are_cut_too(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(PUT + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\na: ")
            sent = 0
            try:
                while sent < 50_000_000:
                    connection.sendall(b"a" * 65536)
                    sent += 65536
            except OSError:
                pass
            assert sent < 10_000_000
        assert not served.mesh.values

    @pytest.mark.parametrize(
        "begun", [b"", b"GET /status HT", b"\r\n", b"GET /status HTTP/1.1\r\nhost: x\r\n"]
    )
    def test_a_head_that_does_not_come_in_time_ends_the_connection(
        self, served: Served, monkeypatch: pytest.MonkeyPatch, begun: bytes
    ) -> None:
        monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)
        with served.connect() as connection:
            connection.sendall(begun)
            began = time.monotonic()
            assert _read_to_the_end(connection) == b""
            assert time.monotonic() - began < 5

    def test_bytes_that_trickle_do_not_move_the_deadline(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.5)
        with served.connect() as connection:
            began = time.monotonic()
            with pytest.raises(OSError):
                trickle(connection, b"GET /" + b"x" * 200)
            assert time.monotonic() - began < 5

    def test_a_head_in_good_time_is_served_after_others_were_slow(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)
        slow = [served.connect() for _ in range(100)]
        with served.http() as http:
            for _ in range(20):
                assert http.get("/status").status_code == 200
        for connection in slow:
            assert _read_to_the_end(connection) == b""
            connection.close()

    def test_a_body_that_stalls_writes_nothing_and_is_told(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "READ_TIMEOUT_S", 0.3)
        monkeypatch.setattr(protocol, "LINGER_S", 0.3)
        answer = served.raw(PUT + b"content-length: 10\r\n\r\nhello")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b'"code":"value_incomplete"' in answer
        assert not served.mesh.values

    @pytest.mark.parametrize("length", [10, 1_000_000])
    def test_a_body_cut_in_the_middle_writes_nothing(self, served: Served, length: int) -> None:
        with served.connect() as connection:
            connection.sendall(PUT + b"content-length: %d\r\n\r\nhello" % length)
        with served.connect() as connection:
            connection.sendall(PUT + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        wait_until(lambda: not served.servers._shared.tasks)  # type: ignore[union-attr]
        assert not served.mesh.values

    def test_a_refused_body_is_not_read_for_ever_and_its_answer_arrives(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "LINGER_S", 0.5)
        with served.connect() as connection:
            connection.sendall(b"PUT /v1/data/a HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n")
            began = time.monotonic()
            with pytest.raises(OSError):
                flood(connection, within_s=10)
            assert time.monotonic() - began < 5

    def test_a_refused_body_that_ends_soon_keeps_the_connection(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(b"PUT /v1/data/a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhe")
            assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
            time.sleep(0.05)
            connection.sendall(b"llo" + GET + b"connection: close\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 404 ")

    def test_a_client_that_does_not_read_is_cut_off(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calls, "WRITE_TIMEOUT_S", 0.3)
        with served.client() as client:
            client.put("a", bytes(50_000_000))
        with served.connect() as connection:
            connection.sendall(GET + b"\r\n")
            wait_until(lambda: len(served.servers._shared.tasks) == 1)  # type: ignore[union-attr]
            wait_until(lambda: not served.servers._shared.tasks)  # type: ignore[union-attr]

    def test_a_client_that_leaves_ends_the_reading(self, served: Served) -> None:
        with served.client() as client:
            client.put("a", bytes(50_000_000))
        with served.connect() as connection:
            connection.sendall(GET + b"\r\n")
            connection.recv(10)
        wait_until(lambda: not served.servers._shared.tasks)  # type: ignore[union-attr]

    def test_idle_connections_give_way_to_new_ones(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 20)
        idle = [served.connect() for _ in range(60)]
        for _ in range(5):
            with served.http() as http:
                assert http.get("/status").status_code == 200
        assert len(served.servers._shared.connections) <= 21  # type: ignore[union-attr]
        for connection in idle:
            connection.close()

    def test_too_many_busy_connections_are_refused_with_503(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 5)
        served.mesh.stall = asyncio.Event()
        stats = GET.replace(b"/v1/data/a", b"/v1/stats") + b"connection: close\r\n\r\n"
        busy = [served.connect() for _ in range(5)]
        for connection in busy:
            connection.sendall(stats)
        wait_until(lambda: len(served.servers._shared.tasks) == 5)  # type: ignore[union-attr]
        assert served.raw(b"").startswith(b"HTTP/1.1 503 ")
        served.loop.call_soon_threadsafe(served.mesh.stall.set)
        for connection in busy:
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")
            connection.close()

    def test_pipelined_requests_are_answered_in_order(self, served: Served) -> None:
        status = b"GET /status HTTP/1.1\r\nhost: x\r\n\r\n"
        last = b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answers = served.raw(status * 3 + last)
        assert answers.count(b"HTTP/1.1 200 ") == 3
        assert answers.count(b"HTTP/1.1 401 ") == 1

    def test_expect_100_continue_is_answered_before_the_body(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(
                PUT + b"content-length: 5\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b"hello")
            assert read_all(connection).startswith(b"HTTP/1.1 201 ")


class TestStopping:
    def test_a_request_under_way_is_finished(self, served: Served) -> None:
        served.mesh.stall = asyncio.Event()
        answers: list[httpx.Response] = []
        with served.http() as http:
            thread = threading.Thread(target=lambda: answers.append(http.get("/v1/stats")))
            thread.start()
            wait_until(lambda: len(served.servers._shared.tasks) == 1)  # type: ignore[union-attr]
            served.loop.call_soon_threadsafe(served.loop.call_later, 0.3, served.mesh.stall.set)
            served.stop()
            thread.join(10)
        assert [answer.status_code for answer in answers] == [200]

    def test_hanging_clients_do_not_hold_it_up(
        self, served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("bellande_mesh_sync.api.servers.STOP_TIMEOUT_S", 0.3)
        served.mesh.stall = asyncio.Event()
        with served.client() as client:
            client.put("a", bytes(50_000_000))
        requests = [
            b"",
            b"GET /sta",
            GET + b"\r\n",
            PUT + b"content-length: 100\r\n\r\nx",
            GET.replace(b"/v1/data/a", b"/v1/stats") + b"\r\n",
            GET.replace(b"/v1/data/a", b"/v1/watch") + b"\r\n",
        ]
        connections = [served.connect() for _ in requests]
        for connection, request_bytes in zip(connections, requests, strict=True):
            connection.sendall(request_bytes)
        wait_until(lambda: len(served.servers._shared.tasks) == 4)  # type: ignore[union-attr]
        began = time.monotonic()
        served.stop()
        assert time.monotonic() - began < 4
        assert not served.mesh.watches
        assert "Traceback" not in caplog.text
        for connection in connections:
            connection.close()

    def test_a_watch_ends_at_once(self, served: Served) -> None:
        ready = threading.Event()
        ended = threading.Event()

        def watch() -> None:
            with served.client() as client:
                assert list(client.watch(on_ready=ready.set)) == []
            ended.set()

        threading.Thread(target=watch, daemon=True).start()
        assert ready.wait(10)
        began = time.monotonic()
        served.stop()
        assert ended.wait(10)
        assert time.monotonic() - began < 2

    def test_stopping_twice_is_as_good_as_once(self, served: Served) -> None:
        served.stop()
        served.stop()
        assert served.servers.http_address == ""

    def test_the_process_keeps_its_signal_handlers(self) -> None:
        import signal

        before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        start(MemoryMesh())
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def trickle(connection: socket.socket, text: bytes) -> None:
    for byte in text:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def flood(connection: socket.socket, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        connection.sendall(bytes(65536))


def _read_to_the_end(connection: socket.socket) -> bytes:
    try:
        return read_all(connection)
    except ConnectionResetError:
        return b""
