"""The epoch beside the database: a database or a home that came from a backup is found out by it.

The file is written anew at every start, and the database notes which writing of it that was. So
the two fit only where both stayed where they were since the last start.
"""

from __future__ import annotations

import os
from pathlib import Path

from bellande_mesh_sync.ids import EPOCH_BYTES


def read_epoch(path: Path) -> bytes:
    """The epoch in the file, b"" if there is no file or nothing readable in it. Raises OSError."""
    try:
        epoch = bytes.fromhex(path.read_text("ascii").strip())
    except (FileNotFoundError, ValueError):
        return b""
    return epoch if len(epoch) == EPOCH_BYTES else b""


def write_epoch(path: Path, epoch: bytes) -> None:
    """Replace the file durably: after a crash it holds the old epoch or the new one. Raises OSError."""
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, epoch.hex().encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.replace(path)
    sync_directory(path.parent)


def place_of(path: Path) -> bytes:
    """Which writing of the file this is; b"" if there is no file. Raises OSError.

    Its number on the file system and the time of its last change, which no program can set: a copy of
    the file, however true, has others. Moving a home to another disk changes them too.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return b""
    return b"%d %d" % (status.st_ino, status.st_ctime_ns)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
