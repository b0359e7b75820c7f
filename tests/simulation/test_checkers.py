"""Each checker finds what it is for: a violation is planted, and must be named."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import pytest
from blake3 import blake3

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.record import TOMBSTONE, VALUE, ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import Receipt, Write
from bellande_mesh_sync.ids import Author, Dot, Shard, Stamp, author_of, format_version
from bellande_mesh_sync.sim.checkers import AckChecker, DiskChecker, Violation, differences
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.platter import Platter

SHARD = Shard("s/0")
NODES = [make_identity(1, index).node for index in range(3)]
EPOCH = b"epoch  1"
AUTHOR = author_of(NODES[0], EPOCH)


@dataclass
class Disk:
    index: int
    platter: Platter = field(default_factory=lambda: Platter(EPOCH))


class Bench:
    """Three disks under watch; `commit` makes a batch durable on one of them."""

    def __init__(self) -> None:
        self.disks = [Disk(index) for index in range(3)]
        self.checker = DiskChecker(NODES)
        self.acks = AckChecker(self.disks, NODES, self.checker)

    def commit(self, index: int, batch: Batch) -> None:
        disk = self.disks[index]
        disk.platter.apply(batch)
        self.checker.applied(disk, batch)

    def put(self, index: int, *records: Record, drops: tuple[Record, ...] = (), claims: bool = True) -> None:
        self.commit(index, batch_of(self.disks[index], *records, drops=drops, claims=claims))


def put(
    sequence: int, *, key: str = "s/k", context: Context = (), kind: int = VALUE, stamp: int = 0
) -> Record:
    body = b"%d" % sequence
    digest = blake3(body).digest() if kind == VALUE else b""
    inline = body if kind == VALUE else None
    size = len(body) if kind == VALUE else 0
    return Record(key, AUTHOR, sequence, Stamp(stamp or sequence), kind, size, digest, "", context, inline)


def seen(*sequences: int) -> Context:
    return ((AUTHOR, 0, sequences),)


def batch_of(disk: Disk, *records: Record, drops: tuple[Record, ...] = (), claims: bool = True) -> Batch:
    """A right batch, as a core would make it, for records in order of their numbers."""
    held = dict(disk.platter.intervals.get(SHARD, {}).get(AUTHOR, {}))
    changes = []
    for record in records if claims else ():
        low = next((low for low, high in held.items() if high == record.sequence - 1), record.sequence)
        changes.append(IntervalChange(SHARD, AUTHOR, low, record.sequence, (low,) if low in held else ()))
        held[low] = record.sequence
    amount = sum(map(fingerprint_of, records)) - sum(map(fingerprint_of, drops))
    return Batch(
        puts=tuple((SHARD, record) for record in records),
        drops=tuple((SHARD, record.key, record.dot) for record in drops),
        intervals=tuple(changes),
        fingerprints=((SHARD, amount % (1 << 256)),),
    )


def write_of(record: Record) -> Write:
    return Write(record.key, record.kind, record.size, record.digest, record.content_type, record.inline)


def receipt_of(record: Record, *nodes: int, ack: str = "local") -> Receipt:
    return Receipt(record.key, record.version, tuple(NODES[node] for node in nodes), ack)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def expect(check: str) -> pytest.RaisesExc[Violation]:
    return pytest.raises(Violation, match=rf"^{check}: ")


# -- what is on the disks ----------------------------------------------------------------------


def test_a_right_history_passes(bench: Bench) -> None:
    first, second, gone = put(1), put(2, context=seen(1)), put(3, context=seen(1, 2), kind=TOMBSTONE)
    for index in range(3):
        bench.put(index, first)
        bench.put(index, second, drops=(first,))
        bench.put(index, gone, drops=(second,))
        bench.checker.check_disk(bench.disks[index])
    assert differences(bench.disks) == []


def test_one_dot_with_two_contents_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("dots_unique"):
        bench.put(1, msgspec.structs.replace(put(1), size=99))


def test_a_claim_without_the_record_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("knowledge"):
        bench.commit(1, Batch(intervals=(IntervalChange(SHARD, AUTHOR, 1, 1, ()),)))


def test_a_claim_of_a_dot_that_no_disk_ever_had_is_found(bench: Bench) -> None:
    with expect("knowledge"):
        bench.commit(0, Batch(intervals=(IntervalChange(SHARD, AUTHOR, 1, 1, ()),)))


def test_a_claim_is_right_if_a_successor_is_on_the_disk(bench: Bench) -> None:
    first, second = put(1), put(2, context=seen(1))
    bench.put(0, first)
    bench.put(0, second, drops=(first,))
    bench.put(1, second)
    bench.commit(1, Batch(intervals=(IntervalChange(SHARD, AUTHOR, 1, 2, (2,)),)))


def test_a_version_replaced_within_its_own_batch_may_be_claimed_everywhere(bench: Bench) -> None:
    second = put(2, context=seen(1))
    batch = Batch(puts=((SHARD, second),), intervals=(IntervalChange(SHARD, AUTHOR, 1, 2, ()),))
    bench.commit(0, batch)
    bench.commit(1, batch)


def test_a_record_on_disk_that_is_not_known_is_found(bench: Bench) -> None:
    with expect("unclaimed"):
        bench.put(0, put(1), claims=False)


def test_a_drop_without_a_successor_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("drops"):
        bench.commit(0, Batch(drops=((SHARD, "s/k", put(1).dot),)))


def test_a_drop_that_forgets_what_the_dropped_one_had_replaced_is_found(bench: Bench) -> None:
    first, second, third = put(1), put(2, context=seen(1)), put(3, context=seen(2))
    bench.put(0, first)
    bench.put(0, second, drops=(first,))
    with expect("knowledge"):
        bench.put(0, third, drops=(second,))


def test_an_old_copy_that_comes_back_after_a_delete_is_found(bench: Bench) -> None:
    first, gone = put(1), put(2, context=seen(1), kind=TOMBSTONE)
    bench.put(0, first)
    bench.put(0, gone, drops=(first,))
    with expect("resurrected"):
        bench.commit(0, Batch(puts=((SHARD, first),)))


def test_a_record_beside_its_successor_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("sibling"):
        bench.put(0, put(2, context=seen(1)))


def test_a_stamp_that_runs_backwards_is_found(bench: Bench) -> None:
    bench.put(0, put(1, key="s/a", stamp=50))
    with expect("stamps"):
        bench.put(0, put(2, key="s/b", stamp=50))


def test_stamps_may_step_back_once_after_the_clock_was_set(bench: Bench) -> None:
    bench.put(0, put(1, key="s/a", stamp=50))
    bench.checker.clock_set(0)
    bench.put(0, put(2, key="s/b", stamp=40))
    with expect("stamps"):
        bench.put(0, put(3, key="s/c", stamp=30))


def test_stamps_of_others_may_come_in_any_order(bench: Bench) -> None:
    bench.put(1, put(1, key="s/a", stamp=50))
    bench.put(1, put(2, key="s/b", stamp=40))


def test_a_record_before_its_chunks_is_found(bench: Bench) -> None:
    ref = ChunkRef(b"h" * 32, 4)
    large = Record("s/k", AUTHOR, 1, Stamp(1), VALUE, 4, b"d" * 32, manifest=Manifest(1, (ref,)))
    with expect("chunks_first"):
        bench.put(0, large)
    bench = Bench()
    bench.disks[0].platter.chunks[ref.hash] = b"body"
    bench.put(0, large)
    del bench.disks[0].platter.chunks[ref.hash]
    with expect("chunks"):
        bench.checker.check_disk(bench.disks[0])


def test_an_interval_that_does_not_fit_the_others_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("intervals"):
        bench.commit(
            0, Batch(puts=((SHARD, put(2, key="s/b")),), intervals=(IntervalChange(SHARD, AUTHOR, 2, 2, ()),))
        )


def test_a_wrong_fingerprint_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    bench.commit(0, Batch(fingerprints=((SHARD, 1),)))
    with expect("fingerprints"):
        bench.checker.check_disk(bench.disks[0])


def test_a_record_that_vanished_from_a_disk_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    del bench.disks[0].platter.by_key["s/k"]
    with expect("knowledge"):
        bench.checker.check_disk(bench.disks[0])


def test_a_value_that_was_refused_and_is_on_disk_is_found(bench: Bench) -> None:
    bench.checker.refused(put(1).digest, "busy")
    with expect("refused_write"):
        bench.put(0, put(1))
    bench = Bench()
    bench.put(0, put(1))
    with expect("refused_write"):
        bench.checker.refused(put(1).digest, "busy")


# -- what clients were told --------------------------------------------------------------------


def told(bench: Bench, record: Record, receipt: Receipt, ack: str = "local", at_ns: int = 10) -> None:
    bench.acks.resolved(0, [write_of(record)], [receipt], ack, at_ns, at_ns + 1)


def test_a_true_receipt_passes_and_is_remembered(bench: Bench) -> None:
    for index in range(3):
        bench.put(index, put(1))
    told(bench, put(1), receipt_of(put(1), 0, 1, 2, ack="all"), "all")
    bench.acks.check_all()


def test_a_receipt_that_names_a_node_without_the_record_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("ack_true"):
        told(bench, put(1), receipt_of(put(1), 0, 2, ack="one"), "one")


@pytest.mark.parametrize(("ack", "have"), [("one", 1), ("quorum", 1), ("all", 2)])
def test_a_receipt_with_too_few_nodes_is_found(bench: Bench, ack: str, have: int) -> None:
    for index in range(have):
        bench.put(index, put(1))
    with expect("ack_level"):
        told(bench, put(1), receipt_of(put(1), *range(have), ack=ack), ack)


def test_a_receipt_for_something_else_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("receipts"):
        told(bench, msgspec.structs.replace(put(1), size=7), receipt_of(put(1), 0))
    with expect("receipts"):
        told(bench, put(2), receipt_of(put(2), 0))


def test_a_write_that_does_not_replace_what_its_node_had_acknowledged_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    told(bench, put(1), receipt_of(put(1), 0), at_ns=10)
    bench.put(0, put(2))
    with expect("order"):
        told(bench, put(2), receipt_of(put(2), 0), at_ns=20)


def test_an_if_match_that_was_not_honoured_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    bench.put(0, put(2))
    write = msgspec.structs.replace(write_of(put(2)), if_match=put(1).version)
    with expect("if_match"):
        bench.acks.resolved(0, [write], [receipt_of(put(2), 0)], "local", 1, 2)


def test_an_acknowledged_version_that_a_named_disk_lost_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    told(bench, put(1), receipt_of(put(1), 0))
    bench.disks[0].platter = Platter(EPOCH)
    with expect("acked_lost"):
        bench.acks.check_all()


def test_a_wiped_disk_owes_nothing_but_the_others_still_do(bench: Bench) -> None:
    for index in range(2):
        bench.put(index, put(1))
    told(bench, put(1), receipt_of(put(1), 0, 1, ack="one"), "one")
    bench.disks[0].platter = Platter(b"epoch  2")
    bench.checker.wiped(bench.disks[0])
    bench.acks.wiped(0)
    bench.acks.check_all()
    bench.disks[1].platter = Platter(EPOCH)
    with expect("acked_lost"):
        bench.acks.check_all()


def test_word_of_a_record_may_outlive_the_disk_it_was_on(bench: Bench) -> None:
    for index in range(2):
        bench.put(index, put(1))
    bench.disks[1].platter = Platter(b"epoch  2")
    bench.checker.wiped(bench.disks[1])
    bench.acks.wiped(1)
    told(bench, put(1), receipt_of(put(1), 0, 1, ack="one"), "one")
    bench.acks.check_all()


def test_a_time_out_that_names_a_node_without_the_record_is_found(bench: Bench) -> None:
    bench.put(0, put(1))
    with expect("ack_true"):
        bench.acks.timed_out(0, [write_of(put(1))], [NODES[1].hex()], [format_version(AUTHOR, 1)])


# -- agreement ---------------------------------------------------------------------------------


def test_every_kind_of_disagreement_is_told(bench: Bench) -> None:
    for index in range(3):
        bench.put(index, put(1))
    assert differences(bench.disks) == []
    bench.put(1, put(2, key="s/b"))
    assert "know different dots" in differences(bench.disks)[0]
    bench.put(0, put(2, key="s/b"))
    bench.put(2, put(2, key="s/b"))
    assert differences(bench.disks) == []
    bench.commit(2, Batch(fingerprints=((SHARD, 5),)))
    assert "different fingerprints" in differences(bench.disks)[0]
    del bench.disks[1].platter.live[SHARD][AUTHOR][1]
    assert "hold different records" in differences(bench.disks)[0]


def test_authors_in_contexts_are_compared_whole() -> None:
    other = Author(b"o" * 40)
    bench = Bench()
    bench.put(0, put(1))
    bench.put(0, put(2, context=((other, 1, ()),)))
    assert bench.checker.holds(bench.disks[0], "s/k", Dot(other, 1))
    assert not bench.checker.holds(bench.disks[0], "s/k", Dot(other, 2))
