"""The policy of each space, by name, and how a local write is checked against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.context import Context, covers, join
from bellande_mesh_sync.core.data.functions import BoundedMerge, Merged
from bellande_mesh_sync.core.data.policy import Misfit, Origin, Policy
from bellande_mesh_sync.core.data.ranking import Lowest, Ranked
from bellande_mesh_sync.core.data.record import TOMBSTONE, Record
from bellande_mesh_sync.core.data.stateful import Counter, Map, Set
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.keys import space_of

LAST_WRITER: Final = Policy()


class UnfitError(Exception):
    """A value that its space cannot take. Nothing was written."""

    def __init__(self, key: str, policy: str, reason: str) -> None:
        super().__init__(reason)
        self.facts = {"key": key, "space": space_of(key), "policy": policy, "reason": reason}


BY_NAME: Final[Mapping[str, Policy]] = {
    "lww": LAST_WRITER,
    "siblings": LAST_WRITER,
    "max": Ranked(),
    "min": Lowest(),
    "counter": Counter(),
    "set": Set(),
    "map": Map(),
}


class SpacePolicies:
    """The spaces that are not `lww`. They change what is shown and what the next write says, never which
    records are kept: nodes that are configured differently still come to hold the same."""

    def __init__(
        self, conflicts: Mapping[str, str] | None = None, merges: Mapping[str, BoundedMerge] | None = None
    ) -> None:
        """
        Args:
            conflicts: by space, one of `BY_NAME`.
            merges: by space, a user's function.
        """
        self._named = {space: name for space, name in (conflicts or {}).items() if name != "lww"}
        self._by_space: dict[str, Policy] = {space: BY_NAME[name] for space, name in self._named.items()}
        for space, merge in (merges or {}).items():
            self._named[space] = "a function"
            self._by_space[space] = Merged(merge)

    def of(self, key: str) -> Policy:
        return self._by_space.get(space_of(key), LAST_WRITER) if self._by_space else LAST_WRITER

    def name(self, key: str) -> str:
        """For people."""
        return self._named.get(space_of(key), "lww")

    def concern(self, writes: Sequence[Write]) -> bool:
        """Whether one of these writes must be checked and settled; hardly ever, and quick to tell."""
        return bool(self._by_space) and any(space_of(write.key) in self._by_space for write in writes)

    def settled(self, write: Write, siblings: Sequence[Record], origin: Origin) -> Write:
        """The write as it goes into its record: checked, and with what a stateful policy makes of it.

        Raises:
            UnfitError: its space cannot take this value.
        """
        if write.kind == TOMBSTONE:
            return write
        policy = self.of(write.key)
        try:
            policy.check(write)
            if not policy.is_stateful:
                return write
            seen, context = _seen(policy, write, siblings)
            content_type, data = policy.stored(write, seen, origin)
        except Misfit as error:
            raise UnfitError(write.key, self.name(write.key), str(error)) from None
        return msgspec.structs.replace(
            write, inline=data, size=len(data), digest=blake3(data).digest(), content_type=content_type,
            context=context,
        )  # fmt: skip


def _seen(
    policy: Policy, write: Write, siblings: Sequence[Record]
) -> tuple[Sequence[Record], Context | None]:
    """The siblings that the writer counts as having seen, and the context that says so."""
    if write.add is not None:
        seen = policy.relevant(siblings)
        # Not folded into a base, which could take in one that is to stay beside.
        return seen, _exactly(seen) if len(seen) < len(siblings) else None
    if write.context is None or not policy.takes_context:
        return siblings, None
    return [s for s in siblings if covers(write.context, s.author, s.sequence)], write.context


def _exactly(seen: Sequence[Record]) -> Context:
    return join([record.context for record in seen], [record.dot for record in seen], lambda author: 0)
