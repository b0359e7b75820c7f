"""Mutants: bugs that are planted in the core on purpose, to prove that the simulator finds them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, Final, cast

MESH: Final = "mesh"
"""Whole nodes, with disks and clients."""
MEMBERS: Final = "members"
"""Membership alone: more nodes, and more of what goes wrong between them."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong edit of one function of the core: what stood there, and what a tired hand wrote."""

    name: str
    bug: str
    """What is wrong, in a sentence."""
    function: Callable[..., Any]
    right: str
    """A piece of the function's source, there once. When the core changes it, the mutant must follow."""
    wrong: str
    world: str = MESH
    """The simulator that has to find it: MESH or MEMBERS."""

    @property
    def place(self) -> str:
        module = self.function.__module__.removeprefix("bellande_mesh_sync.").replace(".", "/")
        return f"{module}.py {self.function.__qualname__}"


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The core with the bug in it, until the block ends.

    The function stays the same object and only its code is exchanged, so the bug is everywhere where
    somebody holds the function: in classes, in tables of handlers, under imported names.
    """
    function = cast(FunctionType, mutant.function)
    healthy = function.__code__
    function.__code__ = _broken(function, mutant)
    try:
        yield
    finally:
        function.__code__ = healthy


def _broken(function: FunctionType, mutant: Mutant) -> CodeType:
    source = textwrap.dedent(inspect.getsource(function))
    count = source.count(mutant.right)
    assert count == 1, f"{mutant.name}: {mutant.right!r} stands {count} times in {mutant.place}"
    module = compile(source.replace(mutant.right, mutant.wrong), f"<{mutant.name}>", "exec")
    found = [
        part for part in module.co_consts if isinstance(part, CodeType) and part.co_name == function.__name__
    ]
    assert len(found) == 1, f"{mutant.name}: one function was to be compiled"
    return found[0]
