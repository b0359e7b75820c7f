"""Whole nodes together: what is written on one is read on the others."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bellande_mesh_sync import Config, MeshOptions, get_nodes_paginated, init_with_options
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import (
    AckTimeoutError,
    ConfigError,
    ConflictError,
    IncompleteValueError,
    InvalidKeyError,
    MessageTooLargeError,
    NotFoundError,
    NotRunningError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from tests.mesh.conftest import MeshMaker, Scenario, agree, eventually, linked
from tests.mesh.programs import start_node

Play = Callable[[Scenario], None]


def test_a_write_acknowledged_by_all_is_read_on_every_node(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        receipt = await nodes[0].put("fleet/plans/dock", b"left", ack="all")
        assert sorted(receipt.nodes) == sorted(mesh.node_id for mesh in nodes)
        for mesh in nodes:
            value = await mesh.get("fleet/plans/dock")
            assert (value.data, value.version, value.author) == (b"left", receipt.version, nodes[0].node_id)

    play(scenario)


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 300_000, 9_000_001])
def test_a_value_of_any_size_arrives_whole(play: Play, size: int) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        content = os.urandom(size)
        await nodes[1].put("fleet/map", content, content_type="image/x-map", ack="all")
        for mesh in nodes:
            value = await mesh.get("fleet/map")
            assert value.data == content
            assert value.content_type == "image/x-map"
        async with nodes[2].open_value("fleet/map", 10, 200_000) as stream:
            assert b"".join([piece async for piece in stream]) == content[10:200_000]

    play(scenario)


def test_a_newcomer_gets_everything_that_was_written_before_it_came(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a")
        await first.put_many([(f"fleet/log/{number:05}", b"x" * 100) for number in range(20_000)])
        await first.put("fleet/large", os.urandom(3_000_000))
        for number in range(0, 20_000, 2):
            await first.delete(f"fleet/log/{number:05}")
        second = await make.node("b", first)
        await agree(first, second)
        assert (await second.digest())["records"] == 10_001

    play(scenario)


def test_both_sides_of_a_cut_write_and_agree_afterwards(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True)
        second = await make.node("b", first, persistent=True)
        await linked(first, second)
        await first.put("fleet/x", b"before", ack="all")
        address = (await first.status()).tcp
        await second.stop()
        await first.put("fleet/first", b"1")
        await first.put("fleet/x", b"from first")
        await second.start()
        await second.put("fleet/second", b"2")
        await agree(first, second)
        assert (await second.get("fleet/x")).data == b"from first"
        assert address == (await first.status()).tcp

    play(scenario)


def test_concurrent_writes_are_both_kept_and_the_same_one_wins_everywhere(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True)
        second = await make.node("b", persistent=True)  # They do not know each other yet.
        await first.put("fleet/x", b"one")
        await second.put("fleet/x", b"two")
        third = await make.node("c", first, second)
        await agree(first, second, third)
        entry = await third.head("fleet/x")
        assert entry.siblings == 2
        await third.put("fleet/x", b"settled", context=entry.context, ack="all")
        for mesh in (first, second, third):
            assert (await mesh.head("fleet/x")).siblings == 1
            assert (await mesh.get("fleet/x")).data == b"settled"

    play(scenario)


def test_a_delete_stays_deleted_when_a_node_with_an_old_copy_returns(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", persistent=True)
        second = await make.node("b", first, persistent=True)
        await linked(first, second)
        await first.put("fleet/gone", b"old", ack="all")
        await second.stop()
        await first.delete("fleet/gone")
        await second.start()
        await agree(first, second)
        for mesh in (first, second):
            with pytest.raises(NotFoundError):
                await mesh.get("fleet/gone")

    play(scenario)


def test_what_was_written_survives_a_restart(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a", persistent=True)
        node = mesh.node_id
        large = os.urandom(1_000_000)
        await mesh.put("fleet/small", b"s")
        await mesh.put("fleet/large", large)
        await mesh.stop()
        await mesh.start()
        assert mesh.node_id == node
        assert (await mesh.get("fleet/small")).data == b"s"
        assert (await mesh.get("fleet/large")).data == large

    play(scenario)


def test_an_ack_that_nobody_can_give_times_out_and_the_write_is_kept(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        with pytest.raises(AckTimeoutError) as caught:
            await mesh.put("fleet/x", b"kept", ack="one", timeout=0.1)
        assert (caught.value.facts["have"], caught.value.facts["need"]) == (1, 2)
        assert caught.value.facts["nodes"] == [mesh.node_id]
        assert (await mesh.get("fleet/x")).data == b"kept"
        assert (await mesh.put("fleet/x", b"alone", ack="quorum")).nodes == (mesh.node_id,)

    play(scenario)


def test_if_match_writes_only_over_the_version_that_was_read(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        first = await mesh.put("fleet/x", b"1", if_match="")
        with pytest.raises(ConflictError):
            await mesh.put("fleet/x", b"2", if_match="")
        second = await mesh.put("fleet/x", b"2", if_match=first.version)
        with pytest.raises(ConflictError):
            await mesh.delete("fleet/x", if_match=first.version)
        await mesh.delete("fleet/x", if_match=second.version)

    play(scenario)


def test_a_watch_sees_changes_made_anywhere(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        watch = nodes[2].watch("fleet/")
        await nodes[0].put("fleet/x", b"1", ack="all")
        await nodes[1].put("other/x", b"1", ack="all")
        await nodes[1].delete("fleet/x", ack="all")
        changes = [await anext(watch), await anext(watch)]
        assert [(change.kind, change.key) for change in changes] == [
            ("put", "fleet/x"),
            ("delete", "fleet/x"),
        ]
        assert changes[0].author == nodes[0].node_id
        watch.close()
        assert [change async for change in watch] == []

    play(scenario)


def test_messages_reach_subscribers_by_topic(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        nodes = await make.three()
        alerts = nodes[1].subscribe("alerts/*")
        everything = nodes[2].subscribe()
        assert await nodes[0].publish("alerts/battery", b"low") == 2
        assert await nodes[0].broadcast(b"Hello network!") == 2
        await nodes[0].send(nodes[2].node_id, b"just you")
        first = await anext(alerts)
        assert (first.sender, first.topic, first.body) == (nodes[0].node_id, "alerts/battery", b"low")
        bodies = [(await anext(everything)).body for _ in range(3)]
        assert bodies == [b"low", b"Hello network!", b"just you"]

    play(scenario)


def test_wrong_calls_are_refused_with_a_code(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        with pytest.raises(InvalidKeyError):
            await mesh.put("fleet//x", b"")
        with pytest.raises(UsageError):
            await mesh.put("fleet/x", b"", ack="most")
        with pytest.raises(UsageError):
            await mesh.put("fleet/x", b"", timeout=-1)
        with pytest.raises(UsageError):
            await mesh.put("fleet/x", b"", context="garbage")
        with pytest.raises(UsageError):
            await mesh.put_file("fleet/x", make.folder / "absent")
        with pytest.raises(NotFoundError):
            await mesh.delete("fleet/x")
        with pytest.raises(UsageError):
            await mesh.send("nonsense", b"")
        with pytest.raises(UnreachableError):
            await mesh.send("ab" * 32, b"")
        with pytest.raises(UnsupportedError):
            await mesh.send("ab" * 32, b"", reliable=True)
        with pytest.raises(MessageTooLargeError):
            await mesh.broadcast(bytes(1_000_000))
        await mesh.stop()
        with pytest.raises(NotRunningError):
            await mesh.get("fleet/x")

    play(scenario)


def test_arguments_of_a_wrong_type_are_usage_errors(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: mesh.put("fleet/x", 5),  # type: ignore[arg-type]
            lambda: mesh.put("fleet/x", "\ud800"),
            lambda: mesh.put("fleet/x", b"", timeout="3"),  # type: ignore[arg-type]
            lambda: mesh.put("fleet/x", b"", content_type="a\nb"),
            lambda: mesh.put_many([("fleet/x", 5)]),  # type: ignore[list-item]
            lambda: mesh.broadcast(5),  # type: ignore[arg-type]
            lambda: mesh.send(None, b""),  # type: ignore[arg-type]
            lambda: mesh.list(limit="x"),  # type: ignore[arg-type]
            lambda: get_nodes_paginated(mesh, -1, 1),
        ]
        for call in calls:
            with pytest.raises(UsageError):
                await call()
        assert (await mesh.digest())["records"] == 0

    play(scenario)


def test_stop_waits_for_a_start_under_way_and_a_second_start_for_the_first(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await init_with_options(Config(listen_address="127.0.0.1:0"), MeshOptions(dev_mode=True))
        first, second = asyncio.create_task(mesh.start()), asyncio.create_task(mesh.start())
        await second
        assert mesh.is_running()
        await asyncio.gather(first, mesh.stop())
        starting = asyncio.create_task(mesh.start())
        await asyncio.sleep(0)
        await mesh.stop()
        await starting
        assert not mesh.is_running()

    play(scenario)


def test_a_large_import_leaves_little_in_memory(play: Play) -> None:
    """A value of 256 MiB; the 1 GiB of `make bench` lifts the peak no higher."""

    async def scenario(make: MeshMaker) -> None:
        blob = make.folder / "blob"
        with blob.open("wb") as file:
            for _ in range(256):
                file.write(os.urandom(1 << 20))
        node, ready = await asyncio.to_thread(start_node, make.folder / "a", "--dev")
        with node:
            token = (make.folder / "a" / "admin.token").read_text().strip()
            before = peak_mib(node.process.pid)
            with Client(f"http://{ready['http']}", token) as client:
                await asyncio.to_thread(client.put_file, "fleet/blob", blob)
            assert peak_mib(node.process.pid) - before < 128

    play(scenario)


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_a_request_body_cut_in_the_middle_leaves_nothing_behind(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        host, _, port = (await mesh.status()).http.rpartition(":")
        head = f"PUT /v1/data/fleet/cut HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {mesh.admin_token}\r\n"
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + b"Content-Length: 1000000\r\n\r\n" + bytes(500_000))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        with pytest.raises(NotFoundError):
            await mesh.head("fleet/cut")
        await mesh.put("fleet/cut", b"whole", if_match="")

    play(scenario)


def test_a_stream_that_ends_early_writes_nothing(play: Play) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield os.urandom(100_000)

    async def scenario(make: MeshMaker) -> None:
        mesh = await make.node("a")
        with pytest.raises(IncompleteValueError):
            await mesh.put_stream("fleet/x", pieces(), size=2_000_000)
        with pytest.raises(IncompleteValueError):
            await mesh.put_stream("fleet/x", pieces(), size=500_000)
        with pytest.raises(NotFoundError):
            await mesh.head("fleet/x")
        receipt = await mesh.put_stream("fleet/x", pieces(), size=1_000_000)
        assert (await mesh.head("fleet/x")).version == receipt.version

    play(scenario)


def test_a_stopped_node_is_seen_as_left_and_a_killed_one_as_suspect_then_dead(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        first = await make.node("a", node_timeout=1)
        second = await make.node("b", first)
        address = (await first.status()).tcp
        third, ready = await asyncio.to_thread(start_node, make.folder / "c", "--dev", "--bootstrap", address)
        states: dict[str, str] = {}

        async def states_are(expected: dict[str, str]) -> bool:
            states.update({view.node: view.state for view in await first.nodes()})
            return all(states.get(node) == state for node, state in expected.items())

        gone, killed = second.node_id, ready["node"]
        with third:
            await eventually(lambda: states_are({gone: "alive", killed: "alive"}))
            await second.stop()
            await eventually(lambda: states_are({gone: "left", killed: "alive"}))
            third.kill()
        await eventually(lambda: states_are({gone: "left", killed: "suspect"}))
        await eventually(lambda: states_are({gone: "left", killed: "dead"}))

    play(scenario)


def test_an_unreachable_bootstrap_address_is_told_and_tried_again(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(make: MeshMaker) -> None:
        late = await make.node("late", persistent=True)
        address = (await late.status()).tcp
        await late.stop()
        first = await make.node("first", bootstrap_nodes=(address,))

        async def is_told() -> bool:
            return any(
                address in line.message and line.message.startswith("unreachable") for line in caplog.records
            )

        await eventually(is_told)
        await first.put("fleet/x", b"works alone")
        port = int(address.rpartition(":")[2])
        again = await make.node("late", persistent=True, listen_address=f"127.0.0.1:{port}")
        await linked(first, again)
        await agree(first, again)

    play(scenario)


def test_plaintext_is_for_dev_mode_on_loopback_only(play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        with pytest.raises(ConfigError, match="dev"):
            await init_with_options(Config(), MeshOptions(enable_encryption=False))
        options = MeshOptions(dev_mode=True, enable_encryption=False)
        with pytest.raises(ConfigError, match="loopback"):
            await init_with_options(Config(listen_address="0.0.0.0:8000"), options)
        first = await init_with_options(Config(listen_address="127.0.0.1:0"), options)
        async with first:
            friends = ((await first.status()).tcp,)
            config = Config(listen_address="127.0.0.1:0", bootstrap_nodes=friends)
            async with await init_with_options(config, options) as second:
                await linked(first, second)
                await first.put("fleet/x", b"plain", ack="all")
                assert (await second.get("fleet/x")).data == b"plain"

    play(scenario)


def test_the_original_usage_example_runs_as_it_stands(tmp_path: Path, play: Play) -> None:
    async def scenario(make: MeshMaker) -> None:
        from bellande_mesh_sync import (
            Config,
            MeshOptions,
            broadcast,
            get_nodes,
            get_stats,
            init_with_options,
            start,
            stop,
        )

        config = Config(listen_address="127.0.0.1:0", node_timeout=300)
        mesh = await init_with_options(
            config, MeshOptions(dev_mode=True, metrics_interval=30, enable_persistence=True)
        )
        await start(mesh)
        await broadcast(mesh, b"Hello network!")
        stats, nodes = await get_stats(mesh), await get_nodes(mesh)
        await stop(mesh)
        assert stats.node == nodes[0].node

    play(scenario)
