"""`counter`, `set`, `map`: a record holds entries, a reader gets JSON, and siblings join entry by entry."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, ClassVar, Final

from bellande_mesh_sync.core.data.dotted import Entry, Part, pack, part_of, survivors, unpack
from bellande_mesh_sync.core.data.json_values import canonical, parse_json
from bellande_mesh_sync.core.data.policy import (
    Merging,
    Misfit,
    Origin,
    Shown,
    as_shown,
    newest_of,
    version_of,
)
from bellande_mesh_sync.core.data.record import INLINE_BYTES_MAX, Record
from bellande_mesh_sync.core.events import Write

JSON_TYPE: Final = "application/json"
NUMBER_MAX: Final = 10**18
"""What one write may add or set; counters themselves have no bound."""
_INTEGER: Final = re.compile(rb"[ \t\r\n]*(-?(?:0|[1-9][0-9]{0,18}))[ \t\r\n]*")
_AMOUNT: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,99})")


class Stateful(Merging, ABC):
    """What the three have in common."""

    is_stateful = True
    content_type: ClassVar[str]
    """Of records, so that a plain value under the same key is told from entries."""

    def shown(self, siblings: Sequence[Record], wall_ms: int) -> Shown | None:
        fitting = self._fitting(siblings)
        newest = newest_of([record for record, _ in fitting]) or newest_of(siblings)
        if newest is None:
            return None
        if not fitting:
            return Shown(newest, newest.version)
        data = self.text(survivors(self._parts(fitting, siblings)))
        return Shown(as_shown(newest, JSON_TYPE, data), version_of(newest, siblings))

    def relevant(self, siblings: Sequence[Record]) -> Sequence[Record]:
        values = [record for record, _ in self._fitting(siblings)]
        return values + [record for record in siblings if record.is_tombstone]

    def stored(self, write: Write, seen: Sequence[Record], origin: Origin) -> tuple[str, bytes]:
        fitting = self._fitting(seen)
        before = survivors(self._parts(fitting, seen)) if fitting else []
        data = pack(self.changed(before, write, origin))
        if len(data) > INLINE_BYTES_MAX:
            raise Misfit(f"with what it keeps of its writers it takes {len(data)} bytes; "
                         f"{INLINE_BYTES_MAX} are the most that is merged")  # fmt: skip
        return self.content_type, data

    def _fitting(self, siblings: Sequence[Record]) -> list[tuple[Record, list[Entry]]]:
        """The siblings that have a meaning here, with their entries. Others came from nodes that are
        configured differently: they are kept, and passed over as long as there is one that fits."""
        found: list[tuple[Record, list[Entry]]] = []
        for record in siblings:
            if record.inline is None or record.is_tombstone:
                continue
            try:
                found.append((record, self._entries_of(record)))
            except ValueError:
                continue
        return found

    def _entries_of(self, record: Record) -> list[Entry]:
        assert record.inline is not None, "only inline values are asked for"
        if record.content_type != self.content_type:
            # A plain value of the right kind, from before the space had its policy: as if just written.
            origin = Origin(record.author, record.sequence, record.stamp)
            return list(self.entries(record.inline, origin))
        entries = unpack(record.inline)
        for entry in entries:
            self.check_entry(entry)
        return entries

    def _parts(self, fitting: Sequence[tuple[Record, list[Entry]]], siblings: Sequence[Record]) -> list[Part]:
        parts = [part_of(record, entries) for record, entries in fitting]
        return parts + [part_of(record, ()) for record in siblings if record.is_tombstone]

    # -- what differs

    @abstractmethod
    def entries(self, data: bytes, origin: Origin) -> Iterable[Entry]:
        """The entries of a plain value that this write brings; ValueError if it has no meaning here."""

    @abstractmethod
    def check_entry(self, entry: Entry) -> None:
        """ValueError for an entry that `entries` and `changed` cannot have made."""

    @abstractmethod
    def changed(self, before: list[Entry], write: Write, origin: Origin) -> list[Entry]:
        """The entries after a write by somebody who saw those before."""

    @abstractmethod
    def text(self, entries: list[Entry]) -> bytes:
        """What a reader gets."""


class Counter(Stateful):
    """A whole number that many nodes add to. Each author has one entry: the sum of what it added."""

    content_type = "application/vnd.bellande.counter"
    takes_context = False
    takes_add = True

    def check(self, write: Write) -> None:
        if write.add is not None:
            if abs(write.add) > NUMBER_MAX:
                raise Misfit("a counter takes a whole number up to 10**18")
            return
        super().check(write)
        _integer(write.inline or b"")

    def entries(self, data: bytes, origin: Origin) -> Iterable[Entry]:
        try:
            return [self._entry(_integer(data), origin)]
        except Misfit as error:
            raise ValueError(str(error)) from None

    def check_entry(self, entry: Entry) -> None:
        if entry.name or entry.stamp or not _AMOUNT.fullmatch(entry.value):
            raise ValueError("no entry of a counter")

    def changed(self, before: list[Entry], write: Write, origin: Origin) -> list[Entry]:
        amount = write.add
        if amount is None:
            amount = _integer(write.inline or b"") - _total(before)
        own = [entry for entry in before if entry.author == origin.author]
        others = [entry for entry in before if entry.author != origin.author]
        return [*others, self._entry(_total(own) + amount, origin)]

    def text(self, entries: list[Entry]) -> bytes:
        return b"%d" % _total(entries)

    @staticmethod
    def _entry(amount: int, origin: Origin) -> Entry:
        return Entry(b"", 0, origin.author, origin.sequence, b"%d" % amount)


def _total(entries: Iterable[Entry]) -> int:
    return sum(int(entry.value) for entry in entries)


def _integer(data: bytes) -> int:
    match = _INTEGER.fullmatch(data)
    if match is None or abs(int(match[1])) > NUMBER_MAX:
        raise Misfit("a counter takes a whole number up to 10**18")
    return int(match[1])


class Keyed(Stateful):
    """What `set` and `map` share: entries by name, and a write keeps those that it does not change."""

    def check(self, write: Write) -> None:
        super().check(write)
        try:
            self.wanted(write.inline or b"")
        except ValueError as error:
            raise Misfit(str(error)) from None

    @abstractmethod
    def wanted(self, data: bytes) -> dict[bytes, bytes]:
        """Names and values in a plain value; ValueError if it has no meaning here."""

    @abstractmethod
    def stamp(self, origin: Origin) -> int: ...

    def entries(self, data: bytes, origin: Origin) -> Iterable[Entry]:
        return [self._entry(name, value, origin) for name, value in self.wanted(data).items()]

    def changed(self, before: list[Entry], write: Write, origin: Origin) -> list[Entry]:
        found: list[Entry] = []
        held = {name: list(group) for name, group in groupby(before, key=lambda entry: entry.name)}
        for name, value in self.wanted(write.inline or b"").items():
            present = held.get(name, [])
            is_kept = bool(present) and present[-1].value == value
            # Older ones are kept too: a writer that knew only the last may take that out meanwhile.
            found += present if is_kept else [self._entry(name, value, origin)]
        return found

    def _entry(self, name: bytes, value: bytes, origin: Origin) -> Entry:
        return Entry(name, self.stamp(origin), origin.author, origin.sequence, value)


class Set(Keyed):
    """A JSON array without order and doubles."""

    content_type = "application/vnd.bellande.set"

    def wanted(self, data: bytes) -> dict[bytes, bytes]:
        value = parse_json(data)
        if not isinstance(value, list):
            raise ValueError("a set takes a JSON array")
        return {canonical(element): b"" for element in value}

    def stamp(self, origin: Origin) -> int:
        return 0

    def check_entry(self, entry: Entry) -> None:
        if entry.stamp or entry.value or canonical(parse_json(entry.name)) != entry.name:
            raise ValueError("no entry of a set")

    def text(self, entries: list[Entry]) -> bytes:
        return b"[%b]" % b",".join(dict.fromkeys(entry.name for entry in entries))


class Map(Keyed):
    """A JSON object whose fields change by themselves: of each the last write stands."""

    content_type = "application/vnd.bellande.map"

    def wanted(self, data: bytes) -> dict[bytes, bytes]:
        value: Any = parse_json(data)
        if not isinstance(value, dict):
            raise ValueError("a map takes a JSON object")
        return {canonical(field): canonical(each) for field, each in value.items()}

    def stamp(self, origin: Origin) -> int:
        return origin.stamp

    def check_entry(self, entry: Entry) -> None:
        field = parse_json(entry.name)
        if not isinstance(field, str) or canonical(field) != entry.name:
            raise ValueError("no entry of a map")
        if canonical(parse_json(entry.value)) != entry.value:
            raise ValueError("no entry of a map")

    def text(self, entries: list[Entry]) -> bytes:
        last = {entry.name: entry.value for entry in entries}  # They are sorted by age.
        return b"{%b}" % b",".join(b"%b:%b" % pair for pair in last.items())
