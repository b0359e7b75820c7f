"""The client: files, streams, errors turned back into classes, nodes that are not there."""

from __future__ import annotations

import io
import socket
import threading
from pathlib import Path

import pytest

from bellande_mesh_sync import errors as tree
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.client_errors import classes_by_code, error_in
from bellande_mesh_sync.values import Change

from .conftest import Served, wait_until
from .memory_mesh import CERTIFICATE, NODE

LARGE = bytes(range(256)) * 12_000  # 3 MB


class TestValues:
    @pytest.mark.parametrize(
        "source", [LARGE, bytearray(b"x"), memoryview(b"xy"), "text é", b""], ids=range(5)
    )
    def test_bytes_and_text_come_back(self, client: Client, source: bytes | str) -> None:
        receipt = client.put("a/b", source, content_type="text/x")
        value = client.get("a/b")
        assert value.data == (source.encode() if isinstance(source, str) else bytes(source))
        assert (value.version, value.author, value.content_type) == (receipt.version, NODE, "text/x")
        assert value.entry == client.head("a/b")

    def test_files_and_pieces_are_streamed_and_their_progress_told(
        self, client: Client, tmp_path: Path
    ) -> None:
        path = tmp_path / "in"
        path.write_bytes(LARGE)
        passed: list[int] = []
        client.put_file("a", path, progress=passed.append)
        client.put("b", io.BytesIO(LARGE))
        client.put("c", iter([LARGE[:10], LARGE[10:]]), size=len(LARGE))
        assert sum(passed) == len(LARGE)
        passed.clear()
        for key in "abc":
            client.get_file(key, tmp_path / "out", progress=passed.append)
            assert (tmp_path / "out").read_bytes() == LARGE
        assert sum(passed) == 3 * len(LARGE)

    @pytest.mark.parametrize("size", [5, 7])
    def test_pieces_that_are_not_as_long_as_announced_write_nothing(
        self, served: Served, client: Client, size: int
    ) -> None:
        with pytest.raises(tree.IncompleteValueError):
            client.put("a", iter([b"123", b"456"]), size=size)
        assert not served.mesh.values

    def test_a_range_of_a_value_can_be_read(self, client: Client) -> None:
        client.put("a", LARGE)
        with client.open("a", 1000, 2_000_000) as (entry, pieces):
            assert b"".join(pieces) == LARGE[1000:2_000_000]
            assert entry.size == len(LARGE)
        with client.open("a", 100) as (_, pieces):
            assert b"".join(pieces) == LARGE[100:]
        with pytest.raises(tree.InvalidRangeError), client.open("a", len(LARGE)):
            pass

    def test_a_file_appears_whole_or_not_at_all(self, served: Served, client: Client, tmp_path: Path) -> None:
        target = tmp_path / "out"
        target.write_bytes(b"before")
        client.put("a", LARGE)
        served.mesh.fail_reads_after = 1_000_000
        with pytest.raises((tree.UnreachableError, tree.IncompleteValueError)):
            client.get_file("a", target)
        with pytest.raises(tree.NotFoundError):
            client.get_file("b", target)
        assert target.read_bytes() == b"before"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_bytes_that_do_not_fit_the_digest_are_refused(
        self, served: Served, client: Client, tmp_path: Path
    ) -> None:
        client.put("a", b"right")
        _, entry = served.mesh.values["a"]
        served.mesh.values["a"] = (b"wrong", entry)
        with pytest.raises(tree.IncompleteValueError):
            client.get("a")
        with pytest.raises(tree.IncompleteValueError):
            client.get_file("a", tmp_path / "out")
        assert not list(tmp_path.iterdir())

    def test_a_symbolic_link_stays_one(self, client: Client, tmp_path: Path) -> None:
        client.put("a", b"new")
        (tmp_path / "file").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "file")
        client.get_file("a", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "file").read_bytes() == b"new"

    def test_keys_are_listed_over_all_pages(self, client: Client) -> None:
        for i in range(7):
            client.put(f"a/{i}", b"1")
        assert [entry.key for entry in client.list("a/", page=3)] == [f"a/{i}" for i in range(7)]

    def test_conditions_and_deletes(self, client: Client) -> None:
        first = client.put("a", b"1", if_match="")
        with pytest.raises(tree.ConflictError):
            client.put("a", b"2", if_match="")
        client.put("a", b"2", if_match=first.version)
        with pytest.raises(tree.ConflictError):
            client.delete("a", if_match=first.version)
        client.delete("a")
        with pytest.raises(tree.NotFoundError):
            client.head("a")

    @pytest.mark.parametrize("key", ["", "a/../b", "..", "a\x00", "a\ud800"])
    def test_a_key_that_is_not_allowed_never_leaves(self, served: Served, client: Client, key: str) -> None:
        for call in (client.get, client.head, client.delete):
            with pytest.raises(tree.InvalidKeyError):
                call(key)
        with pytest.raises(tree.InvalidKeyError):
            client.put(key, b"")
        assert not served.mesh.calls


