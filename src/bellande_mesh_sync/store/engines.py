"""Choosing the store: what a `db_url` names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.store.interface import Store
from bellande_mesh_sync.store.memory import MemoryStore
from bellande_mesh_sync.store.sqlite import SqliteStore
from bellande_mesh_sync.store.temporary_chunks import TemporaryChunks

POSTGRES_SCHEMES = ("postgresql://", "postgres://")
SUPPORTED = (
    '"" (the embedded store in the home), "sqlite:///PATH", "postgresql://USER@HOST/DATABASE" or "memory:"'
)


def open_engine(
    db_url: str,
    *,
    data_dir: Path | None,
    chunks_dir: Path | None,
    new_epoch: Callable[[], bytes],
    node: str = "",
    mesh: str = "",
) -> Store:
    """The store that `db_url` names, not opened yet.

    Args:
        db_url: `""`: the embedded store in `data_dir`; `sqlite:///PATH`: the embedded store in that
            file (four slashes for an absolute path); `postgresql://...`: a server, with a copy in
            `data_dir`; `memory:`: nothing outlives the process.
        data_dir, chunks_dir: the home's folders; None for a node without a home.
        node, mesh: whose records these are, in hexadecimal; a server is told.

    Raises:
        ConfigError: another URL, one that needs a home where there is none, or an extra that is missing.
    """
    if db_url == "memory:":
        return MemoryStore(new_epoch=new_epoch, chunks=TemporaryChunks())
    is_server = db_url.startswith(POSTGRES_SCHEMES)
    if db_url and not is_server and not (db_url.startswith("sqlite:///") and len(db_url) > len("sqlite:///")):
        # Not the whole of it: a URL may hold a password.
        scheme = db_url.partition(":")[0]
        raise ConfigError(
            field="db_url", reason=f"{scheme!r} is not supported; this version knows {SUPPORTED}"
        )
    if chunks_dir is None or data_dir is None:
        raise ConfigError(field="db_url", reason='a node without a home has no disk; use "memory:"')
    if not db_url:
        return SqliteStore(data_dir, chunks_dir, new_epoch=new_epoch)
    if is_server:
        return _open_postgres(db_url, data_dir, chunks_dir, new_epoch, node, mesh)
    path = Path(db_url.removeprefix("sqlite:///")).expanduser().absolute()
    return SqliteStore(path.parent, chunks_dir, new_epoch=new_epoch, database_name=path.name)


def _open_postgres(
    db_url: str, data_dir: Path, chunks_dir: Path, new_epoch: Callable[[], bytes], node: str, mesh: str
) -> Store:
    try:
        from bellande_mesh_sync.store.postgres import PostgresStore
        from bellande_mesh_sync.store.postgres_server import Owner
    except ImportError as error:
        reason = f"PostgreSQL needs the extra: pip install 'bellande-mesh-sync[postgres]' ({error})"
        raise ConfigError(field="db_url", reason=reason) from error
    return PostgresStore(
        db_url,
        data_dir,
        chunks_dir,
        owner=Owner(node, mesh),
        default_schema=f"bms_{node[:16]}",
        new_epoch=new_epoch,
    )
