"""Look through a shared folder: names and facts of the files, never their bytes, never through a link.

Each folder is opened relative to the one it was found in, so that a link swapped in meanwhile is
refused. Cost: one `scandir` a folder and one `stat` a file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from bellande_mesh_sync.errors import InvalidKeyError
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.share.ignores import Ignores
from bellande_mesh_sync.share.names import FOLDER_MARK, is_conflict_copy, is_part, nfc

LEFTOVER_S = 600.0

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Facts(NamedTuple):
    """What tells whether a file changed without reading it."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    executable: bool


class Seen(NamedTuple):
    disk_path: str
    """The way from the root as it is on disk: it differs from the path where that is not in NFC."""
    facts: Facts


class Issue(NamedTuple):
    """Something in the folder that is not shared, and why. It is left as it is."""

    path: str
    code: str
    reason: str


class Scan:
    """What one look found. Paths are relative, in NFC, with `/` between their segments."""

    def __init__(self) -> None:
        self.files: dict[str, Seen] = {}
        self.empty_folders: dict[str, str] = {}
        """Path -> path on disk of each folder that has nothing in it."""
        self.folders: list[str] = [""]
        """Every folder that was entered, as on disk: what a watcher has to watch."""
        self.copies: set[str] = set()
        """Conflict copies that are there."""
        self.unknown: list[str] = []
        """Folders that could not be read: nothing is known of what is below them."""
        self.leftovers: list[str] = []
        """Temporary files (on disk) long untouched: of a share or an export that was killed."""
        self.issues: list[Issue] = []
        self.names: dict[str, str] = {}
        """Path -> path on disk of each folder whose name there is not in NFC."""


def facts_of(status: os.stat_result) -> Facts:
    return Facts(
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
        bool(status.st_mode & stat.S_IXUSR),
    )


def scan(root_fd: int, prefix: str, ignores: Ignores) -> Scan:
    """Everything below the folder that is open as `root_fd`; `prefix` is what keys begin with."""
    return _Scanner(prefix, ignores).run(root_fd)


class _Scanner:
    def __init__(self, prefix: str, ignores: Ignores) -> None:
        self._prefix = prefix
        self._ignores = ignores
        self._found = Scan()

    def run(self, root_fd: int) -> Scan:
        # Names wait here, not descriptors: a deep tree must not use them up.
        waiting: list[tuple[str, str]] = [("", "")]
        while waiting:
            path, disk_path = waiting.pop()
            try:
                fd = open_folder(root_fd, disk_path)
            except OSError as error:
                self._unreadable(path, error)
                continue
            try:
                waiting += self._read(fd, path, disk_path)
            except OSError as error:
                self._unreadable(path, error)
            finally:
                os.close(fd)
        return self._found

    def _read(self, fd: int, path: str, disk_path: str) -> Iterator[tuple[str, str]]:
        count = 0
        folders = []
        with os.scandir(fd) as entries:
            for entry in entries:
                if entry.name == FOLDER_MARK:
                    continue  # What an export wrote for an empty folder.
                count += 1
                inner, on_disk = _below(path, nfc(entry.name)), _below(disk_path, entry.name)
                if self._is_skipped(inner, on_disk, entry) or self._refused(inner, on_disk):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append((inner, on_disk))
                    self._found.folders.append(on_disk)
                    if inner != on_disk:
                        self._found.names[inner] = on_disk
                elif entry.is_file(follow_symlinks=False):
                    self._add(inner, on_disk, entry)
                else:
                    self._special(on_disk, entry)
        if not count and path:
            self._found.empty_folders[path] = disk_path
        return iter(folders)

    def _add(self, path: str, disk_path: str, entry: os.DirEntry[str]) -> None:
        try:
            facts = facts_of(entry.stat(follow_symlinks=False))
        except FileNotFoundError:
            return  # Gone since it was listed; the next look tells.
        other = self._found.files.get(path)
        if other is None:
            self._found.files[path] = Seen(disk_path, facts)
        else:
            reason = f"it has the same key as {other.disk_path!r}: their names differ in Unicode form only"
            self._found.issues.append(Issue(ascii(disk_path), "name_collision", reason))

    def _is_skipped(self, path: str, disk_path: str, entry: os.DirEntry[str]) -> bool:
        if is_part(entry.name):
            self._add_leftover(disk_path, entry)
            return True
        if is_conflict_copy(entry.name):
            self._found.copies.add(path)
            return True
        return self._ignores.skips(path, is_folder=entry.is_dir(follow_symlinks=False))

    def _add_leftover(self, disk_path: str, entry: os.DirEntry[str]) -> None:
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat(follow_symlinks=False).st_ctime > LEFTOVER_S:
                self._found.leftovers.append(disk_path)

    def _refused(self, path: str, disk_path: str) -> bool:
        try:
            check_key(self._prefix + path)
        except InvalidKeyError as error:
            self._found.issues.append(Issue(disk_path, error.code, error.reason))
            return True
        return False

    def _special(self, disk_path: str, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            self._found.issues.append(
                Issue(disk_path, "symbolic_link", "links are neither followed nor shared")
            )
        else:
            self._found.issues.append(Issue(disk_path, "not_a_file", "it is a socket, a pipe or a device"))

    def _unreadable(self, path: str, error: OSError) -> None:
        if not path:
            raise error
        self._found.unknown.append(path)
        self._found.issues.append(Issue(path, "unreadable", error.strerror or str(error)))


def open_folder(root_fd: int, disk_path: str) -> int:
    """A descriptor of a folder below the root, whose caller closes it. No segment may be a link."""
    fd = os.dup(root_fd)
    for segment in filter(None, disk_path.split("/")):
        try:
            inner = os.open(segment, FOLDER_FLAGS, dir_fd=fd)
        finally:
            os.close(fd)
        fd = inner
    return fd


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
