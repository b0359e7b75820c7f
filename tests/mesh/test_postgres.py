"""Whole nodes whose records live on a PostgreSQL server."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bellande_mesh_sync import Config, MeshOptions, init_with_options
from bellande_mesh_sync.errors import HomeInUseError, StoreUnavailableError
from tests.mesh.conftest import MeshMaker, Scenario, agree, eventually, linked
from tests.mesh.programs import Program
from tests.mesh.writer_program import value_of

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

if TYPE_CHECKING:
    from tools.postgres_server import PostgresServer

Play = Callable[[Scenario], None]
KILLS = 6
WRITER = str(Path(__file__).with_name("writer_program.py"))


@pytest.fixture
def url(postgres_server: PostgresServer) -> str:
    with postgres_server.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS hub CASCADE")
    return postgres_server.url(over_tcp=True, schema="hub")


def test_a_hub_keeps_on_a_server_what_the_others_write(
    play: Play, url: str, postgres_server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(maker: MeshMaker) -> None:
        hub = await maker.node("hub", persistent=True, db_url=url)
        other = await maker.node("other", hub)
        await linked(hub, other)
        await other.put("fleet/a", b"written elsewhere")
        await other.put_many([(f"fleet/many/{number}", b"x" * 100) for number in range(3_000)])
        await hub.put("fleet/large", b"in chunks" * 100_000)
        await hub.put("fleet/old", b"gone")
        await hub.delete("fleet/old")
        await agree(hub, other)
        with postgres_server.connect() as connection:
            rows = connection.execute("SELECT value FROM hub.live_values WHERE key = 'fleet/a'").fetchall()
            assert rows == [(b"written elsewhere",)]
            (count,) = connection.execute("SELECT count(*) FROM hub.live_values").fetchone() or (0,)
            assert count == 3_002
        assert "correct" not in repr(await hub.status())
        await hub.stop()
        await hub.start()
        assert (await hub.get("fleet/large")).data == b"in chunks" * 100_000
        await agree(hub, other)

    play(scenario)
    assert "correct" not in caplog.text


def test_a_hub_whose_home_is_lost_goes_on_with_what_the_server_has(play: Play, url: str) -> None:
    async def scenario(maker: MeshMaker) -> None:
        hub = await maker.node("hub", persistent=True, db_url=url)
        await hub.put_many([(f"fleet/many/{number}", b"x" * 100) for number in range(500)])
        await hub.put("fleet/a", b"1")
        other = await maker.node("other", hub)
        await linked(hub, other)  # Or `all` is the hub alone.
        await hub.put("fleet/large", b"in chunks" * 100_000, ack="all", timeout=60)
        await hub.stop()
        shutil.rmtree(maker.folder / "hub")
        again = await maker.node("again", other, persistent=True, db_url=url)
        assert (await again.get("fleet/a")).data == b"1"
        await linked(again, other)
        assert not (await again.verify()).unrepaired
        assert (await again.get("fleet/large")).data == b"in chunks" * 100_000
        await agree(again, other)
        await again.put("fleet/a", b"2")
        await agree(again, other)
        assert (await other.get("fleet/a")).data == b"2"
        assert (await again.status()).records == 502

    play(scenario)


def test_a_second_node_on_the_same_schema_does_not_start(play: Play, url: str) -> None:
    async def scenario(maker: MeshMaker) -> None:
        await maker.node("hub", persistent=True, db_url=url)
        with pytest.raises(HomeInUseError):
            await maker.node("second", persistent=True, db_url=url)

    play(scenario)


def test_while_the_server_is_away_a_hub_refuses_writes_and_catches_up_later(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bellande_mesh_sync.store.postgres import PostgresStore
    from tools.postgres_server import NoServerError, PostgresServer

    defaults = PostgresStore.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "refuse_after_s", 0.3)
    try:
        server = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))

    async def scenario(maker: MeshMaker) -> None:
        hub = await maker.node("hub", persistent=True, db_url=server.url(schema="hub"))
        other = await maker.node("other", hub)
        await linked(hub, other)
        await hub.put("fleet/before", b"1")
        await asyncio.to_thread(server.stop)
        with pytest.raises(StoreUnavailableError):
            await hub.put("fleet/refused", b"2")
        await other.put("fleet/meanwhile", b"3")
        assert (await hub.get("fleet/before")).data == b"1"
        await asyncio.to_thread(server.start)

        async def is_back() -> bool:
            try:
                await hub.put("fleet/after", b"4")
            except StoreUnavailableError:
                return False
            return True

        await eventually(is_back)
        await agree(hub, other)
        assert (await hub.get("fleet/meanwhile")).data == b"3"
        assert not (await hub.list("fleet/refused")).entries

    with server:
        play(scenario)


@pytest.mark.timeout(180)
def test_nothing_acknowledged_is_lost_when_a_hub_is_killed_under_load(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRITER_DB_URL", url)
    chance = random.Random(20_261_124)
    acked: set[str] = set()
    for number in range(KILLS):
        with Program([WRITER, str(tmp_path / "hub"), str(number)]) as writer:
            assert writer.line()["event"] == "ready"
            assert writer.line()["event"] == "linked"
            # The random moment is the point here, not a wait for something to have happened.
            time.sleep(chance.uniform(0.2, 0.8))
            writer.kill()
            for said in writer.waiting_lines():
                assert said["event"] == "acked", said
                acked.update(said["keys"])
    assert len(acked) > 20 * KILLS

    async def lost_of(home: Path) -> list[str]:
        config = Config(listen_address="127.0.0.1:0", http_port=-1, https_port=-1, db_url=url)
        options = MeshOptions(dev_mode=True, enable_persistence=True, persistence_path=str(home))
        async with await init_with_options(config, options) as mesh:
            found = {key: (await mesh.get(key)).data for key in sorted(acked)}
            return [key for key, data in found.items() if not data or data.replace(value_of(key), b"")]

    assert asyncio.run(lost_of(tmp_path / "hub")) == []
