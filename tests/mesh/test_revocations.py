"""Revoked nodes in meshes of real ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from bellande_mesh_sync import Mesh
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import NotFoundError, RevokedError, UsageError
from bellande_mesh_sync.home import Home
from tests.mesh.conftest import MeshMaker, Scenario, eventually, linked
from tests.mesh.programs import start_node, until

Play = Callable[[Scenario], None]
NODES = 8
EFFECTIVE_S = 5.0


async def is_expelled(mesh: Mesh, node: str) -> bool:
    found = [view for view in await mesh.nodes("revoked") if view.node == node]
    return bool(found) and not found[0].linked


def test_a_revoked_node_is_cut_off_everywhere_and_stops_by_itself(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a, b, c = await maker.three()
        await c.put("fleet/c", b"before", ack="all")
        found = await a.revoke(c.node_id[:12], reason="stolen")
        assert (found.name, found.reason, found.by) == ("c", "stolen", a.node_id)
        for mesh in (a, b):
            await eventually(lambda mesh=mesh: is_expelled(mesh, c.node_id))  # type: ignore[misc]
            assert (await mesh.get("fleet/c")).data == b"before", "what was written before stays"
            assert (await mesh.put("fleet/a", b"after", ack="all")).ack == "all", (
                "two disks are all there are"
            )
        with pytest.raises(RevokedError, match="stolen"):
            async with asyncio.timeout(10):
                await c.wait_stopped()
        assert [each.node for each in await b.revocations()] == [c.node_id]

    play(scene)


def test_it_gets_no_link_any_more_and_is_told_why(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a = await maker.node("a")
        b = await maker.node("b", a)
        c = await maker.node("c", a, persistent=True)
        await linked(a, b, c)
        await c.stop()
        await a.revoke(c.node_id, reason="sold")
        await c.start()
        with pytest.raises(RevokedError):
            async with asyncio.timeout(20):
                await c.wait_stopped()
        (found,) = await a.revocations()
        assert found.refused_links + (await b.revocations())[0].refused_links > 0
        assert found.last_refused_ms is None or found.last_refused_ms >= found.issued_ms
        with pytest.raises(RevokedError):  # It knows by now, so it does not even begin.
            await _run(c)

    play(scene)


def test_a_revocation_outlasts_a_restart_and_reaches_newcomers(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a = await maker.node("a", persistent=True, listen_address="127.0.0.1:0")
        c = await maker.node("c", a)
        await linked(a, c)
        await a.revoke("c")
        await a.stop()
        await a.start()
        assert await is_expelled(a, c.node_id)
        d = await maker.node("d", a)
        await linked(a, d)
        await eventually(lambda: is_expelled(d, c.node_id))

    play(scene)


def test_what_cannot_be_revoked_is_refused(play: Play) -> None:
    async def scene(maker: MeshMaker) -> None:
        a = await maker.node("a")
        with pytest.raises(UsageError, match="itself"):
            await a.revoke(a.node_id)
        with pytest.raises(NotFoundError):
            await a.revoke("nobody")
        with pytest.raises(NotFoundError):
            await a.revoke("g" * 64)
        with pytest.raises(UsageError, match="line"):
            await a.revoke("ab" * 32, reason="two\nlines")
        assert (await a.revoke("ab" * 32)).node == "ab" * 32, "of a stranger the whole id"
        assert await a.revocations() == [await a.revoke("ab" * 32)], "twice is once"

    play(scene)


@pytest.mark.timeout(240)
def test_eight_processes_have_cut_one_of_them_off_within_five_seconds(tmp_path: Path) -> None:
    with ExitStack() as exits:
        homes: list[Path] = []
        first: list[str] = []
        for number in range(NODES):
            home = tmp_path / f"n{number}"
            program, ready = start_node(home, "--dev", *first)
            exits.enter_context(program)
            homes.append(home)
            first = first or ["--bootstrap", ready["tcp"]]
        clients = [exits.enter_context(_client(home)) for home in homes]
        victim, others = clients[-1], clients[:-1]
        name = victim.status().node

        def all_linked() -> bool:
            return all(sum(node.linked for node in client.nodes()) == NODES - 1 for client in clients)

        until(all_linked, 60, "all are linked")
        began_s = time.monotonic()
        others[0].revoke(name, reason="a test")

        def is_out(client: Client) -> bool:
            found = client.node(name)
            return found.state == "revoked" and not found.linked

        until(lambda: all(map(is_out, others)), 30, "all others have cut it off")
        took_s = time.monotonic() - began_s
        print(f"effective on {len(others)} nodes after {took_s * 1000:.0f} ms")
        assert took_s <= EFFECTIVE_S


async def _run(mesh: Mesh) -> None:
    await mesh.start()
    await mesh.wait_stopped()


def _client(home: Path) -> Client:
    running = Home(home).running()
    assert running is not None
    return Client(f"http://{running['http']}", token=Home(home).admin_token())
