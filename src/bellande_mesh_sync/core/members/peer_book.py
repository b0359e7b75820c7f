"""The peer book: member records on disk, so that a mesh whose every node was off finds together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.ids import NodeId, Now

PATIENCE_NS = 60_000_000_000
"""How long news of a known member may wait. Each costs a sync of its own else: in a mesh of thousands that
would be one a second and more, for what any peer tells again."""


class PeerBook:
    """As last put on disk, and what waits to be. Who is new, started again or moved does not wait."""

    def __init__(
        self, stored: Iterable[MemberRecord], remember: Callable[[MemberRecord], None],
        forget: Callable[[NodeId], None],
    ) -> None:  # fmt: skip
        self._remember = remember
        self._forget = forget
        self._records = {record.node: record for record in stored}
        self._waiting: dict[NodeId, None] = {}
        self._due_ns = 0

    def get(self, node: NodeId) -> MemberRecord | None:
        return self._records.get(node)

    def note(self, record: MemberRecord, now: Now) -> MemberRecord | None:
        """Keep this record; the one before."""
        before = self._records.get(record.node)
        self._records[record.node] = record
        if before is None or (before.addresses, before.boot) != (record.addresses, record.boot):
            self._waiting.pop(record.node, None)
            self._remember(record)
        else:
            self._due_ns = self._due_ns if self._waiting else now.mono_ns + PATIENCE_NS
            self._waiting[record.node] = None
        return before

    def forget(self, node: NodeId) -> None:
        self._records.pop(node, None)
        self._waiting.pop(node, None)
        self._forget(node)

    def tick(self, now: Now) -> None:
        if self._waiting and now.mono_ns >= self._due_ns:
            self.write()

    def write(self) -> None:
        """Put on disk what waits."""
        for node in self._waiting:
            self._remember(self._records[node])
        self._waiting.clear()
