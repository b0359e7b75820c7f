"""Key paths: what a key may look like, and which space and shard it belongs to."""

from __future__ import annotations

import unicodedata

from bellande_mesh_sync.errors import InvalidKeyError
from bellande_mesh_sync.ids import Shard

KEY_BYTES_MAX = 1024


def check_key(key: str) -> str:
    """Return `key` unchanged if it is a valid key path, else raise InvalidKeyError saying why.

    A key is 1 to 1024 bytes of UTF-8 in NFC; segments are split by `/`; none is empty, `.` or `..`;
    no control characters. Cost: O(length).
    """
    reason = _why_invalid(key)
    if reason:
        raise InvalidKeyError(key=key, reason=reason)
    return key


def check_prefix(prefix: str) -> str:
    """Like `check_key` for the start of a key: it may be empty and may end within a segment or in `/`."""
    if prefix:
        reason = _why_invalid(prefix.removesuffix("/") or "/")
        if reason:
            raise InvalidKeyError(key=prefix, reason=reason)
    return prefix


def space_of(key: str) -> str:
    """The first segment."""
    return key.partition("/")[0]


def shard_of(key: str) -> Shard:
    """The shard that numbers the writes to `key`. A fully replicated space is one shard."""
    return Shard(space_of(key) + "/0")


def _why_invalid(key: str) -> str:
    if not isinstance(key, str):
        return f"a key is text, not {type(key).__name__}"
    if not key:
        return "it is empty"
    if key.isascii():
        # Nearly every key: printable ASCII is NFC as it stands.
        if not key.isprintable():
            return "it holds a control character"
        size = len(key)
    else:
        try:
            size = len(key.encode())
        except UnicodeEncodeError:
            return "it is not valid UTF-8"
        if not unicodedata.is_normalized("NFC", key):
            return "it is not in Unicode form NFC"
        if any(unicodedata.category(character) == "Cc" for character in key):
            return "it holds a control character"
    if size > KEY_BYTES_MAX:
        return f"it has {size} bytes; {KEY_BYTES_MAX} are allowed"
    segments = key.split("/")
    if "" in segments:
        return "a segment is empty (a leading, trailing or doubled '/')"
    if "." in segments or ".." in segments:
        return "a segment is '.' or '..'"
    return ""
