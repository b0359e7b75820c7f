"""A disk that loses an old version, keeps one too many, or tells what never was, is found."""

from __future__ import annotations

import msgspec
import pytest

from bellande_mesh_sync.core.data import history
from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy, OldVersion
from bellande_mesh_sync.core.data.record import ChunkRef, Manifest, Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Author, Shard, Stamp, stamp_of
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.history_checker import HistoryChecker
from bellande_mesh_sync.sim.platter import Platter
from bellande_mesh_sync.sim.simulation import run
from bellande_mesh_sync.sim.swarm import draw, with_history
from tests.simulation.mutants.planting import Mutant, planted

SHARD = Shard("s/0")
KEY = "s/k"
ALICE = Author(b"a" * 40)


class Disk:
    def __init__(self) -> None:
        self.index = 0
        self.platter = Platter(b"epoch  1")


class Bench:
    """One disk, on which each write replaces the one before."""

    def __init__(self, versions: int = 2, for_ms: int = 0) -> None:
        self.policy = HistoryPolicy(versions, for_ms)
        self.disk = Disk()
        self.checker = HistoryChecker(HistoryPolicies(self.policy), 1)
        self.written: list[Record] = []

    def batch(self) -> Batch:
        sequence = len(self.written) + 1
        before = self.written[-1:]
        context: Context = ((ALICE, sequence - 1, ()),) if before else ()
        new = Record(KEY, ALICE, sequence, stamp_of(sequence), 0, 0, b"", context=context, inline=b"")
        self.written.append(new)
        return Batch(
            puts=((SHARD, new),),
            drops=tuple((SHARD, KEY, each.dot) for each in before),
            history=tuple(self.old(each, new.stamp) for each in before) if self.policy.versions else (),
        )

    def old(self, replaced: Record, until: Stamp) -> OldVersion:
        return history.old_version(SHARD, replaced, until, self.policy)

    def apply(self, batch: Batch) -> None:
        self.disk.platter.apply(batch)
        self.checker.applied(self.disk, batch)

    def write(self, count: int = 1) -> None:
        for _ in range(count):
            self.apply(self.batch())

    def rest(self) -> None:
        self.checker.check_disk(self.disk)
        self.checker.check_at_rest([self.disk])


@pytest.mark.parametrize(("versions", "for_ms"), [(0, 0), (1, 0), (3, 0), (3, 2)])
def test_a_right_history_passes(versions: int, for_ms: int) -> None:
    bench = Bench(versions, for_ms)
    bench.write(6)
    bench.apply(Batch(expired_ms=7))
    assert len(bench.disk.platter.history.get(KEY, ())) == (1 if for_ms else versions)
    bench.rest()


def test_a_version_that_is_dropped_and_not_kept_is_found() -> None:
    bench = Bench()
    bench.write(2)
    batch = msgspec.structs.replace(bench.batch(), history=())
    with pytest.raises(Violation, match="is dropped and not kept"):
        bench.apply(batch)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"versions": 5}, "is kept as one of 5, not 2"),
        ({"expires_ms": 9}, "expires at 9, not 0"),
        ({"until": Stamp(5)}, "nothing replaced"),
    ],
)
def test_a_version_that_is_kept_wrongly_is_found(wrong: dict[str, int], told: str) -> None:
    bench = Bench()
    bench.write(2)
    batch = bench.batch()
    old = msgspec.structs.replace(batch.history[0], **wrong)
    with pytest.raises(Violation, match=told):
        bench.apply(msgspec.structs.replace(batch, history=(old,)))


def test_a_live_version_in_history_is_found() -> None:
    bench = Bench()
    bench.write(2)
    with pytest.raises(Violation, match="and live"):
        bench.apply(Batch(history=(bench.old(bench.written[-1], Stamp(99)),)))


def test_a_disk_that_forgets_too_early_or_keeps_too_many_is_found() -> None:
    bench = Bench(versions=9)
    bench.write(3)
    del bench.disk.platter.history[KEY][-1]
    with pytest.raises(Violation, match="gone from history too early"):
        bench.write()
    bench = Bench()
    bench.write(3)
    batch = bench.batch()
    bench.disk.platter.apply(batch)
    bench.disk.platter.history[KEY].insert(0, bench.old(bench.written[0], bench.written[1].stamp))
    with pytest.raises(Violation, match="kept beyond 2 versions"):
        bench.checker.applied(bench.disk, batch)


def test_a_past_that_never_was_is_found() -> None:
    bench = Bench(versions=1)
    bench.write(3)
    bench.rest()
    with planted(PLANTED[1]), pytest.raises(Violation, match="had another value"):
        bench.rest()


def test_an_old_version_without_its_chunks_is_found() -> None:
    bench = Bench()
    bench.write(2)
    (old,) = bench.disk.platter.history[KEY]
    manifest = Manifest(1, (ChunkRef(b"h" * 32, 5),))
    record = msgspec.structs.replace(old.record, inline=None, manifest=manifest)
    bench.disk.platter.history[KEY] = [msgspec.structs.replace(old, record=record)]
    with pytest.raises(Violation, match="lacks chunks"):
        bench.checker.check_disk(bench.disk)


@pytest.mark.parametrize("seed", range(3001, 3009))
def test_nodes_with_history_keep_their_promises(seed: int) -> None:
    outcome = run(with_history(draw(seed, nodes=(3, 5), minutes=1)))
    assert outcome.violation == "", "\n".join(outcome.story[-20:])


def test_histories_of_every_kind_are_drawn_and_leave_the_rest_of_a_seed_alone() -> None:
    plain = [draw(seed, nodes=(3, 5), minutes=1) for seed in range(1, 30)]
    drawn = [with_history(scenario) for scenario in plain]
    kinds = {policy for scenario in drawn for _, policy in scenario.core.history.spaces}
    assert {policy.versions for policy in kinds} >= {0, 1, 20}
    assert {bool(policy.for_ms) for policy in kinds} == {True, False}
    assert all(before.core.history == history.NO_HISTORY for before in plain)
    assert [scenario.faults for scenario in drawn] == [scenario.faults for scenario in plain]


PLANTED = (
    Mutant(
        "deletes_leave_no_history",
        "What a delete replaces is not kept.",
        Replica._place,
        "self._keep(shard, replaced,",
        "self._keep(shard, () if record.is_tombstone else replaced,",
    ),
    Mutant(
        "a_gap_is_not_told",
        "What is missing from history counts as never having been.",
        history.as_of,
        "return Moment(siblings, False)",
        "return Moment(siblings, True)",
    ),
    Mutant(
        "late_versions_push_out_later_ones",
        "A version that was replaced before it came counts as replaced just now.",
        history.replaced_by,
        "return min(",
        "return Stamp(1 << 62) or min(",
    ),
)


@pytest.mark.parametrize("mutant", PLANTED, ids=lambda mutant: mutant.name)
def test_a_bug_planted_in_the_core_is_found_in_a_run(mutant: Mutant) -> None:
    with planted(mutant):
        for seed in range(1, 40):
            outcome = run(with_history(draw(seed, nodes=(3, 5), minutes=0.5)))
            if outcome.violation:
                break
    assert outcome.check == "history", outcome.violation
