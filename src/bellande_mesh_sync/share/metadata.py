"""A file's mode and time, kept as parameters of the value's content type.

`text/plain; charset=utf-8; bms-mode=755; bms-mtime=1764000000.123456789`

They travel with the value, in one write. Whoever does not know them ignores them, as RFC 9110 asks of
readers of media types; a value without them (from `bms put` or `bms import`) is a plain file of mode 644.
Only whether a file is executable is taken over, as git does it: a peer must not be able to hand out
set-uid bits, or to make somebody's private file readable by all.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

CONTENT_TYPE_MAX: Final = 255
FOLDER_TYPE: Final = "application/x-bms-folder"

_MODE = re.compile(r";\s*bms-mode=([0-7]{3,4})(?=;|\s|$)")
_MTIME = re.compile(r";\s*bms-mtime=(-?\d{1,11})\.(\d{9})(?=;|\s|$)")


class Metadata(NamedTuple):
    executable: bool = False
    mtime_ns: int | None = None


def with_metadata(content_type: str, metadata: Metadata) -> str:
    """The content type that carries the metadata; if that would be too long, the plain one is shortened."""
    tail = "; bms-mode=755" if metadata.executable else ""
    if metadata.mtime_ns is not None:
        seconds, rest = divmod(metadata.mtime_ns, 10**9)
        tail += f"; bms-mtime={seconds}.{rest:09}"
    if len(content_type) + len(tail) > CONTENT_TYPE_MAX:
        content_type = "application/octet-stream"
    return content_type + tail


def metadata_of(content_type: str) -> Metadata:
    """What a content type tells; anything odd in it counts as not told."""
    mode, mtime = _MODE.search(content_type), _MTIME.search(content_type)
    return Metadata(
        executable=mode is not None and bool(int(mode[1], 8) & 0o100),
        mtime_ns=int(mtime[1]) * 10**9 + int(mtime[2]) if mtime else None,
    )
