"""A shared folder: read and write its files, each whole or not at all, and none outside of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator
from typing import BinaryIO

from bellande_mesh_sync.cli.landing import PathConflictError, UnsafePathError, relative_segments
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.share.ignores import IGNORE_BYTES_MAX, Ignores
from bellande_mesh_sync.share.metadata import Metadata
from bellande_mesh_sync.share.names import FOLDER_MARK, IDENTITY_FILE, IGNORE_FILE, nfc, part_name
from bellande_mesh_sync.share.scanning import FOLDER_FLAGS, Facts, Scan, facts_of, open_folder, scan

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_IDENTITY_BYTES_MAX = 200


class FolderLostError(BellandeMeshError):
    """The folder is not the one that was shared: not mounted, replaced or emptied. Nothing was changed."""

    code = "share_folder_lost"
    template = (
        "{path} is not the folder that was shared ({reason}); bring it back, or forget what was agreed and "
        "merge what is there now with --start-over"
    )


class BusyFileError(BellandeMeshError):
    """What stands at a path is not what the step was meant for. Nothing was changed; it is tried again."""

    code = "file_changed"
    retryable = True
    template = "{path} changed meanwhile; it is looked at again"


class Placed:
    """A new file: written while the block runs, known by its facts afterwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.facts: Facts | None = None

    def write(self, piece: bytes) -> None:
        self._file.write(piece)


class SharedFolder:
    """One folder that is open. Below it no symbolic link is followed, whoever puts it there when."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        # The root itself may be a link: the person named it.
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._names: dict[str, str] = {}
        self._unsynced: set[str] = set()

    def __enter__(self) -> SharedFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    # -- which folder it is

    def identity(self) -> str:
        """What the identity file says; empty if there is none."""
        try:
            with self._open(IDENTITY_FILE, self._fd) as file:
                return file.read(_IDENTITY_BYTES_MAX).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return ""

    def mark(self) -> str:
        """Give the folder an identity."""
        identity = secrets.token_hex(16)
        with self._new(IDENTITY_FILE, self._fd, Metadata(mtime_ns=time.time_ns()), None) as placed:
            placed.write(identity.encode() + b"\n")
        return identity

    def check(self, identity: str) -> None:
        """FolderLostError unless the path still leads to the folder with this identity."""
        try:
            there, ours = os.stat(self.path), os.fstat(self._fd)
        except OSError as error:
            raise FolderLostError(path=self.path, reason=error.strerror or str(error)) from None
        if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            raise FolderLostError(path=self.path, reason="another folder has its place")
        if self.identity() != identity:
            raise FolderLostError(path=self.path, reason=f"its file {IDENTITY_FILE} is gone or another one")

    # -- looking

    def ignores(self) -> Ignores:
        """The rules of the ignore file; none if there is none."""
        try:
            with self._open(IGNORE_FILE, self._fd) as file:
                return Ignores.of_bytes(file.read(IGNORE_BYTES_MAX + 1))
        except FileNotFoundError:
            return Ignores()

    def scan(self, prefix: str, ignores: Ignores) -> Scan:
        found = scan(self._fd, prefix, ignores)
        self._names = found.names
        return found

    def remove_leftovers(self, found: Scan) -> None:
        """Remove the temporary files that a killed share left behind."""
        for disk_path in found.leftovers:
            folder, _, name = disk_path.rpartition("/")
            with contextlib.suppress(OSError):
                fd = open_folder(self._fd, folder)
                try:
                    os.unlink(name, dir_fd=fd)
                finally:
                    os.close(fd)

    def facts(self, path: str) -> Facts | None:
        """A file's facts now; None if there is no regular file."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self._parent(path) as (fd, name):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            return facts_of(status) if stat.S_ISREG(status.st_mode) else None
        return None

    @contextlib.contextmanager
    def read(self, path: str) -> Iterator[BinaryIO]:
        """A file, open for reading. OSError if it is gone, is a link by now, or may not be read."""
        with self._parent(path) as (fd, name), self._open(name, fd) as file:
            yield file

    # -- writing

    @contextlib.contextmanager
    def replace(self, path: str, metadata: Metadata, expected: Facts | None) -> Iterator[Placed]:
        """A new file that takes the path when the block ends, and vanishes if the block fails.

        Args:
            metadata: with a time, so that a later write is sure to change it.
            expected: what stands there now; None if nothing does.

        Raises:
            BusyFileError: something else stands there by now, which is kept.
            PathConflictError: a folder or a link stands in the way.
        """
        with self._parent(path, make=True) as (fd, name), self._new(name, fd, metadata, expected) as placed:
            yield placed
        self._unsynced.add(path.rpartition("/")[0])

    def sync(self) -> None:
        """Wait until the new names are on disk, before anybody writes down that they are there."""
        folders, self._unsynced = self._unsynced, set()
        for folder in sorted(folders):
            with (
                contextlib.suppress(FileNotFoundError, NotADirectoryError),
                self._parent(f"{folder}/{FOLDER_MARK}" if folder else FOLDER_MARK) as (fd, _),
            ):
                os.fsync(fd)

    def delete(self, path: str, expected: Facts) -> None:
        """Remove a file, and folders above it that are empty by that. BusyFileError if it changed."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            with self._parent(path) as (fd, name):
                _check_unchanged(name, fd, expected)
                os.unlink(name, dir_fd=fd)
            self._prune(path.rpartition("/")[0])

    def make_folder(self, path: str) -> None:
        with self._parent(f"{path}/{FOLDER_MARK}", make=True):
            pass

    def remove_folder(self, path: str) -> None:
        """Remove a folder and those above it, as far as they are empty."""
        self._prune(path)

    def is_folder(self, path: str) -> bool:
        with contextlib.suppress(OSError), self._parent(f"{path}/{FOLDER_MARK}"):
            return True
        return False

    def _prune(self, path: str) -> None:
        while path:
            try:
                with self._parent(path) as (fd, name):
                    with contextlib.suppress(OSError):
                        os.unlink(f"{name}/{FOLDER_MARK}", dir_fd=fd)
                    os.rmdir(name, dir_fd=fd)
            except OSError:
                return  # Not empty, or gone, or not ours to remove: all of that is fine.
            path = path.rpartition("/")[0]

    # -- the way there

    @contextlib.contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that `path` is in, and its name there. Checks that it leads nowhere else."""
        segments = relative_segments(path, "")
        fd = os.dup(self._fd)
        try:
            walked = ""
            for segment in segments[:-1]:
                walked = f"{walked}/{segment}" if walked else segment
                name = self._names.get(walked, "").rpartition("/")[2] or segment
                inner = _enter(name, fd, walked, make=make)
                os.close(fd)
                fd = inner
            yield fd, self._name_on_disk(segments[-1], fd)
        finally:
            os.close(fd)

    @staticmethod
    def _name_on_disk(name: str, fd: int) -> str:
        """The name as it is on disk, if a file is there whose name is another Unicode form of this one."""
        if name.isascii():
            return name
        try:
            os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return next((found for found in os.listdir(fd) if nfc(found) == name), name)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
        return name

    @staticmethod
    def _open(name: str, fd: int) -> BinaryIO:
        return os.fdopen(os.open(name, _READ_FLAGS, dir_fd=fd), "rb", buffering=0)

    @staticmethod
    @contextlib.contextmanager
    def _new(name: str, fd: int, metadata: Metadata, expected: Facts | None) -> Iterator[Placed]:
        before = _check_unchanged(name, fd, expected)  # Before a value is fetched for nothing.
        temporary = part_name(secrets.token_hex(8))
        mode = 0o777 if metadata.executable else 0o666
        new_fd = os.open(temporary, _NEW_FLAGS, mode=mode, dir_fd=fd)
        try:
            with open(new_fd, "wb") as file:
                if before is not None:
                    # A private file stays private.
                    os.fchmod(new_fd, _mode_like(before.st_mode, metadata.executable))
                placed = Placed(file)
                yield placed
                file.flush()
                if metadata.mtime_ns is not None:
                    os.utime(file.fileno(), ns=(metadata.mtime_ns, metadata.mtime_ns))
                os.fsync(file.fileno())
                written = facts_of(os.fstat(file.fileno()))
            _check_unchanged(name, fd, expected)
            os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            placed.facts = _settled_facts(name, fd, written)
        except BaseException:
            # Also when the process is asked to stop.
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise


