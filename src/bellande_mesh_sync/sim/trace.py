"""What happened, in order: a digest of all of it, and the last part in words."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.effects import Batch, Commit, Effect, Send
from bellande_mesh_sync.core.events import Event, Examined, Received
from bellande_mesh_sync.sim.world import SECOND_NS

KEPT_COUNT: Final = 3000
_LINE_CHARACTERS_MAX: Final = 400
_BUFFER_BYTES: Final = 64 * 1024
_encode = msgspec.msgpack.Encoder().encode


class Trace:
    """Every event and effect of a run. Two runs of a seed are equal when their digests are.

    One entry is one turn of a core: what it was told, and what it wanted done. Messages count for the digest
    as the bytes that went on the wire (`frames`), once for all peers they went to. The turns are kept as they
    are and put into words only when somebody wants to read them.
    """

    def __init__(self, echo: Callable[[str], None] | None = None) -> None:
        self._hasher = blake3()
        self._buffer = bytearray()
        self._kept: deque[tuple[int, str, Event | str | None, Sequence[Effect]]] = deque(maxlen=KEPT_COUNT)
        self._echo = echo
        self.count = 0
        """Events and effects so far."""

    def turn(self, at_ns: int, place: str, event: Event | None, effects: Sequence[Effect]) -> None:
        """`event` came to the core at `place` (None: it started), and these effects were done."""
        self.count += (event is not None) + len(effects)
        told = (event.link, event.size_bytes) if type(event) is Received else event
        name = type(event).__name__
        wanted = [effect.link if type(effect) is Send else effect for effect in effects]
        try:
            self._buffer += _encode((at_ns, place, name, told, wanted))
        except OverflowError:
            encodable = [_encodable(effect) for effect in wanted]
            self._buffer += _encode((at_ns, place, name, _encodable(told), encodable))
        self._kept.append((at_ns, place, event, effects))
        if self._echo is not None or len(self._buffer) > _BUFFER_BYTES:
            self._pass_on()

    def note(self, at_ns: int, place: str, text: str) -> None:
        """Something befell `place`: a fault, a start, an end."""
        self.count += 1
        self._buffer += _encode((at_ns, place, text))
        self._kept.append((at_ns, place, text, ()))
        self._pass_on()

    def frames(self, frames: bytes) -> None:
        """These bytes went out."""
        self._buffer += frames

    def _pass_on(self) -> None:
        """The newest entry to who listens, and what has piled up to the digest."""
        if len(self._buffer) > _BUFFER_BYTES:
            self._hasher.update(self._buffer)
            self._buffer.clear()
        if self._echo is not None:
            for line in _lines(self._kept[-1]):
                self._echo(_cut(line))

    def digest(self) -> str:
        self._hasher.update(self._buffer)
        self._buffer.clear()
        return self._hasher.hexdigest()

    def tail(self, count: int, *, place: str = "", about: str = "") -> list[str]:
        """The last `count` lines: of one place, with `about` in them, or of all."""
        lines: deque[str] = deque()
        for entry in reversed(self._kept):
            if place and entry[1] != place:
                continue
            of_entry = [line for line in _lines(entry) if not about or about in line]
            lines.extendleft(reversed(of_entry))
            if len(lines) >= count:
                break
        return [_cut(line) for line in list(lines)[-count:]]


def _encodable(item: Any) -> Any:
    """MessagePack has no integers above 64 bits; fingerprints have 256."""
    if type(item) is Commit:
        batch = item.batch
        return (item.commit, msgspec.structs.replace(batch, fingerprints=()), _hex_fingerprints(batch))
    if type(item) is Examined and item.found is not None:
        found = item.found
        sums = (f"{found.fingerprint:x}", f"{found.fingerprint_stored:x}")
        return (msgspec.structs.replace(found, fingerprint=0, fingerprint_stored=0), sums)
    return item


def _hex_fingerprints(batch: Batch) -> list[tuple[str, str]]:
    return [(shard, f"{amount:x}") for shard, amount in batch.fingerprints]


def _lines(entry: tuple[int, str, Event | str | None, Sequence[Effect]]) -> Iterator[str]:
    """Marked "<" for what came in, ">" for what went out, "!" for what befell."""
    at_ns, place, event, effects = entry
    if isinstance(event, str):
        yield _line(at_ns, place, "!", event)
    elif event is not None:
        yield _line(at_ns, place, "<", in_words(event))
    for effect in effects:
        yield _line(at_ns, place, ">", in_words(effect))


def _line(at_ns: int, place: str, mark: str, text: str) -> str:
    return f"{at_ns / SECOND_NS:12.6f} {place:>4} {mark} {text}"


def _cut(line: str) -> str:
    return line if len(line) <= _LINE_CHARACTERS_MAX else line[:_LINE_CHARACTERS_MAX] + "..."


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
