"""The peer book: what must be on disk at once is, and the rest costs one sync for many."""

from __future__ import annotations

import msgspec

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.members.peer_book import PATIENCE_NS, PeerBook
from bellande_mesh_sync.ids import NodeId
from tests.core.making import at, member_of, node_of_name

PATIENCE_S = PATIENCE_NS / 1e9


class Disk:
    def __init__(self, *stored: MemberRecord) -> None:
        self.written: list[str] = []
        self.forgotten: list[NodeId] = []
        self.book = PeerBook(stored, self._remember, self.forgotten.append)

    def _remember(self, record: MemberRecord) -> None:
        self.written.append(f"{record.name} {record.incarnation}")


def test_who_is_new_or_moved_or_started_again_is_written_at_once() -> None:
    disk = Disk(member_of("bob"))
    assert disk.book.note(member_of("carol"), at()) is None
    assert disk.book.note(member_of("bob", 2, addresses=("new:1",)), at()) == member_of("bob")
    again = msgspec.structs.replace(member_of("carol", 2), boot=b"another1")
    disk.book.note(again, at())
    assert disk.written == ["carol 1", "bob 2", "carol 2"]


def test_what_else_a_known_member_says_waits_for_a_minute_and_only_the_last_of_it_is_written() -> None:
    disk = Disk(member_of("bob"), member_of("carol"))
    for incarnation in range(2, 50):
        disk.book.note(member_of("bob", incarnation), at(incarnation))
    disk.book.note(member_of("carol", 2), at(55))
    disk.book.tick(at(1 + PATIENCE_S))
    assert disk.written == []
    disk.book.tick(at(2 + PATIENCE_S))
    assert disk.written == ["bob 49", "carol 2"]
    disk.book.tick(at(9 * PATIENCE_S))
    assert len(disk.written) == 2
    assert disk.book.get(node_of_name("bob")) == member_of("bob", 49)


def test_who_is_forgotten_is_not_written_any_more() -> None:
    disk = Disk(member_of("bob"))
    disk.book.note(member_of("bob", 2), at())
    disk.book.forget(node_of_name("bob"))
    disk.book.write()
    assert disk.written == []
    assert disk.forgotten == [node_of_name("bob")]
