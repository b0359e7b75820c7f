"""What folder and mesh last agreed on, path by path, on disk: so that a restart need not read any file.

One SQLite file a shared folder, in the node's home. It may be lost without harm: what both sides have is
then merged as at first, and nothing counts as deleted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bellande_mesh_sync.errors import BellandeMeshError, CorruptStoreError
from bellande_mesh_sync.files import make_private_dir
from bellande_mesh_sync.share.planner import Content
from bellande_mesh_sync.share.scanning import Facts

SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE share (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE agreed (
    path TEXT PRIMARY KEY, digest TEXT NOT NULL, executable INTEGER NOT NULL,
    version TEXT NOT NULL, context TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE copies (
    path TEXT NOT NULL, version TEXT NOT NULL, copy_path TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL,
    executable INTEGER NOT NULL, PRIMARY KEY (path, version)
) STRICT, WITHOUT ROWID;
"""

NO_FACTS: Final = Facts(0, 0, 0, 0, False)
"""Of an empty folder."""


class ShareInUseError(BellandeMeshError):
    code = "share_in_use"
    template = "{path} is being shared already; end that first"


class Agreed(NamedTuple):
    """A path on which both sides agree."""

    content: Content
    version: str
    context: str
    """What a reader of this version has seen; empty while that is not known."""
    facts: Facts
    """The file's, when it had this content."""


class Copy(NamedTuple):
    """A conflict copy that was written."""

    path: str
    facts: Facts


def state_path(home: Path, folder: str) -> Path:
    name = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape")).hexdigest()[:24]
    return home / "share" / f"{name}.sqlite"


class State:
    """The agreed paths, held in memory too (about 600 bytes each), and the copies. One holder at a time."""

    def __init__(self, path: Path | None) -> None:
        """None: nothing is kept, as for a dry run of a folder that was never shared."""
        self._path = path
        self._lock_fd = -1
        if path is not None:
            make_private_dir(path.parent)
            self._lock_fd = _lock(path)
        try:
            self._database = sqlite3.connect(str(path) if path else ":memory:", isolation_level=None)
            self._prepare()
            self.agreed = dict(self._read_agreed())
            self.copies = self._read_copies()
        except sqlite3.DatabaseError as error:
            self.close()
            raise CorruptStoreError(path=str(path), reason=str(error)) from None
        self._changes: dict[str, Agreed | None] = {}

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if hasattr(self, "_database"):
            self._database.close()
        if self._lock_fd >= 0:
            fd, self._lock_fd = self._lock_fd, -1
            os.close(fd)

    # -- what the state is about

    @property
    def about(self) -> dict[str, str]:
        """Which folder, node and prefix this is about; empty at first."""
        return dict(self._database.execute("SELECT name, value FROM share"))

    def start(self, about: dict[str, str]) -> None:
        """Forget everything, and begin anew about this."""
        self._write(
            [
                ("DELETE FROM share", [()]),
                ("DELETE FROM agreed", [()]),
                ("DELETE FROM copies", [()]),
                ("INSERT INTO share VALUES (?, ?)", list(about.items())),
            ]
        )
        self.agreed.clear()
        self.copies.clear()
        self._changes.clear()

    # -- paths

    def agree(self, path: str, agreed: Agreed) -> None:
        """Takes effect here now, and on disk with the next `commit`."""
        self.agreed[path] = agreed
        self._changes[path] = agreed

    def forget(self, path: str) -> None:
        if self.agreed.pop(path, None) is not None:
            self._changes[path] = None

    def commit(self) -> None:
        """Make it durable. What is lost by a crash before is found out again by looking."""
        changes, self._changes = self._changes, {}
        if changes:
            gone = [(path,) for path, agreed in changes.items() if agreed is None]
            kept = [_row(path, agreed) for path, agreed in changes.items() if agreed is not None]
            self._write(
                [
                    ("DELETE FROM agreed WHERE path = ?", gone),
                    ("INSERT OR REPLACE INTO agreed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", kept),
                ]
            )

    # -- conflict copies

    def add_copy(self, path: str, version: str, copy: Copy) -> None:
        self.copies.setdefault(path, {})[version] = copy
        facts = copy.facts
        row = (path, version, copy.path, *facts[:4], int(facts.executable))
        self._write([("INSERT OR REPLACE INTO copies VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row])])

    def drop_copy(self, path: str, version: str) -> None:
        shown = self.copies.get(path, {})
        shown.pop(version, None)
        if not shown:
            self.copies.pop(path, None)
        self._write([("DELETE FROM copies WHERE path = ? AND version = ?", [(path, version)])])

    # -- SQLite

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it is of version {version}, this program knows {SCHEMA_VERSION}")

    def _write(self, statements: Iterable[tuple[str, Sequence[tuple[object, ...]]]]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            for statement, rows in statements:
                self._database.executemany(statement, rows)
        except BaseException:  # Whatever it is, it goes on from here.
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _read_agreed(self) -> Iterator[tuple[str, Agreed]]:
        rows = self._database.execute("SELECT * FROM agreed")
        for path, digest, executable, version, context, size, mtime_ns, ctime_ns, inode in rows:
            content = Content(digest, bool(executable))
            facts = Facts(size, mtime_ns, ctime_ns, inode, bool(executable))
            yield path, Agreed(content, version, context, facts)

    def _read_copies(self) -> dict[str, dict[str, Copy]]:
        found: dict[str, dict[str, Copy]] = {}
        rows = self._database.execute("SELECT * FROM copies")
        for path, version, copy_path, size, mtime_ns, ctime_ns, inode, executable in rows:
            facts = Facts(size, mtime_ns, ctime_ns, inode, bool(executable))
            found.setdefault(path, {})[version] = Copy(copy_path, facts)
        return found


def _row(path: str, agreed: Agreed) -> tuple[object, ...]:
    content, facts = agreed.content, agreed.facts
    return (path, content.digest, int(content.executable), agreed.version, agreed.context, *facts[:4])


def _lock(path: Path) -> int:
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise ShareInUseError(path=str(path)) from None
    return fd
