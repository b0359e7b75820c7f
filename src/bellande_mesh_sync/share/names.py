"""Names below a shared folder: which are ours, which are conflict copies, which key a path has."""

from __future__ import annotations

import re
import time
import unicodedata
from typing import Final

IDENTITY_FILE: Final = ".bms-share"
"""In the folder's root: which share this is. Without it the folder is not the one we know."""
IGNORE_FILE: Final = ".bmsignore"
FOLDER_MARK: Final = ".bms-folder"
"""The last segment of the key that stands for an empty folder."""

_PART = re.compile(r"\.bms-[0-9a-f]{16}\.part")
_NODE_BYTES_MAX = 40
_EXTENSION_BYTES_MAX = 40
_NAME_BYTES_MAX = 255
_COPY = re.compile(r" \(conflict [^()/]{1,40} \d{4}-\d\d-\d\d \d{6}(?: \d{1,13})?\)(?:\.[^./]*)?$")


def part_name(token: str) -> str:
    """A temporary file's name; `token` is 16 hex digits."""
    return f".bms-{token}.part"


def is_own(name: str) -> bool:
    """Whether a file of this name is the share's own business, and never shared."""
    return name in (IDENTITY_FILE, FOLDER_MARK) or is_part(name) or is_conflict_copy(name)


def is_part(name: str) -> bool:
    """Whether it is a temporary file's."""
    return _PART.fullmatch(name) is not None


def is_conflict_copy(name: str) -> bool:
    return _COPY.search(name) is not None


def copy_path(path: str, node: str, time_ms: int, sequence: int = 0) -> str:
    """Where a losing version of `path` is shown: `name (conflict NODE DATE TIME).ext`, in UTC.

    Every node gives it the same name. `sequence` (the version's number) tells two apart that would
    have one name.
    """
    folder, _, name = path.rpartition("/")
    stem, dot, extension = name.rpartition(".")
    if not stem or len(extension.encode()) > _EXTENSION_BYTES_MAX:  # `README`, `.profile`
        stem, dot, extension = name, "", ""
    plain = _cut("".join(c if c.isalnum() or c in "-_." else "-" for c in node), _NODE_BYTES_MAX)
    date = time.strftime("%Y-%m-%d %H%M%S", time.gmtime(time_ms / 1000))
    tail = f" (conflict {plain or 'unknown'} {date}{f' {sequence}' if sequence else ''}){dot}{extension}"
    stem = _cut(stem, _NAME_BYTES_MAX - len(tail.encode()))
    return f"{folder}/{stem}{tail}" if folder else stem + tail


def nfc(name: str) -> str:
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _cut(text: str, bytes_max: int) -> str:
    return text.encode()[: max(bytes_max, 1)].decode(errors="ignore")


def mark_of(folder: str) -> str:
    """The path that stands for an empty folder."""
    return f"{folder}/{FOLDER_MARK}"


def folder_of_mark(path: str) -> str:
    """The empty folder that a path stands for; "" if it is a file's."""
    folder, _, name = path.rpartition("/")
    return folder if name == FOLDER_MARK else ""
