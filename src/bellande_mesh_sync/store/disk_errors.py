"""What a failed disk call means in terms of the error tree."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bellande_mesh_sync.errors import CorruptStoreError, DiskFullError, StorageError

_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn errors of the operating system and of SQLite about `path` into StorageErrors."""
    try:
        yield
    except sqlite3.Error as error:
        raise _meaning_of(error, path) from error
    except OSError as error:
        if error.errno in _FULL_ERRNOS:
            raise DiskFullError(path=str(path)) from error
        raise StorageError(reason=f"{path}: {error.strerror or error}") from error


def _meaning_of(error: sqlite3.Error, path: Path) -> StorageError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF  # The upper bits only say where it happened.
    if primary == sqlite3.SQLITE_FULL:
        return DiskFullError(path=str(path))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptStoreError(path=str(path), reason=str(error))
    if code is None and "decode to UTF-8" in str(error):  # Python's own complaint about a damaged text.
        return CorruptStoreError(path=str(path), reason="a text in it is not UTF-8")
    return StorageError(reason=f"{path}: {error}")
