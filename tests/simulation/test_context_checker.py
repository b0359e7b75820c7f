"""A write that replaces what nobody had read is found; one whose reader had read it passes."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from blake3 import blake3

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import VALUE, Record
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import Receipt, Write
from bellande_mesh_sync.ids import Author, Shard, Stamp, author_of
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.context_checker import ContextChecker
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.platter import Platter

SHARD = Shard("s/0")
KEY = "s/k"
NODES = [make_identity(1, index).node for index in range(2)]
FIRST, SECOND = (author_of(node, b"epoch  1") for node in NODES)


@dataclass
class Disk:
    index: int
    platter: Platter = field(default_factory=lambda: Platter(b"epoch  1"))


class Bench:
    """Two disks; the first node has written twice, and nothing of it has reached the second."""

    def __init__(self) -> None:
        self.disks = [Disk(0), Disk(1)]
        self.checker = ContextChecker()
        self.put(0, record(FIRST, 1))
        self.put(0, record(FIRST, 2, context=((FIRST, 1, ()),)))

    def put(self, index: int, *records: Record) -> None:
        changes = tuple(IntervalChange(SHARD, r.author, r.sequence, r.sequence, ()) for r in records)
        batch = Batch(puts=tuple((SHARD, record) for record in records), intervals=changes)
        self.disks[index].platter.apply(batch)
        self.checker.applied(self.disks[index], batch)

    def resolve(self, written: Record, context: Context | None = None) -> None:
        write = Write(KEY, VALUE, written.size, written.digest, context=context)
        self.checker.resolved(1, [write], [Receipt(KEY, written.version, (NODES[1],), "local")])


def record(author: Author, sequence: int, context: Context = ()) -> Record:
    body = b"%d" % sequence
    return Record(
        KEY, author, sequence, Stamp(sequence), VALUE, len(body), blake3(body).digest(), "", context, body
    )


def test_a_write_that_replaces_what_its_node_never_had_is_found() -> None:
    bench = Bench()
    written = record(SECOND, 1, context=((FIRST, 2, ()),))
    bench.put(1, written)
    with pytest.raises(Violation, match=r"^context: n1: "):
        bench.resolve(written)


def test_a_write_over_a_gap_that_nobody_has_read_is_found() -> None:
    bench = Bench()
    bench.put(0, record(FIRST, 3))
    bench.put(1, record(FIRST, 3))
    written = record(SECOND, 1, context=((FIRST, 3, ()),))
    bench.put(1, written)
    with pytest.raises(Violation, match="replaces"):
        bench.resolve(written)


def test_a_write_may_replace_what_a_version_here_had_replaced() -> None:
    bench = Bench()
    bench.put(1, record(FIRST, 2, context=((FIRST, 1, ()),)))
    written = record(SECOND, 1, context=((FIRST, 2, ()),))
    bench.put(1, written)
    bench.resolve(written)


def test_a_write_may_replace_what_its_client_had_read_elsewhere() -> None:
    bench = Bench()
    written = record(SECOND, 1, context=((FIRST, 2, ()),))
    bench.put(1, written)
    bench.resolve(written, context=((FIRST, 2, ()),))
