"""What an error of the database server means in terms of the error tree."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from bellande_mesh_sync.errors import (
    BellandeMeshError,
    DiskFullError,
    StorageError,
    StoreRefusedError,
    StoreUnavailableError,
)
from bellande_mesh_sync.store.postgres_url import ServerUrl

_DISK_FULL: Final = "53100"
_PASSING: Final = ("08", "40", "53", "55P03", "57")
"""Connection, conflict with another session, resources, locks, an operator at work: it may pass."""

# libpq keeps the code of a refused connection to itself, and gives out the server's sentence only.
_REFUSED: Final = re.compile(r"FATAL|no password supplied|fe_sendauth|SSL|certificate")
_NOT_YET: Final = re.compile(r"starting up|shutting down|recovery|too many|remaining connection slots")


def meaning_of(error: psycopg.Error, url: ServerUrl) -> StorageError:
    """Of a statement that failed, on a connection that still stands: nothing of it was written."""
    reason = url.scrub(str(error))
    code = error.sqlstate or ""
    if code == _DISK_FULL:
        return DiskFullError(path=url.shown)
    if code.startswith(_PASSING):
        return StoreUnavailableError(server=url.shown, reason=reason)
    return StorageError(reason=f"{url.shown}: {reason}")


def meaning_of_no_start(error: psycopg.Error, url: ServerUrl) -> BellandeMeshError:
    """Of a statement that failed before the store was ready: a right that is missing, a timeout."""
    known = meaning_of(error, url)
    if isinstance(known, DiskFullError | StoreUnavailableError):
        return known
    return StoreRefusedError(server=url.shown, reason=url.scrub(str(error)))


def meaning_of_no_connection(error: psycopg.Error, url: ServerUrl) -> BellandeMeshError:
    """Of a connection that could not be opened."""
    text = url.scrub(str(error))
    reason = text.rpartition("FATAL: ")[2].strip()
    if _REFUSED.search(text) and not _NOT_YET.search(text):
        return StoreRefusedError(server=url.shown, reason=reason)
    return StoreUnavailableError(server=url.shown, reason=reason)