class TestNode:
    def test_the_node_is_described(self, client: Client) -> None:
        assert client.status().node == NODE
        assert client.stats().node == NODE
        assert client.health()["ok"] is True
        assert client.health(ready=True)["checks"]["running"]["ok"] is True
        assert client.digest()["records"] == 0
        assert [view.name for view in client.nodes()] == ["alone", "other", "twin"]
        assert [view.name for view in client.nodes("dead")] == ["twin"]
        assert client.node("abab").node == NODE

    def test_certificates_are_listed_and_checked(self, client: Client) -> None:
        assert client.certificates() == (CERTIFICATE,)
        found = client.check_certificate(b"hello")
        assert (found.ok, found.faults) == (False, ("5 bytes are none",))

    def test_invites_and_messages_go_out(self, served: Served, client: Client) -> None:
        assert client.invite(role="reader", expires_s=5, uses=2) == "token:reader:5:2"
        assert client.invite(labels={"site": "a"}) == "token:writer:3600:1:site=a"
        assert client.send("alone", "hi", topic="t") == 1
        assert client.broadcast(b"\xff") == 2
        assert client.publish("a/b c?", b"x") == 3
        assert served.mesh.calls == [
            ("send", NODE, b"hi", "t", False),
            ("broadcast", b"\xff", ""),
            ("publish", "a/b c?", b"x"),
        ]


class TestWatch:
    def test_changes_come_as_they_happen(self, served: Served, client: Client) -> None:
        ready = threading.Event()
        seen: list[Change] = []

        def watch() -> None:
            with served.client() as watcher:
                for change in watcher.watch("a/", on_ready=ready.set):
                    seen.append(change)
                    if len(seen) == 3:
                        return

        thread = threading.Thread(target=watch)
        thread.start()
        assert ready.wait(10)
        for key in ("a/1", "b/1", "a/2"):
            client.put(key, b"1")
        client.delete("a/1")
        thread.join(10)
        assert [(c.key, c.kind) for c in seen] == [("a/1", "put"), ("a/2", "put"), ("a/1", "delete")]
        assert seen[1].entry == client.head("a/2")
        assert seen[2].entry is None

    def test_a_watcher_that_leaves_is_forgotten(self, served: Served) -> None:
        with served.connect() as connection:
            connection.sendall(
                b"GET /v1/watch HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin-token\r\n\r\n"
            )
            answer = b""
            while b"watching" not in answer:
                answer += connection.recv(65536)
            assert len(served.mesh.watches) == 1
        wait_until(lambda: not served.mesh.watches)

    def test_a_watcher_that_was_too_slow_is_told(self, served: Served, client: Client) -> None:
        def fail() -> None:
            for watch in served.mesh.watches:
                watch.queue.put_nowait(tree.BusyError(what="watch queue", limit=1))

        with pytest.raises(tree.BusyError):
            for _ in client.watch(on_ready=lambda: served.call(fail)):
                pass

    def test_a_cursor_goes_there_and_comes_back_behind_what_it_stands_for(
        self, served: Served, client: Client
    ) -> None:
        told: list[str] = []

        def write() -> None:
            assert [watch.begins for watch in served.mesh.watches] == ["before"]
            with served.client() as writer:
                writer.put("a/1", b"1")

        def keep(cursor: str) -> None:
            told.append(cursor)
            served.mesh.watches[0].queue.put_nowait(tree.BusyError(what="watch queue", limit=1))

        changes = client.watch("a/", cursor="before", on_ready=write, on_cursor=keep)
        assert next(changes).key == "a/1"
        assert not told
        with pytest.raises(tree.BusyError):
            next(changes)
        assert told == ["c0"]

    def test_an_empty_cursor_is_not_the_same_as_none(self, served: Served, client: Client) -> None:
        begins: list[str | None] = []

        def look() -> None:
            begins.append(served.mesh.watches[0].begins)
            served.mesh.watches[0].queue.put_nowait(tree.BusyError(what="watch queue", limit=1))

        for cursor in ("", None):
            with pytest.raises(tree.BusyError):
                list(client.watch(cursor=cursor, on_ready=lambda: served.call(look)))
            wait_until(lambda: not served.mesh.watches)
        assert begins == ["", None]

    def test_a_cursor_that_is_gone_is_refused_before_anything_is_told(
        self, served: Served, client: Client
    ) -> None:
        served.mesh.faults["watch"] = tree.CursorGoneError(reason="it is of another mesh")
        with pytest.raises(tree.CursorGoneError):
            list(client.watch(cursor="old"))
        with served.http() as http:
            assert http.get("/v1/watch?cursor=old").status_code == 410


