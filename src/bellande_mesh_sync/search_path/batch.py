"""Many inputs for one function, spread over whatever runs functions elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from bellande_mesh_sync.search_path.arrays import whole

Result = TypeVar("Result")

PARTS = 64
"""Inputs go out in at most so many parts, so that sending them costs little and no worker is idle long."""


class Future(Protocol):
    def result(self) -> Any: ...

    def cancel(self) -> object: ...


class Executor(Protocol):
    """Any `concurrent.futures.Executor`: threads, processes, Dask (`client.get_executor()`), Ray."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any: ...


def batch(
    function: Callable[..., Result],
    inputs: Iterable[tuple[Any, ...] | dict[str, Any]],
    executor: Executor | None = None,
    *,
    parts: int = PARTS,
) -> list[Result]:
    """Call `function` for each of the inputs; the results in the order of the inputs.

    Args:
        function: one that the executor can send: for processes a function of a module.
        inputs: for each call its arguments: a tuple of positional or a dict of named ones.
        executor: where to run; None: here, one after the other. It is not shut down.
        parts: >= 1; how many pieces of work the inputs are cut into.

    The first error ends it: it is raised as it is, and what has not started is cancelled.
    """
    given = list(inputs)
    if executor is None:
        return _call_each(function, given)
    size = -(-len(given) // whole("parts", parts, 1, 1_000_000)) or 1
    cut = [given[first : first + size] for first in range(0, len(given), size)]
    futures: list[Future] = [executor.submit(_call_each, function, part) for part in cut]
    try:
        return [result for future in futures for result in future.result()]
    finally:
        for future in futures:
            future.cancel()


def _call_each(
    function: Callable[..., Result], inputs: Sequence[tuple[Any, ...] | dict[str, Any]]
) -> list[Result]:
    return [function(**each) if isinstance(each, dict) else function(*each) for each in inputs]
