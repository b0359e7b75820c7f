"""A batch gives the same on every executor, in order, and passes errors on."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from bellande_mesh_sync.errors import DimensionMismatchError
from bellande_mesh_sync.search_path import batch, limit, step

INPUTS: list[Any] = [([0, 0], [number, number], 2.5) for number in range(150)]


def check(executor: Executor | None) -> None:
    found = batch(step, INPUTS, executor)
    assert len(found) == 150
    np.testing.assert_array_equal(np.array(found), [step(*each) for each in INPUTS])
    with pytest.raises(DimensionMismatchError) as caught:
        batch(step, [*INPUTS, ([0, 0], [1], 1)], executor)
    assert (caught.value.have, caught.value.need) == (1, 2)
    assert batch(step, [], executor) == []


def test_here_and_in_threads() -> None:
    check(None)
    with ThreadPoolExecutor(2) as executor:
        check(executor)


def test_in_a_process_pool() -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        check(executor)


def test_on_dask() -> None:
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        check(client.get_executor())


def test_arguments_may_be_named() -> None:
    scene = {"environment": [100, 100], "size": [10, 10], "goal": [90, 90]}
    inputs = [{"node0": [1, 1], "node1": [number, 9], **scene} for number in range(3)]
    found = batch(limit, inputs, parts=2)
    assert [float(each) for each in found] == [float(limit(**each)) for each in inputs]  # type: ignore[arg-type]


class Tired(ThreadPoolExecutor):
    """Counts what it was given."""

    submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **kwargs)


def test_inputs_go_out_in_parts() -> None:
    with Tired(1) as executor:
        batch(step, INPUTS, executor, parts=4)
        assert executor.submitted == 4
