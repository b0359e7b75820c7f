"""A PostgreSQL server of one's own for tests and benchmarks: a fresh folder, a socket and a free port.

Debian's programs refuse to run for root, so root starts them as the user `postgres` or `nobody`.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

USER = "hub"
PASSWORD = "correct horse"
_DEBIAN = Path("/usr/lib/postgresql")
_START_S = 60.0


class NoServerError(Exception):
    """There is no PostgreSQL on this machine that could be started."""


def find_program(name: str) -> str:
    """Where a program of the server is: on the path, or where Debian keeps them. Raises NoServerError."""
    versions = sorted(_DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = shutil.which(name) or (str(versions[-1]) if versions else None)
    if found is None:
        raise NoServerError(f"there is no {name!r}; Debian's package is 'postgresql'")
    return str(Path(found).resolve())


class PostgresServer:
    """A server on a loopback port and a socket. Use as a context manager: it ends with the block.

    Args:
        parent: where its folder is made; by default among the temporary ones.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._initdb, self._postgres = find_program("initdb"), find_program("postgres")
        self._as_user = _unprivileged()
        # Not under pytest's own folder: that one is for its owner alone.
        self.folder = Path(tempfile.mkdtemp(prefix="run-postgres-", dir=parent))
        if self._as_user:
            self.folder.chmod(0o755)
            os.chown(self.folder, self._as_user["user"], self._as_user["group"])
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresServer:
        try:
            self._run_initdb()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end(signal.SIGQUIT)  # Nothing of it is needed any more, so nothing is synced.
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def url(self, database: str = "postgres", *, over_tcp: bool = False, **parameters: str) -> str:
        """Over the socket without a password, or over TCP with one."""
        query = dict(parameters)
        if over_tcp:
            place = f"{USER}:{quote(PASSWORD)}@127.0.0.1:{self.port}"
        else:
            place = f"{USER}@"
            query |= {"host": str(self.folder), "port": str(self.port)}
        return f"postgresql://{place}/{database}?" + "&".join(f"{k}={quote(v)}" for k, v in query.items())

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=USER, dbname=database, autocommit=True
        )

    def new_database(self, options: str = "") -> str:
        """Make an empty database; its name. Takes a hundred times as long as a schema."""
        name = f"mesh_{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name)))
        return name

    def start(self, *settings: str) -> None:
        """Start it and wait until it answers. `settings`: NAME=VALUE."""
        arguments = [self._postgres, "-D", str(self.folder / "data"), "-k", str(self.folder)]
        for setting in (f"port={self.port}", "listen_addresses=127.0.0.1", *settings):
            arguments += ["-c", setting]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, **self._as_user
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.connect().close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def stop(self) -> None:
        """End it by its pid, as an operator would: open sessions are cut off, nothing is lost."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill it without any warning."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            children = _children_of(process.pid)
            process.send_signal(how)
            process.wait(60)
            for child in children if how is signal.SIGKILL else ():
                _wait_for_end(child)

    def _run_initdb(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        arguments = [self._initdb, "-D", str(self.folder / "data"), "-U", USER, "-E", "UTF8", "--locale=C"]
        arguments += ["--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"]
        done = subprocess.run(
            [*arguments, f"--pwfile={password_file}"],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            **self._as_user,
        )
        if done.returncode:
            raise NoServerError(f"initdb failed: {done.stderr.strip()}")


def _unprivileged() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoServerError("root has no other user to run the server as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _wait_for_end(pid: int) -> None:
    """The children of a killed server notice it and end; a new one must not start before."""
    try:
        psutil.Process(pid).wait(30)
    except psutil.NoSuchProcess:
        return
