"""Names for members and their records: small numbers, so that a view is a few columns of them.

A node has one roster for itself, and numbers that it no longer uses are used again. In a simulator
thousands of nodes share one that only grows; it holds immutable records and no opinion of anybody.
"""

from __future__ import annotations

from array import array
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.members.member import MemberRecord, Verify, is_genuine, record_bytes
from bellande_mesh_sync.core.members.swim.messages import SleepNotice, is_genuine_notice
from bellande_mesh_sync.ids import NodeId

BUCKETS: Final = 256
"""Of a view, by the first byte of the node id."""


class Roster:
    """Member index <-> node id, record number <-> record. Only genuine records get a number."""

    def __init__(self, verify: Verify, *, is_shared: bool = False) -> None:
        self._verify = verify
        self._is_shared = is_shared
        self.nodes: list[NodeId] = []
        self.records: list[MemberRecord | None] = []
        self.sizes = array("I")
        """Bytes of each record."""
        self.marks = array("Q")
        """64 bits of a hash of each record's node and incarnation."""
        self.owners = array("I")
        """Member index of each record number."""
        self.by_bucket: list[list[int]] = [[] for _ in range(BUCKETS)]
        self._indexes: dict[NodeId, int] = {}
        self._numbers: dict[bytes, int] = {}
        """By signature."""
        self._notices: dict[int, SleepNotice] = {}
        """By the number of the record whose incarnation they are about."""
        self._free_indexes: list[int] = []
        self._free_numbers: list[int] = []

    def __len__(self) -> int:
        return len(self.nodes)

    def find(self, node: NodeId) -> int:
        """The index of a member, or -1."""
        return self._indexes.get(node, -1)

    def record(self, number: int) -> MemberRecord:
        record = self.records[number]
        assert record is not None, "a view refers to a record that was let go"
        return record

    def number_of(self, record: MemberRecord) -> int:
        """The number of a record, given now if it is new; -1 if it is not genuine."""
        number = self._numbers.get(record.signature, -1)
        if number >= 0 and self.records[number] == record:
            return number
        if not is_genuine(record, self._verify):
            return -1
        return self._take(record)

    def take_stored(self, record: MemberRecord) -> int:
        """As `number_of`, for a record that was genuine when we put it into our peer book."""
        number = self._numbers.get(record.signature, -1)
        return number if number >= 0 else self._take(record)

    def _take(self, record: MemberRecord) -> int:
        index = self._indexes.get(record.node, -1)
        if index < 0:
            index = self._new_index(record.node)
        mark = int.from_bytes(blake3(record.node + record.incarnation.to_bytes(8, "big")).digest(8), "big")
        if self._free_numbers:
            number = self._free_numbers.pop()
            self.records[number] = record
            self.sizes[number], self.marks[number], self.owners[number] = record_bytes(record), mark, index
        else:
            number = len(self.records)
            self.records.append(record)
            self.sizes.append(record_bytes(record))
            self.marks.append(mark)
            self.owners.append(index)
        self._numbers[record.signature] = number
        return number

    def _new_index(self, node: NodeId) -> int:
        if self._free_indexes:
            index = self._free_indexes.pop()
            self.nodes[index] = node
        else:
            index = len(self.nodes)
            self.nodes.append(node)
        self._indexes[node] = index
        self.by_bucket[node[0]].append(index)
        return index

    def let_go(self, number: int) -> None:
        """The one view of a roster that is not shared has replaced this record."""
        if self._is_shared:
            return
        record = self.record(number)
        del self._numbers[record.signature]
        self._notices.pop(number, None)
        self.records[number] = None
        self._free_numbers.append(number)

    def forget(self, index: int) -> None:
        """The one view of a roster that is not shared has forgotten this member and let its record go."""
        if self._is_shared:
            return
        node = self.nodes[index]
        del self._indexes[node]
        self.by_bucket[node[0]].remove(index)
        self._free_indexes.append(index)

    # -- sleep notices

    def take_notice(self, number: int, notice: SleepNotice) -> bool:
        """Keep it beside the record that it is about; False if it is not genuine."""
        if self._notices.get(number) == notice:
            return True
        if not is_genuine_notice(notice, self.record(number).public_key, self._verify):
            return False
        self._notices[number] = notice
        return True

    def notice(self, number: int) -> SleepNotice | None:
        return self._notices.get(number)