def _enter(name: str, fd: int, path: str, *, make: bool) -> int:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=fd)
    try:
        return os.open(name, FOLDER_FLAGS, dir_fd=fd)
    except NotADirectoryError:
        if not make:
            raise
        raise PathConflictError(
            path=path, reason="a file or a link stands where a folder is needed"
        ) from None


def _settled_facts(name: str, fd: int, written: Facts) -> Facts:
    """The facts of what was just renamed: only its ctime may differ by that. If more does, somebody has
    written to it already; facts that do not fit make the next look notice."""
    with contextlib.suppress(OSError):
        now = facts_of(os.stat(name, dir_fd=fd, follow_symlinks=False))
        if now._replace(ctime_ns=0) == written._replace(ctime_ns=0):
            return now
    return written


def _mode_like(mode: int, executable: bool) -> int:
    """The same permissions, but with the right to execute for all who may read, or for nobody."""
    plain = mode & 0o666
    return plain | (plain & 0o444) >> 2 if executable else plain


def _check_unchanged(name: str, fd: int, expected: Facts | None) -> os.stat_result | None:
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        if expected is None:
            return None
        raise BusyFileError(path=name) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnsafePathError(path=name, reason="a file's name cannot be that long here") from None
        raise
    if stat.S_ISDIR(status.st_mode):
        raise PathConflictError(path=name, reason="there is a folder of this name, so it cannot be a file")
    if not stat.S_ISREG(status.st_mode):
        raise PathConflictError(path=name, reason="it is a link or a device, which is left alone")
    if expected is None or facts_of(status) != expected:
        raise BusyFileError(path=name)
    return status
