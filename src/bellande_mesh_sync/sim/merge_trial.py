"""Trying a merge function on made-up siblings, for its author: which law does it break, and on what?"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from msgspec import Struct

from bellande_mesh_sync.core.data.merging import Merge, Sibling
from bellande_mesh_sync.sim.merge_laws import BrokenLaw, broken_law

SIBLINGS_MAX: Final = 4
"""More of them find nothing that these do not."""
PROBES: Final = 8

MakeValue = Callable[[random.Random], bytes]


def _integer(rng: random.Random) -> bytes:
    return b"%d" % rng.randint(-3, 20)


def _decimal(rng: random.Random) -> bytes:
    return b"%.1f" % rng.uniform(-3, 9)


def _text(rng: random.Random) -> bytes:
    return "".join(rng.choices("ab é", k=rng.randint(0, 4))).encode()


def _array(rng: random.Random) -> bytes:
    return json.dumps(rng.choices(("a", "b", "c", "d"), k=rng.randint(0, 3))).encode()


def _object(rng: random.Random) -> bytes:
    fields = rng.sample("abcd", rng.randint(0, 3))
    return json.dumps({name: rng.choice((rng.randint(0, 3), "x", "y")) for name in fields}).encode()


def _bytes(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 3))


KINDS: Final[Mapping[str, MakeValue]] = {
    "object": _object,
    "array": _array,
    "integer": _integer,
    "decimal": _decimal,
    "text": _text,
    "bytes": _bytes,
}
"""Small values of each kind, so that equal ones meet."""


class Trial(Struct, frozen=True):
    kinds: tuple[str, ...]
    """What the function was tried on; it takes no other kind."""
    tried_count: int
    broken: BrokenLaw | None
    siblings: tuple[Sibling, ...] = ()
    """What it broke the law on, with none that is not needed for that."""


def try_function(merge: Merge, *, values: Sequence[bytes] = (), count: int = 300, seed: int = 1) -> Trial:
    """Try the laws on `count` sets of siblings of each kind that the function takes.

    Args:
        values: to draw from instead; for a function that takes only values of a certain form.
    """
    rng = random.Random(seed)
    kinds = {"yours": lambda rng: rng.choice(values)} if values else _taken(merge, rng)
    tried = 0
    for make in (kinds or {"bytes": _bytes}).values():
        for _ in range(count):
            tried += 1
            siblings = _draw(make, rng)
            broken = broken_law(merge, siblings)
            if broken is not None:
                return _smallest(merge, Trial(tuple(kinds), tried, broken, siblings))
    return Trial(tuple(kinds), tried, None)


def _taken(merge: Merge, rng: random.Random) -> dict[str, MakeValue]:
    """The kinds of which the function takes at least one probe, not raising."""
    found = {}
    for kind, make in KINDS.items():
        laws = (broken_law(merge, _draw(make, rng)) for _ in range(PROBES))
        if any(broken is None or broken.law != "total" for broken in laws):
            found[kind] = make
    return found


def _draw(make: MakeValue, rng: random.Random) -> tuple[Sibling, ...]:
    count = rng.randint(2, SIBLINGS_MAX)
    times = sorted(rng.randint(1, 3) for _ in range(count))
    authors = [rng.choice(("aa", "bb", "cc")) * 32 for _ in range(count)]
    return tuple(
        Sibling(make(rng), f"{author}.{8 * '00'}.{number}", author, time_ms, "application/json")
        for number, (author, time_ms) in enumerate(zip(authors, times, strict=True), 1)
    )


def _smallest(merge: Merge, found: Trial) -> Trial:
    """Leave siblings away as long as a law is still broken."""
    siblings, broken = found.siblings, found.broken
    for fewer in _shrunk(found.siblings):
        law = broken_law(merge, fewer)
        if law is not None:
            siblings, broken = fewer, law
            break
    return Trial(found.kinds, found.tried_count, broken, siblings)


def _shrunk(siblings: tuple[Sibling, ...]) -> Iterator[tuple[Sibling, ...]]:
    """Every smaller choice of two or more, the smallest first."""
    for size in range(2, len(siblings)):
        yield from combinations(siblings, size)
