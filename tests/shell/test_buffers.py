"""Memory for incoming chunks is used again, and what is kept of it is bounded."""

from __future__ import annotations

from bellande_mesh_sync.shell.buffers import Buffers

KIB = 1024


def test_a_block_that_was_given_back_is_used_again() -> None:
    buffers = Buffers()
    first = buffers.take(300 * KIB)
    block = first.obj
    assert len(first) == 300 * KIB
    buffers.give_back(first)
    second = buffers.take(400 * KIB)
    assert second.obj is block
    assert buffers.take(400 * KIB).obj is not block


def test_every_size_fits_its_block() -> None:
    buffers = Buffers()
    for size in (1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 4096 * KIB):
        view = buffers.take(size)
        assert len(view) == size
        buffers.give_back(view)


def test_no_more_is_kept_than_allowed() -> None:
    buffers = Buffers(kept_bytes_max=128 * KIB)
    views = [buffers.take(64 * KIB) for _ in range(5)]
    blocks = {id(view.obj) for view in views}
    for view in views:
        buffers.give_back(view)
    again = [buffers.take(64 * KIB) for _ in range(5)]
    assert len(blocks & {id(view.obj) for view in again}) >= 2
    assert len({id(view.obj) for view in again}) == 5