class TestErrors:
    @pytest.mark.parametrize("code", sorted(classes_by_code()))
    def test_every_error_of_a_node_is_raised_as_its_class(
        self, served: Served, client: Client, code: str
    ) -> None:
        error_class = classes_by_code()[code]
        served.mesh.faults["stats"] = error_class("told", fact=7)
        with pytest.raises(error_class) as caught:
            client.stats()
        assert type(caught.value) is error_class
        assert (str(caught.value), caught.value.fact, caught.value.code) == ("told", 7, code)

    def test_a_code_of_a_newer_node_is_kept(self) -> None:
        error = error_in({"error": {"code": "brand_new", "message": "m", "detail": {"message": 1, "x": 2}}})
        assert (error.code, str(error), error.facts) == ("brand_new", "m", {"x": 2})
        assert isinstance(error, tree.BellandeMeshError)

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"[]", b"{}", b'{"error":5}', b'{"error":{"code":1}}', b"\xff"]
    )
    def test_an_answer_that_is_not_a_nodes_is_an_internal_error(self, body: bytes) -> None:
        assert error_in(body, 502).code == "internal"

    def test_a_wrong_token_is_unauthorized(self, served: Served) -> None:
        with Client(served.url, "wrong") as client, pytest.raises(tree.UnauthorizedError):
            client.stats()

    def test_nobody_listening_is_unreachable_and_names_the_address(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(tree.UnreachableError) as caught:
            client.status()
        assert str(port) in str(caught.value)

    def test_a_node_that_closes_without_an_answer_is_unreachable(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=lambda: server.accept()[0].close(), daemon=True).start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            with Client(url) as client, pytest.raises(tree.UnreachableError):
                client.status()

    def test_a_node_that_does_not_answer_in_time_is_a_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("bellande_mesh_sync.client.ANSWER_TIMEOUT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"http://127.0.0.1:{server.getsockname()[1]}"
            with Client(url) as client, pytest.raises(tree.DeadlineError):
                client.status()

    @pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:1", "http://[", "nonsense"])
    def test_an_address_that_is_none_is_a_usage_error(self, url: str) -> None:
        with pytest.raises(tree.UsageError):
            Client(url).status()

    def test_a_token_that_cannot_be_sent_is_a_usage_error(self, served: Served) -> None:
        with Client(served.url, "a\nb") as client, pytest.raises(tree.UsageError):
            client.stats()
