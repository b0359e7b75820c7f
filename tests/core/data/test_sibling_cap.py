"""The cap on siblings: for blind local writes, and for nothing else."""

from __future__ import annotations

from bellande_mesh_sync.core.data.sibling_cap import SIBLINGS_MAX
from tests.core.making import SHARD, Disk, author_named, record, write

KEY = "fleet/k"
BLIND = write(KEY, b"blind", context=())


def full_disk() -> Disk:
    disk = Disk()
    for _ in range(SIBLINGS_MAX):
        disk.write(BLIND)
        disk.commit()
    return disk


def test_a_blind_write_beyond_the_cap_is_refused() -> None:
    disk = full_disk()
    assert disk.replica.overfull([BLIND]) == KEY
    assert disk.replica.overfull([write("fleet/other", context=())]) is None


def test_a_write_that_settles_or_replaces_something_goes_in() -> None:
    disk = full_disk()
    assert disk.replica.overfull([write(KEY)]) is None
    some = disk.replica.siblings([KEY])[KEY][:1]
    context = disk.replica.context_of(SHARD, some)
    assert disk.replica.overfull([write(KEY, context=context)]) is None


def test_what_peers_bring_is_kept_beyond_it() -> None:
    disk = full_disk()
    others = [record(KEY, author_named(f"node {index}"), 1) for index in range(10)]
    disk.accept(*others)
    disk.commit()
    assert len(disk.replica.siblings([KEY])[KEY]) == SIBLINGS_MAX + 10
    context = others[0].author, 1, ()
    assert disk.replica.overfull([write(KEY, context=(context,))]) is None
    assert disk.replica.overfull([BLIND]) == KEY


def test_writes_of_one_batch_count_together() -> None:
    disk = Disk()
    assert disk.replica.overfull([BLIND] * SIBLINGS_MAX) is None
    assert disk.replica.overfull([BLIND] * (SIBLINGS_MAX + 1)) == KEY
    settled = [*[BLIND] * SIBLINGS_MAX, write(KEY), *[BLIND] * (SIBLINGS_MAX - 1)]
    assert disk.replica.overfull(settled) is None
    assert disk.replica.overfull([*settled, BLIND]) == KEY
