"""Questions to owners: what a node that does not hold a shard asks those that do, and what it makes of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from msgspec import Struct

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import joined
from bellande_mesh_sync.core.messages import ReadAnswer, ReadWant, ScanAnswer, ScanWant
from bellande_mesh_sync.core.placement.placement import PlacedSpace
from bellande_mesh_sync.core.placement.shards import placed_shard
from bellande_mesh_sync.ids import NodeId, Shard


class KeyFound(Struct, frozen=True, gc=False):
    """What is held under a key, by whoever was asked."""

    siblings: tuple[Record, ...]
    is_sure: bool
    """An owner that lacks nothing has answered, or all of them have. Else there may be more elsewhere."""
    holders: tuple[NodeId, ...]
    """Other nodes that have all of it, with the chunks; those that have some of it, if nobody has all."""
    is_all_there: bool
    """Whether `holders` have all of it."""


class ScanFound(Struct, frozen=True, gc=False):
    """A page of a listing, put together from the owners' pages."""

    entries: tuple[tuple[str, tuple[Record, ...]], ...]
    cursor: str
    is_sure: bool
    damaged: tuple[str, ...]


class Question(ABC):
    """Something to be asked of the owners of several shards; each item is asked by itself."""

    def __init__(self, request: int, until_ns: int, shards: Sequence[Shard]) -> None:
        self.request = request
        self.until_ns = until_ns
        self.shards = tuple(shards)
        """The shard of each item."""

    @abstractmethod
    def want(self, number: int, items: Sequence[int]) -> ReadWant | ScanWant:
        """The message that asks for these items."""

    @abstractmethod
    def result(self, is_sure: Sequence[bool]) -> object:
        """The answer, given for which items an owner that knows has answered."""


class KeyQuestion(Question):
    """What is held under these keys?"""

    def __init__(self, request: int, until_ns: int, keys: Sequence[str], shards: Sequence[Shard]) -> None:
        super().__init__(request, until_ns, shards)
        self._keys = tuple(keys)
        self._found: list[list[tuple[Record, ...]]] = [[] for _ in keys]
        self._holders: list[dict[NodeId, tuple[Record, ...]]] = [{} for _ in keys]

    def want(self, number: int, items: Sequence[int]) -> ReadWant:
        return ReadWant(number, tuple(self._keys[item] for item in items))

    def add_own(self, item: int, siblings: tuple[Record, ...]) -> None:
        self._found[item].append(siblings)

    def add(self, peer: NodeId, items: Sequence[int], answer: ReadAnswer) -> None:
        for item, siblings in zip(items, answer.found, strict=False):
            held = tuple(record for record in siblings if record.key == self._keys[item])
            if held:
                self._found[item].append(held)
                self._holders[item][peer] = held

    def result(self, is_sure: Sequence[bool]) -> tuple[KeyFound, ...]:
        return tuple(
            _key_found(found, holders, is_sure=sure)
            for found, sure, holders in zip(self._found, is_sure, self._holders, strict=True)
        )


def _key_found(
    found: Sequence[tuple[Record, ...]], holders: dict[NodeId, tuple[Record, ...]], *, is_sure: bool
) -> KeyFound:
    siblings = joined(found)
    dots = {record.dot for record in siblings}
    having = [node for node, held in holders.items() if dots <= {record.dot for record in held}]
    return KeyFound(siblings, is_sure, tuple(having or holders), bool(having))


class ScanQuestion(Question):
    """Which keys of a space start with this prefix and come after that one?"""

    def __init__(
        self, request: int, until_ns: int, placed: PlacedSpace, prefix: str, after: str, limit: int
    ) -> None:
        shards = [placed_shard(placed.space, placed.shards, index) for index in range(placed.shards)]
        super().__init__(request, until_ns, shards)
        self._placed = placed
        self.prefix = prefix
        self.after = after
        self.limit = limit
        self._found: dict[str, list[list[Record]]] = {}
        self._cursors: list[str] = []
        self._damaged: set[str] = set()

    def want(self, number: int, items: Sequence[int]) -> ScanWant:
        placed = self._placed
        return ScanWant(
            number, placed.space, placed.shards, tuple(items), self.prefix, self.after, self.limit
        )  # fmt: skip

    def add(self, answer: ScanAnswer) -> None:
        """One node's page: its keys, and up to where these are all that it has."""
        by_key: dict[str, list[Record]] = {}
        for record in answer.records:
            if record.key.startswith(self.prefix) and record.key > self.after:
                by_key.setdefault(record.key, []).append(record)
        for key, records in by_key.items():
            self._found.setdefault(key, []).append(records)
        self._damaged.update(answer.damaged)
        if answer.cursor:
            self._cursors.append(answer.cursor)

    def result(self, is_sure: Sequence[bool]) -> ScanFound:
        # Beyond the first page that ends there may be keys that nobody has told yet.
        last = min(self._cursors, default="")
        keys = sorted(key for key in self._found if not last or key <= last)
        if len(keys) > self.limit:
            keys, last = keys[: self.limit], keys[self.limit - 1]
        entries = [(key, joined(self._found[key])) for key in keys]
        live = tuple(entry for entry in entries if not all(record.is_tombstone for record in entry[1]))
        damaged = tuple(sorted(key for key in self._damaged if not last or key <= last))
        return ScanFound(live, last, all(is_sure), damaged)
