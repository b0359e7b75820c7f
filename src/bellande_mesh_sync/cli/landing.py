"""Write exported files: each whole or not at all, and none outside the folder that was named."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from typing import BinaryIO

from bellande_mesh_sync.errors import BellandeMeshError

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class UnsafePathError(BellandeMeshError):
    """A key has no place below the folder. Nothing was written for it."""

    code = "unsafe_path"
    template = "{path!r} cannot be a file here: {reason}"


class PathConflictError(BellandeMeshError):
    """A file and a folder want the same name. Nothing was written for the key."""

    code = "path_conflict"
    template = "{path!r}: {reason}"


def relative_segments(key: str, prefix: str) -> list[str]:
    """The way from the folder to the file of `key`; UnsafePathError if it could lead elsewhere.

    Keys are checked where they are written; this checks again, for what comes over the network
    decides here where bytes go on this disk.
    """
    base = prefix.rstrip("/") + "/" if prefix else ""
    if not key.startswith(base):
        raise UnsafePathError(path=key, reason=f"it is not below {prefix!r}")
    segments = key[len(base) :].split("/")
    for segment in segments:
        if segment in ("", ".", ".."):
            raise UnsafePathError(path=key, reason=f"it holds the segment {segment!r}")
        if "\0" in segment or os.sep in segment or (os.altsep and os.altsep in segment):
            raise UnsafePathError(path=key, reason="it holds a character that cannot be in a file name")
        if os.name == "nt" and any(character in segment for character in '\\:*?"<>|'):
            raise UnsafePathError(path=key, reason="it holds a character that cannot be in a file name")
    return segments


class Landing:
    """A folder that files are written below. Symbolic links below it are never followed."""

    def __init__(self, root: str) -> None:
        os.makedirs(root, exist_ok=True)
        # The root itself may be a link: the person named it.
        self._root_fd = os.open(root, _FOLDER_FLAGS)

    def __enter__(self) -> Landing:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root_fd)

    @contextlib.contextmanager
    def file(self, segments: list[str]) -> Iterator[BinaryIO]:
        """A new file that takes the name when the block ends, and vanishes if the block fails.

        Raises:
            PathConflictError: a file, a folder or a link stands where the other kind is needed.
        """
        folder_fd = self._open_folder(segments[:-1])
        try:
            _refuse_folder(segments, folder_fd)
            with _new_file(segments[-1], folder_fd) as file:
                yield file
        finally:
            os.close(folder_fd)

    def _open_folder(self, segments: list[str]) -> int:
        fd = os.dup(self._root_fd)
        for index, segment in enumerate(segments):
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(segment, dir_fd=fd)
                inner = os.open(segment, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
            except NotADirectoryError:
                path = "/".join(segments[: index + 1])
                # O_NOFOLLOW with O_DIRECTORY gives this for links too.
                raise PathConflictError(path=path, reason=_what_stands_there(segment, fd)) from None
            finally:
                os.close(fd)
            fd = inner
        return fd


@contextlib.contextmanager
def _new_file(name: str, folder_fd: int) -> Iterator[BinaryIO]:
    temporary = f".bms-{secrets.token_hex(8)}.part"
    fd = os.open(temporary, _NEW_FILE_FLAGS, mode=0o666, dir_fd=folder_fd)
    try:
        with open(fd, "wb") as file:
            yield file
        os.rename(temporary, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd)
    except BaseException:
        # Also when the process is asked to stop.
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=folder_fd)
        raise


def _refuse_folder(segments: list[str], folder_fd: int) -> None:
    """Before a whole value is fetched for nothing."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(segments[-1], dir_fd=folder_fd, follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            raise PathConflictError(
                path="/".join(segments), reason="there is a folder of this name, so it cannot be a file"
            )


def _what_stands_there(name: str, folder_fd: int) -> str:
    mode = os.stat(name, dir_fd=folder_fd, follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, which is not followed"
    return "there is a file of this name, so it cannot be a folder"
