"""A whole node, driven through its HTTP API by the client."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvloop

from bellande_mesh_sync.client import Client, ImportItem
from bellande_mesh_sync.config import Config, MeshOptions
from bellande_mesh_sync.core.data.context import context_text
from bellande_mesh_sync.errors import (
    AckTimeoutError,
    ConflictError,
    InvalidKeyError,
    NotFoundError,
    UnauthorizedError,
    UsageError,
    UsedTokenError,
)
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.mesh import Mesh, init_with_options
from bellande_mesh_sync.security.authority import found_mesh
from bellande_mesh_sync.security.identity import save_identity
from bellande_mesh_sync.security.joining import join
from bellande_mesh_sync.values import Change

LARGE = os.urandom(5_000_000)


class Node:
    """A dev-mode node on an event loop of its own."""

    def __init__(self, options: MeshOptions) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.mesh = asyncio.run_coroutine_threadsafe(self._start(options), self.loop).result(60)
        status = asyncio.run_coroutine_threadsafe(self.mesh.status(), self.loop).result(10)
        self.url, self.https_url = f"http://{status.http}", f"https://{status.https}"

    async def _start(self, options: MeshOptions) -> Mesh:
        mesh = await init_with_options(Config(listen_address="127.0.0.1:0"), options)
        await mesh.start()
        return mesh

    def client(self) -> Client:
        return Client(self.url, self.mesh.admin_token)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.mesh.stop(), self.loop).result(60)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(params=["memory", "disk"])
def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setenv("BMS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    on_disk = request.param == "disk"
    node = Node(
        MeshOptions(
            dev_mode=True,
            enable_persistence=on_disk,
            persistence_path=str(tmp_path / "node") if on_disk else None,
        )
    )
    yield node
    node.close()


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with node.client() as client:
        yield client


@pytest.mark.parametrize(
    "value", [b"", b"small", bytes(20_000), LARGE], ids=["empty", "small", "20 kB", "5 MB"]
)
def test_a_value_of_any_size_comes_back_verified(client: Client, value: bytes) -> None:
    receipt = client.put("space/key", value, content_type="text/x")
    found = client.get("space/key")
    assert found.data == value
    assert (found.version, found.content_type) == (receipt.version, "text/x")
    assert found.entry == client.head("space/key")
    assert (found.entry.size, found.entry.siblings) == (len(value), 1)


def test_a_streamed_value_and_its_ranges_come_back(client: Client) -> None:
    client.put("space/key", iter([LARGE[:1_000_000], LARGE[1_000_000:]]))
    for start, end in ((0, 1), (123_456, 4_000_000), (4_999_999, None)):
        with client.open("space/key", start, end) as (entry, pieces):
            assert b"".join(pieces) == LARGE[start:end]
            assert entry.size == len(LARGE)


def test_a_value_replaces_the_one_whose_context_was_read(client: Client) -> None:
    first = client.put("space/key", b"1")
    entry = client.head("space/key")
    client.put("space/key", b"2", context=entry.context, if_match=first.version)
    assert client.get("space/key").data == b"2"
    assert client.head("space/key").siblings == 1
    with pytest.raises(ConflictError):
        client.put("space/key", b"3", if_match=first.version)
    with pytest.raises(ConflictError):
        client.put("space/key", b"3", if_match="")


def test_a_deleted_key_is_gone(client: Client) -> None:
    client.put("space/key", b"1")
    client.delete("space/key")
    for call in (client.get, client.head, client.delete):
        with pytest.raises(NotFoundError):
            call("space/key")
    assert list(client.list()) == []


def test_a_lone_node_keeps_a_write_that_others_should_have_acknowledged(client: Client) -> None:
    with pytest.raises(AckTimeoutError) as caught:
        client.put("space/key", b"1", ack="one", timeout=0.3)
    assert (caught.value.have, caught.value.need) == (1, 2)
    assert client.get("space/key").data == b"1"


def test_keys_are_listed_in_order_over_pages(client: Client) -> None:
    keys = [f"space/{number:03}" for number in range(25)]
    for key in reversed(keys):
        client.put(key, key.encode())
    client.put("other/key", b"1")
    assert [entry.key for entry in client.list("space/", page=10)] == keys


def test_a_folder_of_values_goes_in_and_out(client: Client, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    items = [ImportItem(f"in/{n:03}", os.urandom(n * 50), "text/x" if n % 3 else "") for n in range(700)]
    items += [ImportItem("in/large", tmp_path / "large"), ImportItem("in//bad", b"1")]
    results = list(client.import_items(items))
    assert isinstance(results.pop().error, InvalidKeyError)
    assert [result.key for result in results if result.receipt] == [item.key for item in items[:-1]]
    exported = {item.key: (b"".join(item.pieces), item.content_type) for item in client.export_items("in/")}
    assert len(exported) == 701
    assert exported["in/large"][0] == LARGE
    for item in items[:700]:
        assert exported[item.key] == (item.source, item.content_type or "application/octet-stream")


def test_two_keys_with_the_same_data_have_the_same_digest_again(client: Client) -> None:
    client.put("space/key", b"1")
    before = client.digest()
    client.put("space/key", b"2")
    assert client.digest("space/")["digest"] != before["digest"]
    client.put("space/key", b"1")
    assert client.digest() == before == {"records": 1, "bytes": 1, "digest": before["digest"]}


def test_a_watch_tells_of_puts_and_deletes(node: Node, client: Client) -> None:
    ready = threading.Event()
    seen: list[Change] = []

    def watch() -> None:
        with node.client() as watcher:
            for change in watcher.watch("space/", on_ready=ready.set):
                seen.append(change)
                if len(seen) == 2:
                    return

    thread = threading.Thread(target=watch)
    thread.start()
    assert ready.wait(10)
    client.put("other/key", b"1")
    client.put("space/key", b"1")
    client.delete("space/key")
    thread.join(10)
    assert [(change.key, change.kind) for change in seen] == [("space/key", "put"), ("space/key", "delete")]


def test_a_watch_goes_on_from_a_cursor(node: Node, client: Client) -> None:
    cursors: list[str] = []

    def first() -> None:
        with node.client() as watcher:
            for _ in watcher.watch("space/", on_ready=ready.set, on_cursor=cursors.append):
                seen.set()

    ready, seen = threading.Event(), threading.Event()
    threading.Thread(target=first, daemon=True).start()
    assert ready.wait(10)
    client.put("space/old", b"1")
    assert seen.wait(10)
    deadline = time.monotonic() + 10
    while not cursors:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    client.delete("space/old")
    client.put("space/new", LARGE)
    with node.client() as watcher:
        missed = watcher.watch("space/", cursor=cursors[-1])
        found = {change.key: change.kind for change in (next(missed), next(missed))}
    assert found == {"space/old": "delete", "space/new": "put"}
    with pytest.raises(UsageError):
        list(client.watch("", cursor=cursors[-1]))


def test_the_node_describes_itself(node: Node, client: Client) -> None:
    status = client.status()
    assert status.node == node.mesh.node_id
    assert status.state == "running"
    assert client.stats().node == status.node
    assert [view.node for view in client.nodes()] == [status.node]
    assert client.node(status.node[:8]).is_local
    assert client.health()["ok"]
    assert client.health(ready=True)["ok"]


def test_only_its_own_token_opens_it(node: Node) -> None:
    with Client(node.url, "guess") as stranger:
        assert stranger.status().state == "running"
        with pytest.raises(UnauthorizedError):
            stranger.get("space/key")


def test_https_shows_a_certificate_of_the_mesh(node: Node) -> None:
    context = ssl.create_default_context(cadata=node.mesh.identity.authority_pem.decode())
    with Client(node.https_url, node.mesh.admin_token, verify=context) as client:
        client.put("space/key", LARGE)
        assert client.get("space/key").data == LARGE


def test_a_throwaway_node_lets_nobody_in(node: Node) -> None:
    body = {"token_id": "0" * 32, "proof": "0" * 64, "csr": "x", "name": "n"}
    answer = httpx.post(f"{node.https_url}/join", json=body, verify=False, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "unsupported")


def test_a_newcomer_joins_through_the_api_with_an_invite_made_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.setenv("BMS_HOME", str(home.path))
    authority, identity = found_mesh("fleet", "crane")
    authority.save(home.identity_dir)
    save_identity(identity, home.identity_dir)
    node = Node(MeshOptions(persistence_path=str(home.path)))
    try:
        with node.client() as client:
            token = client.invite(role="reader", uses=1)
        membership = join(token, "newcomer")
        assert membership.identity.role == "reader"
        assert membership.identity.mesh_id == identity.mesh_id
        with pytest.raises(UsedTokenError):
            join(token, "another")
    finally:
        node.close()


def test_a_node_that_stops_lets_its_watchers_go(node: Node) -> None:
    ready, ended = threading.Event(), threading.Event()

    def watch() -> None:
        with node.client() as watcher:
            list(watcher.watch(on_ready=ready.set))
        ended.set()

    threading.Thread(target=watch, daemon=True).start()
    assert ready.wait(10)
    asyncio.run_coroutine_threadsafe(node.mesh.stop(), node.loop).result(30)
    assert ended.wait(10)


def test_a_conflict_is_listed_read_and_settled_over_http(client: Client) -> None:
    nothing_seen = context_text(())
    one = client.put("space/x", "one", content_type="text/x")
    two = client.put("space/x", bytes(30_000), context=nothing_seen)
    client.put("space/calm", b"alone")
    (conflict,) = client.conflicts("space/")
    assert (conflict.key, conflict.siblings, conflict.version) == ("space/x", 2, two.version)
    seen = client.siblings("space/x")
    assert [view.version for view in seen.siblings] == [two.version, one.version]
    assert client.get("space/x").entry.siblings == 2
    assert client.get("space/x", version=one.version).data == b"one"
    assert client.get("space/x", version=two.version).data == bytes(30_000)
    assert (client.stats().conflicts, client.status().conflicts) == ({"space": 1}, 1)

    late = client.put("space/x", b"late", context=nothing_seen)
    kept = client.resolve("space/x", one.version, context=seen.context)
    versions = {view.version for view in client.siblings("space/x").siblings}
    assert versions == {kept.version, late.version}
    with pytest.raises(ConflictError):
        client.resolve("space/x", two.version)
    settled = client.resolve("space/x", data=b'{"new": 1}', content_type="application/json")
    value = client.get("space/x")
    assert (value.data, value.version, value.content_type) == (
        b'{"new": 1}',
        settled.version,
        "application/json",
    )
    assert list(client.conflicts()) == []
    with pytest.raises(NotFoundError):
        client.resolve("space/x", settled.version)
