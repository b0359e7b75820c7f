"""Replicas that exchange records in any order hold the same in the end."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bellande_mesh_sync.core.data.context import Context, covers
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.ids import Dot
from tests.core.making import SHARD, Disk, deletion, write

NAMES = ("alice", "bob", "carol")
names = st.sampled_from(NAMES)
keys = st.sampled_from(["fleet/a", "fleet/b", "fleet/c"])


class Replicas(RuleBasedStateMachine):
    """Three replicas write, read, lose commits and hear of each other's durable records, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.disks = {name: Disk(name) for name in NAMES}
        self.records: dict[Dot, Record] = {}
        """Every write that became durable somewhere."""
        self.contexts: dict[str, list[Context]] = {}

    @rule(name=names, key=keys, is_deletion=st.booleans(), how=st.sampled_from(["own", "blind", "read"]),
          which=st.integers(0, 50))  # fmt: skip
    def write(self, name: str, key: str, is_deletion: bool, how: str, which: int) -> None:
        context: Context | None = None
        if how == "blind":
            context = ()
        elif how == "read" and self.contexts.get(key):
            known = self.contexts[key]
            context = known[which % len(known)]
        made = (
            deletion(key) if is_deletion and context is None else write(key, b"%d" % which, context=context)
        )
        self.disks[name].write(made)

    @rule(name=names, key=keys)
    def read(self, name: str, key: str) -> None:
        """A caller keeps what it has read, to write with it later and elsewhere. Only what is durable."""
        disk = self.disks[name]
        if not disk.waiting:
            siblings = disk.replica.siblings([key])[key]
            self.contexts.setdefault(key, []).append(disk.replica.context_of(SHARD, siblings))

    @rule(name=names, count=st.integers(1, 4))
    def commit(self, name: str, count: int) -> None:
        for commit in self.disks[name].commit(count):
            for record in commit.draft.records:
                self.records[record.dot] = record

    @rule(name=names)
    def refuse(self, name: str) -> None:
        self.disks[name].refuse()

    @rule(name=names, data=st.data())
    def hear(self, name: str, data: Any) -> None:
        """Some records that are durable at their author arrive, in any order."""
        if self.records:
            dots = data.draw(st.lists(st.sampled_from(sorted(self.records)), min_size=1, max_size=6))
            self.disks[name].accept(*(self.records[dot] for dot in dots))

    @invariant()
    def every_disk_is_consistent(self) -> None:
        for disk in self.disks.values():
            live = disk.live()
            if not disk.waiting:
                disk.check()
            known = disk.store.open_changes(SHARD, ()).knowledge()
            for author, ranges in known:
                for low, high in ranges:
                    for sequence in range(low, high + 1):
                        record = self.records[Dot(author, sequence)]
                        held = [other for other in live if other.key == record.key]
                        assert record in held or any(covers(o.context, author, sequence) for o in held)

    def teardown(self) -> None:
        """Everyone hears of everything: then all hold the same."""
        for name in NAMES:
            self.commit(name, 1_000)
        for index, disk in enumerate(self.disks.values()):
            in_any_order = sorted(self.records, key=lambda dot: hash((index, dot.sequence, dot.author[0])))
            for dot in in_any_order:
                disk.accept(self.records[dot])
            disk.commit()
            disk.check()
        first, *rest = self.disks.values()
        for disk in rest:
            assert disk.live() == first.live()
            assert disk.replica.shard(SHARD).committed == first.replica.shard(SHARD).committed
            assert disk.replica.shard(SHARD).fingerprint == first.replica.shard(SHARD).fingerprint


Replicas.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestReplicas = Replicas.TestCase
