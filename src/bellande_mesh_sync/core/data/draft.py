"""A batch in the making: everything one event wants to have on disk, together or not at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from bellande_mesh_sync.core.data.history import HistoryPolicy, OldVersion, old_version
from bellande_mesh_sync.core.data.knowledge import Delta, Ranges
from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard, Stamp

FINGERPRINT_MODULUS = 1 << 256


class Draft:
    __slots__ = ("_drops", "_history", "_intervals", "_puts", "collected", "credits", "emptied", "epoch",
                 "expired_ms", "fingerprints", "forgotten", "healed", "members", "ranges", "records",
                 "relearned", "released", "requests", "set_aside", "size_bytes", "statements", "streams",
                 "syncs_chunks", "unlearned", "withdrawn", "written")  # fmt: skip

    def __init__(self) -> None:
        self._puts: dict[tuple[Shard, Author, int], Record] = {}
        self._drops: list[tuple[Shard, str, Dot]] = []
        self._intervals: list[IntervalChange] = []
        self._history: list[OldVersion] = []
        self.expired_ms = 0
        """Old versions that expired by this wall clock may go; 0: it was not looked at."""
        self.members: list[MemberRecord] = []
        self.forgotten: list[NodeId] = []
        self.fingerprints: defaultdict[Shard, int] = defaultdict(int)
        self.records: list[Record] = []
        """Every record that is new with this batch, in order, also those replaced within it."""
        self.written: dict[Shard, list[Record]] = {}
        """Those of `records` that this node wrote itself."""
        self.ranges: list[tuple[Shard, Author, int, int]] = []
        """The dots this batch makes known."""
        self.credits: defaultdict[int, int] = defaultdict(int)
        """Bytes to give back to each link once this is durable."""
        self.streams: defaultdict[int, int] = defaultdict(int)
        """How many records of each asked-for stream are in here."""
        self.requests: list[int] = []
        """The callers whose writes are in here."""
        self.set_aside: list[DamagedRecord] = []
        self.withdrawn: list[Record] = []
        """Sound records among those set aside."""
        self.unlearned: list[tuple[Shard, Delta]] = []
        """Dots that are no longer known once this is durable, before those of `ranges` are."""
        self.relearned: list[tuple[Shard, Author, Ranges]] = []
        self.healed: list[tuple[Shard, Dot]] = []
        """Damaged dots that have come back, or were replaced, with this batch."""
        self.released: list[tuple[Shard, Delta, list[str]]] = []
        """What was handed over and is held here no more: shard, all that was known of it, its keys."""
        self.statements: list[Judged] = []
        self.collected: dict[tuple[Shard, Author], int] = {}
        """Up to which numbers tombstones are dropped with this batch."""
        self.emptied: list[str] = []
        """Keys from which something was taken that nothing of this batch replaces."""
        self.epoch = b""
        self.syncs_chunks = False
        """There are chunks that no record of this batch brings along, and that must be durable."""
        self.size_bytes = 0

    def put(self, shard: Shard, record: Record) -> None:
        self._puts[shard, record.author, record.sequence] = record
        self.records.append(record)
        self.fingerprints[shard] += fingerprint_of(record)

    def drop(self, shard: Shard, record: Record) -> None:
        if self._puts.pop((shard, record.author, record.sequence), None) is None:
            self._drops.append((shard, record.key, record.dot))
        self.fingerprints[shard] -= fingerprint_of(record)

    def let_go(self, shard: Shard, rows: Sequence[tuple[str, Dot]], fingerprint: int) -> None:
        """Drop all live records of a shard, which add up to this fingerprint."""
        self._drops += [(shard, key, dot) for key, dot in rows]
        self.fingerprints[shard] -= fingerprint

    def withdraw(self, shard: Shard, record: Record) -> None:
        """Take a sound record out of its place; its key is not damaged by that."""
        self.set_aside.append(DamagedRecord(shard, record.dot, record.key))
        self.healed.append((shard, record.dot))
        self.withdrawn.append(record)
        self.fingerprints[shard] -= fingerprint_of(record)

    def keep(self, shard: Shard, replaced: Record, until: Stamp, policy: HistoryPolicy, wall_ms: int) -> None:
        """Put a replaced version into the history of its key."""
        self._history.append(old_version(shard, replaced, until, policy))
        if policy.for_ms:
            self.expired_ms = wall_ms

    def claim(self, shard: Shard, author: Author, low: int, high: int, row: tuple[int, int],
              absorbed: list[int]) -> None:  # fmt: skip
        self.ranges.append((shard, author, low, high))
        self._intervals.append(IntervalChange(shard, author, row[0], row[1], tuple(absorbed)))

    def remember(self, member: MemberRecord) -> None:
        self.members.append(member)

    def forget(self, node: NodeId) -> None:
        self.members = [member for member in self.members if member.node != node]
        self.forgotten.append(node)

    def is_empty(self) -> bool:
        has_members = self.members or self.forgotten
        has_records = self._puts or self._drops or self._intervals or self._history or self.expired_ms
        is_mending = self.set_aside or self.unlearned or self.healed or self.syncs_chunks
        is_agreed = self.collected or self.statements
        return not (has_records or has_members or self.epoch or is_mending or is_agreed or self.released)

    def batch(self, clock: int) -> Batch:
        return Batch(
            puts=tuple([(key[0], record) for key, record in self._puts.items()]),
            drops=tuple(self._drops),
            intervals=tuple(self._intervals),
            fingerprints=tuple(
                (shard, amount % FINGERPRINT_MODULUS) for shard, amount in self.fingerprints.items() if amount
            ),
            members=tuple(self.members),
            forgotten=tuple(self.forgotten),
            epoch=self.epoch,
            clock=clock,
            history=tuple(self._history),
            expired_ms=self.expired_ms,
            set_aside=tuple(self.set_aside),
            relearned=tuple(self.relearned),
            healed=tuple(self.healed),
            statements=tuple(self.statements),
            collected=tuple((*log, number) for log, number in self.collected.items()),
        )
