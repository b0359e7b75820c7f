"""One session with the database server: opened and checked, locked for this node, opened again when lost."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from bellande_mesh_sync.errors import HomeInUseError, StorageError, StoreRefusedError
from bellande_mesh_sync.store.postgres_errors import meaning_of_no_connection, meaning_of_no_start
from bellande_mesh_sync.store.postgres_schema import SCHEMA_VERSION, SERVER_VERSION_MIN, TABLES
from bellande_mesh_sync.store.postgres_url import ServerUrl

Connection: TypeAlias = psycopg.Connection[TupleRow]

_LOCK_CLASS: Final = 0x424D5331  # "BMS1"
_LOCK_WAIT_S: Final = 5.0
"""A session whose process was killed lets go of its lock within this time."""
PAUSE_S: Final = 0.2
"""Between two tries."""

# The server, too, notices in half a minute that the other end is gone, and frees the lock.
_SESSION: Final = (
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
    "SET idle_session_timeout = 0",
    "SET statement_timeout = 0",
    "SET lock_timeout = '10s'",
    "SET client_min_messages = warning",
)
_LOCK_PLACE: Final = "%s, (%s::regnamespace::oid::bigint - 2147483648)::integer"


class Owner(NamedTuple):
    """Who writes here: the node's id and its mesh's, in hexadecimal."""

    node: str
    mesh: str


class Heads(NamedTuple):
    """The marks of the last two commits in the database, and the clock of the last."""

    commit: bytes
    previous: bytes
    clock: int


class Session:
    """The node's connection. For one thread at a time."""

    def __init__(self, url: ServerUrl, owner: Owner) -> None:
        self.url = url
        self._owner = owner
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        assert self._connection is not None, "the store is not open"
        return self._connection

    @property
    def is_lost(self) -> bool:
        return self._connection is None or self._connection.closed

    def open(self, first_commit: bytes = b"") -> Heads:
        """Connect, lock the schema, read the last commits.

        Args:
            first_commit: the mark of new tables; b"": tables are not made.

        Raises:
            StoreRefusedError, StoreUnavailableError, HomeInUseError, StorageError.
        """
        self.close()
        try:
            self._connection = psycopg.connect(self.url.conninfo, autocommit=True)
        except psycopg.Error as error:
            raise meaning_of_no_connection(error, self.url) from None
        try:
            self._check_server(self._connection)
            self._prepare(self._connection)
            self._lock(self._connection)
            return self._tables(self._connection, first_commit)
        except psycopg.Error as error:
            lost = self.is_lost
            self.close()
            raise (meaning_of_no_connection if lost else meaning_of_no_start)(error, self.url) from None
        except BaseException:  # Whatever it is, it goes on from here.
            self.close()
            raise

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- inside

    def _check_server(self, connection: Connection) -> None:
        version = connection.info.server_version
        if version < SERVER_VERSION_MIN * 10_000:
            self._refuse(
                f"it is PostgreSQL {version // 10_000}; {SERVER_VERSION_MIN} is the oldest that works"
            )
        settings: dict[str, str] = dict(
            connection.execute(
                "SELECT name, setting FROM pg_settings "
                "WHERE name IN ('fsync', 'server_encoding', 'transaction_read_only')"
            ).fetchall()
        )
        if settings["server_encoding"] != "UTF8":
            self._refuse(f"its encoding is {settings['server_encoding']}; make a database with UTF8")
        if settings["fsync"] != "on":
            self._refuse("the server runs with fsync = off, and would lose what it has confirmed")
        if settings["transaction_read_only"] != "off":
            self._refuse("it is read-only; name the primary server")

    def _refuse(self, reason: str) -> None:
        raise StoreRefusedError(server=self.url.shown, reason=reason)

    def _prepare(self, connection: Connection) -> None:
        for statement in _SESSION:
            # An older server knows fewer of them (`idle_session_timeout` came with 14).
            if connection.info.server_version >= 140_000 or "idle_session" not in statement:
                connection.execute(statement)
        (level,) = _one(connection, "SHOW synchronous_commit")
        if level == "off":
            connection.execute("SET synchronous_commit = on")
        schema = sql.Identifier(self.url.schema)
        (is_there,) = _one(connection, "SELECT to_regnamespace(%s) IS NOT NULL", self.url.schema)
        if not is_there:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(sql.SQL("SET search_path TO {}").format(schema))

    def _lock(self, connection: Connection) -> None:
        """Hold the schema for as long as this session lives: no second node can write beside us, and
        whatever an earlier session of ours had under way is decided."""
        deadline = time.monotonic() + _LOCK_WAIT_S
        statement = f"SELECT pg_try_advisory_lock({_LOCK_PLACE})"
        while True:
            (is_ours,) = _one(connection, statement, _LOCK_CLASS, self.url.schema)
            if is_ours:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(PAUSE_S)
        holder = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = %s "
            "AND objid::bigint = ((%s::regnamespace::oid::bigint - 2147483648) & 4294967295)",
            (_LOCK_CLASS, self.url.schema),
        ).fetchone()
        pid = holder[0] if holder else "unknown"
        raise HomeInUseError(
            f"{self.url.shown} is in use by a running node (process {pid} of the server); stop it, or "
            "choose another schema",
            home=self.url.shown,
            pid=pid,
        )

    def _tables(self, connection: Connection, first_commit: bytes) -> Heads:
        (is_there,) = _one(connection, "SELECT to_regclass(%s) IS NOT NULL", f"{self.url.schema}.store")
        if not is_there and not first_commit:
            raise StorageError(reason=f"the tables of {self.url.shown} are gone")
        if not is_there:
            with connection.transaction():
                connection.execute(TABLES)
                connection.execute(
                    "INSERT INTO store(version, mesh, node, commit_id, previous_commit_id) "
                    "VALUES (%s, %s, %s, %s, '')",
                    (SCHEMA_VERSION, self._owner.mesh, self._owner.node, first_commit),
                )
        version, mesh, node, *heads = _one(
            connection, "SELECT version, mesh, node, commit_id, previous_commit_id, clock FROM store"
        )
        if version != SCHEMA_VERSION:
            self._refuse(f"its tables have version {version}; this software reads {SCHEMA_VERSION}")
        if mesh != self._owner.mesh:
            self._refuse("its records are those of another mesh; choose another schema")
        if node != self._owner.node:
            connection.execute("UPDATE store SET node = %s", (self._owner.node,))
        return Heads(*heads)


def _one(connection: Connection, statement: str, *values: Any) -> TupleRow:
    row = connection.execute(statement.encode(), values or None).fetchone()
    if row is None:
        raise StorageError(reason=f"the server answered nothing to {statement!r}")
    return row
