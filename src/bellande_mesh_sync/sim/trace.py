"""What happened, in order: a digest of all of it, and the last part in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.effects import Batch, Commit
from bellande_mesh_sync.sim.world import SECOND_NS

KEPT_COUNT: Final = 3000
_LINE_CHARACTERS_MAX: Final = 400
_encode = msgspec.msgpack.Encoder().encode


class Trace:
    """Every event and effect of a run. Two runs of a seed are equal when their digests are.

    The items are kept as they are and put into words only when somebody wants to read them.
    """

    def __init__(self, echo: Callable[[str], None] | None = None) -> None:
        self._hasher = blake3()
        self._kept: deque[tuple[int, str, str, Any]] = deque(maxlen=KEPT_COUNT)
        self._echo = echo
        self.count = 0

    def add(self, at_ns: int, place: str, mark: str, item: Any) -> None:
        """Remember that `item` came to (`mark` "<") or out of (">") `place`, or befell it ("!")."""
        self.count += 1
        self._hasher.update(_encode((at_ns, place, mark, type(item).__name__, _encodable(item))))
        entry = (at_ns, place, mark, item)
        self._kept.append(entry)
        if self._echo is not None:
            self._echo(_line(entry))

    def digest(self) -> str:
        return self._hasher.hexdigest()

    def tail(self, count: int, place: str = "") -> list[str]:
        """The last `count` lines, of one place or of all."""
        chosen = [entry for entry in self._kept if not place or entry[1] == place]
        return [_line(entry) for entry in chosen[-count:]]


def _encodable(item: Any) -> Any:
    """MessagePack has no integers above 64 bits; fingerprints have 256."""
    if type(item) is Commit:
        batch = item.batch
        return (item.commit, msgspec.structs.replace(batch, fingerprints=()), _hex_fingerprints(batch))
    return item


def _hex_fingerprints(batch: Batch) -> list[tuple[str, str]]:
    return [(shard, f"{amount:x}") for shard, amount in batch.fingerprints]


def _line(entry: tuple[int, str, str, Any]) -> str:
    at_ns, place, mark, item = entry
    text = item if isinstance(item, str) else in_words(item)
    if len(text) > _LINE_CHARACTERS_MAX:
        text = text[:_LINE_CHARACTERS_MAX] + "..."
    return f"{at_ns / SECOND_NS:12.6f} {place:>4} {mark} {text}"


def in_words(item: Any) -> str:
    """`item` on one line, ids shortened to what tells them apart, empty fields left out."""
    if isinstance(item, bytes):
        return f"{item[:4].hex()}~{item[32:36].hex()}" if len(item) == 40 else item[:4].hex() or "-"
    if isinstance(item, msgspec.Struct):
        fields = ((name, getattr(item, name)) for name in item.__struct_fields__)
        inside = ", ".join(
            f"{name}={in_words(value)}" for name, value in fields if value not in (None, b"", (), "")
        )
        return f"{type(item).__name__}({inside})"
    if isinstance(item, tuple | list):
        return f"({' '.join(in_words(part) for part in item)})"
    if isinstance(item, int) and item > 1 << 64:
        return f"{item:x}"[:8]
    return str(item)
