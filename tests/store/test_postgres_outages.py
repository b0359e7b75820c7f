"""A server that restarts, is killed or does not answer: nothing acknowledged is lost, nothing is claimed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.errors import DiskFullError, StorageError, StoreUnavailableError
from tests.store.builders import batch_of, record
from tests.store.conftest import Epochs, postgres_store
from tests.store.cut_line import CutLine

psycopg = pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

if TYPE_CHECKING:
    from bellande_mesh_sync.store.postgres import PostgresStore
    from tools.postgres_server import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that may be ended: not that of the other tests."""
    from tools.postgres_server import NoServerError, PostgresServer

    try:
        made = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def exits(server: PostgresServer) -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
    if not server.is_running:
        server.start()


@pytest.fixture
def url(server: PostgresServer) -> str:
    change(server, "DROP SCHEMA IF EXISTS bms_test CASCADE")
    return server.url(over_tcp=True)


@pytest.fixture
def line(server: PostgresServer, exits: ExitStack) -> CutLine:
    made = CutLine(server.port)
    exits.callback(made.close)
    return made


def opened(
    exits: ExitStack,
    url: str,
    home: Path,
    epochs: Epochs,
    refuse_after_s: float = 20,
    stop_after_s: float = 20,
) -> PostgresStore:
    store = postgres_store(url, home, epochs, refuse_after_s=refuse_after_s, stop_after_s=stop_after_s)
    exits.callback(store.close)
    store.open()
    return store


def commit(store: PostgresStore, *batches: Batch) -> None:
    store.apply(batches)
    store.publish(batches)


def test_a_restart_between_two_writes_goes_unnoticed(
    server: PostgresServer, exits: ExitStack, url: str, tmp_path: Path, epochs: Epochs
) -> None:
    store = opened(exits, url, tmp_path, epochs)
    commit(store, batch_of(record("a", 1)))
    server.stop()
    server.start()
    commit(store, batch_of(record("b", 2)))
    assert rows(server) == 2


def test_while_the_server_is_away_writes_are_refused_and_reading_goes_on(
    server: PostgresServer, exits: ExitStack, url: str, tmp_path: Path, epochs: Epochs
) -> None:
    store = opened(exits, url, tmp_path, epochs, refuse_after_s=0.3)
    commit(store, batch_of(record("a", 1)))
    server.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            store.apply([batch_of(record("b", 2))])
    assert store.siblings(["a", "b"]) == [(record("a", 1),), ()]
    server.start()
    commit(store, batch_of(record("b", 2)))
    assert rows(server) == 2


@pytest.mark.parametrize("delivered", [True, False])
def test_a_commit_whose_answer_is_lost_is_asked_about_and_done_once(
    server: PostgresServer,
    exits: ExitStack,
    url: str,
    line: CutLine,
    tmp_path: Path,
    epochs: Epochs,
    delivered: bool,
) -> None:
    store = opened(exits, url.replace(f":{server.port}/", f":{line.port}/"), tmp_path, epochs)
    commit(store, batch_of(record("a", 1)))
    (before,) = ask(server, "SELECT commit_id FROM bms_test.store")
    line.cut_when_asked(b"COMMIT", delivered=delivered)
    commit(store, batch_of(record("a", 2), drops=(record("a", 1),)))
    assert line.cuts == 1
    (previous,) = ask(server, "SELECT previous_commit_id FROM bms_test.store")
    assert previous == before, "the transaction was done once"
    assert store.siblings(["a"]) == [(record("a", 2),)]
    assert rows(server) == 1


def test_a_commit_that_stays_unknown_is_no_clean_no(
    server: PostgresServer, exits: ExitStack, url: str, line: CutLine, tmp_path: Path, epochs: Epochs
) -> None:
    through = url.replace(f":{server.port}/", f":{line.port}/")
    store = opened(exits, through, tmp_path, epochs, stop_after_s=0.3)
    commit(store, batch_of(record("a", 1)))
    line.cut_when_asked(b"COMMIT", delivered=True)
    line.refuse_new()
    with pytest.raises(StorageError, match="is not known") as caught:
        store.apply([batch_of(record("b", 2))])
    assert not isinstance(caught.value, StoreUnavailableError | DiskFullError), "a node must stop at it"
    store.close()
    again = opened(exits, url, tmp_path, epochs)
    assert again.siblings(["a", "b"]) == [(record("a", 1),), (record("b", 2),)]


def test_a_server_that_comes_back_older_stops_the_node(
    server: PostgresServer, exits: ExitStack, url: str, tmp_path: Path, epochs: Epochs
) -> None:
    store = opened(exits, url, tmp_path, epochs)
    commit(store, batch_of(record("a", 1)))
    ask(server, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    change(server, "UPDATE bms_test.store SET commit_id = 'older'")
    with pytest.raises(StorageError, match="not as this node left it") as caught:
        store.apply([batch_of(record("b", 2))])
    assert not isinstance(caught.value, StoreUnavailableError | DiskFullError)
    assert rows(server) == 1


def test_an_empty_database_in_the_place_of_the_old_one_stops_the_node(
    server: PostgresServer, exits: ExitStack, url: str, tmp_path: Path, epochs: Epochs
) -> None:
    store = opened(exits, url, tmp_path, epochs)
    commit(store, batch_of(record("a", 1)))
    ask(server, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    change(server, "DROP SCHEMA bms_test CASCADE")
    with pytest.raises(StorageError, match="gone"):
        store.apply([batch_of(record("b", 2))])


@pytest.mark.timeout(120)
def test_nothing_acknowledged_is_lost_when_the_server_is_killed_under_load(
    server: PostgresServer, exits: ExitStack, url: str, tmp_path: Path, epochs: Epochs
) -> None:
    store = opened(exits, url, tmp_path / "a", epochs, refuse_after_s=60, stop_after_s=60)
    acknowledged = 0
    is_over = threading.Event()
    progress = threading.Semaphore(0)
    failures: list[BaseException] = []

    def load() -> None:
        nonlocal acknowledged
        try:
            while not is_over.is_set():
                batches = [
                    batch_of(record(f"k{number}", number, body=b"x" * 100))
                    for number in range(acknowledged + 1, acknowledged + 51)
                ]
                store.apply(batches)
                store.publish(batches)
                acknowledged += 50
                progress.release()
        except BaseException as error:  # noqa: BLE001  # reported by the test's own thread
            failures.append(error)
            progress.release()

    thread = threading.Thread(target=load)
    thread.start()
    for _ in range(3):
        for _ in range(5):
            assert progress.acquire(timeout=60)
        server.kill()
        server.start()
    is_over.set()
    thread.join(60)
    assert not failures
    assert rows(server) == acknowledged >= 750
    store.close()
    fresh = opened(exits, url, tmp_path / "b", epochs)
    assert fresh.counts().records == acknowledged


def rows(server: PostgresServer) -> int:
    (count,) = ask(server, "SELECT count(*) FROM bms_test.records")
    assert isinstance(count, int)
    return count


def ask(server: PostgresServer, question: str) -> tuple[object, ...]:
    with server.connect() as connection:
        found = connection.execute(question.encode()).fetchone()
    assert found is not None
    return found


def change(server: PostgresServer, statement: str) -> None:
    with server.connect() as connection:
        connection.execute(statement.encode())
