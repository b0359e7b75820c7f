"""Walk a folder for `bms import`: streamed, never through a symbolic link, names turned into keys.

Everything below the root is opened relative to the folder it was found in, so a link that somebody
swaps in while the walk runs is refused and not followed. Memory grows with depth and with the names
that are not in Unicode form NFC, never with the number of files.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from bellande_mesh_sync.errors import InvalidKeyError
from bellande_mesh_sync.keys import check_key

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# O_NONBLOCK: a FIFO that took a file's place must not hang the import.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file. `open` and `size` work until the walk is asked for the next thing."""

    key: str
    path: str
    """As a person would name it: the root as given, and the way down from it."""
    name: str
    folder_fd: int

    def open(self) -> int:
        """A descriptor of the file; OSError if it is gone, is a link by now, or may not be read."""
        return os.open(self.name, _FILE_FLAGS, dir_fd=self.folder_fd)

    def size(self) -> int:
        return os.stat(self.name, dir_fd=self.folder_fd, follow_symlinks=False).st_size


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should have been imported, or written, and cannot be."""

    path: str
    code: str
    reason: str


@dataclass(slots=True)
class Skipped:
    """What is left out on purpose, counted."""

    links: int = 0
    specials: int = 0
    """Sockets, FIFOs, devices."""


class _Part(NamedTuple):
    """A real folder that is open."""

    path: str
    fd: int


class _Group(NamedTuple):
    """What has one name within a folder of keys. Two entries have it if they differ in Unicode form only."""

    name: str
    members: list[tuple[_Part, os.DirEntry[str]]]


@dataclass(slots=True)
class _Folder:
    """A folder of keys being read; usually one real folder."""

    prefix: str
    parts: list[_Part]
    groups: Iterator[_Group | Problem]


@dataclass(slots=True)
class Walk:
    """Iterate it for what is in `root`; afterwards `skipped` holds the counts."""

    root: str
    prefix: str
    skipped: Skipped = field(default_factory=Skipped)
    _stack: list[_Folder] = field(default_factory=list)

    def __iter__(self) -> Iterator[Found | Problem]:
        self.skipped = Skipped()
        prefix = self.prefix.rstrip("/")
        try:
            # The root itself may be a link: the person named it.
            self._enter(prefix + "/" if prefix else "", [_Part(self.root, os.open(self.root, _FOLDER_FLAGS))])
            while self._stack:
                folder = self._stack[-1]
                group = next(folder.groups, None)
                if group is None:
                    self._leave()
                elif isinstance(group, Problem):
                    yield group
                else:
                    yield from self._visit(folder, group)
        finally:
            while self._stack:
                self._leave()

    def _visit(self, folder: _Folder, group: _Group) -> Iterator[Found | Problem]:
        """Yield the group's file, or enter its folder."""
        files: list[tuple[_Part, str]] = []
        folders: list[tuple[_Part, str]] = []
        for part, entry in group.members:
            if entry.is_symlink():
                self.skipped.links += 1
            elif entry.is_dir(follow_symlinks=False):
                folders.append((part, entry.name))
            elif entry.is_file(follow_symlinks=False):
                files.append((part, entry.name))
            else:
                self.skipped.specials += 1
        if not files and not folders:
            return
        key = folder.prefix + group.name
        try:
            check_key(key)
        except InvalidKeyError as error:
            for part, name in files + folders:
                yield Problem(f"{part.path}/{name}", error.code, error.reason)
            return
        if len(files) > 1:
            paths = [f"{part.path}/{name}" for part, name in files]
            others = ", ".join(ascii(path) for path in paths[1:])
            reason = f"it has the same key, {key!r}, as {others} (their names differ in Unicode form only)"
            yield Problem(ascii(paths[0]), "name_collision", reason)
        elif files:
            part, name = files[0]
            yield Found(key, f"{part.path}/{name}", name, part.fd)
        if folders:
            yield from self._descend(key, folders)

    def _descend(self, key: str, folders: list[tuple[_Part, str]]) -> Iterator[Problem]:
        parts = []
        for part, name in folders:
            path = f"{part.path}/{name}"
            try:
                parts.append(_Part(path, os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=part.fd)))
            except OSError as error:
                yield unreadable(path, error)
        if parts:
            self._enter(key + "/", parts)

    def _enter(self, prefix: str, parts: list[_Part]) -> None:
        self._stack.append(_Folder(prefix, parts, _groups(parts)))

    def _leave(self) -> None:
        for part in self._stack.pop().parts:
            os.close(part.fd)


def unreadable(path: str, error: OSError) -> Problem:
    return Problem(path, "unreadable", error.strerror or str(error))


def _groups(parts: list[_Part]) -> Iterator[_Group | Problem]:
    """The names in a folder of keys, each once. Only names that may be there twice are held back."""
    waiting: dict[str, _Group] = {}
    for part in parts:
        try:
            # Of several real folders that are one folder of keys, any name may be in two.
            doubtful = None if len(parts) > 1 else _other_forms(part)
            with os.scandir(part.fd) as entries:
                for entry in entries:
                    name = _nfc(entry.name)
                    if doubtful is None or name in doubtful:
                        waiting.setdefault(name, _Group(name, [])).members.append((part, entry))
                    else:
                        yield _Group(name, [(part, entry)])
        except OSError as error:
            yield unreadable(part.path, error)
    yield from waiting.values()


def _other_forms(part: _Part) -> set[str]:
    """The NFC of all names that are in another form, and may thus meet a second file of that name."""
    with os.scandir(part.fd) as entries:
        return {nfc for entry in entries if (nfc := _nfc(entry.name)) != entry.name}


def _nfc(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)
