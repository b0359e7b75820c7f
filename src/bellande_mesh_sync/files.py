"""Small files that must be whole or absent, and secret ones that only their owner may read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bellande_mesh_sync.errors import ConfigError, IdentityError

_PRIVATE_BYTES_MAX = 1 << 20


def make_private_dir(path: Path) -> None:
    """Make `path` (and its parents) for this user only; ConfigError names what stands in the way.

    A folder that exists keeps its mode: whoever made it may have had a reason.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(field="home", reason=f"{path} is not a folder") from None
    except OSError as error:
        reason = f"{error.filename or path} cannot be made: {error.strerror}"
        raise ConfigError(field="home", reason=reason) from None


def write_atomic(
    path: Path, content: bytes, *, mode: int = 0o600, exclusive: bool = False, durable: bool = True
) -> None:
    """Put `content` at `path` so that a crash leaves the old file or the new one, on disk.

    Args:
        durable: wait for the disk. Without it a power cut may lose the file, though not tear it
            in the eyes of a running process.

    Raises:
        FileExistsError: `exclusive`, and there is one already; it is left alone.
        ConfigError: the folder cannot be written.
    """
    try:
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        reason = f"{path.parent} cannot be written: {error.strerror}"
        raise ConfigError(field="home", reason=reason) from None
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if exclusive:
            os.link(temporary, path)  # Unlike rename, it refuses to replace.
        else:
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    if durable:
        _sync_dir(path.parent)


def read_private(path: Path) -> bytes:
    """Read a secret; IdentityError if other users could read it too. FileNotFoundError as usual."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IdentityError(path=str(path), reason=f"cannot be read: {error.strerror}") from None
    with os.fdopen(fd, "rb") as file:
        # On the open file, so that nobody can swap it between the check and the read.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise IdentityError(path=str(path), reason="is not a file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            reason = f"its mode is {mode:04o}, so other users can use it; run: chmod 600 {path}"
            raise IdentityError(path=str(path), reason=reason, mode=f"{mode:04o}")
        return file.read(_PRIVATE_BYTES_MAX)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file against other processes and threads for a short while, waiting for it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sync_dir(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
