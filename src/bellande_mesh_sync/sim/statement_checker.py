"""Statements as they must be: none forged, none lost, and in the end the same ones everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.members.member import MemberState
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.statement import Judged, Statement
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard, author_of, node_of
from bellande_mesh_sync.sim.checkers import Disk, Violation


class StatementChecker:
    """Follows what was laid down and what disks hold. Statements are compared as they are, not by id."""

    def __init__(self) -> None:
        self._stated: dict[Statement, str] = {}  # With the rank that its signer has.
        self._held: dict[int, dict[Statement, None]] = {}
        self._durable: dict[Statement, set[int]] = {}
        """On which disks it was said to be, and still must be."""

    def stated(self, judged: Judged) -> None:
        self._stated[judged.statement] = judged.rank

    def durable(self, disk: Disk, judged: Judged) -> None:
        if judged not in disk.platter.statements.values():
            raise Violation("statements", f"n{disk.index}", "a confirmed statement is not on the disk")
        self._durable.setdefault(judged.statement, set()).add(disk.index)

    def applied(self, disk: Disk, batch: Batch) -> None:
        for judged in batch.statements:
            if self._stated.get(judged.statement) != judged.rank:
                raise Violation("statements", f"n{disk.index}", "a statement that nobody made took effect")
            self._held.setdefault(disk.index, {})[judged.statement] = None

    def wiped(self, disk: Disk) -> None:
        """It starts again with what its backup had, or with nothing."""
        self._held[disk.index] = {each.statement: None for each in disk.platter.statements.values()}
        for where in self._durable.values():
            where.discard(disk.index)

    def check_disk(self, disk: Disk) -> None:
        there = {each.statement for each in disk.platter.statements.values()}
        gone = self._held.get(disk.index, {}).keys() - there
        if gone:
            raise Violation("statements", f"n{disk.index}", f"{len(gone)} statements vanished from the disk")

    def differences(self, disks: Sequence[Disk]) -> list[str]:
        """What keeps these from agreeing."""
        held = [{each.statement for each in disk.platter.statements.values()} for disk in disks]
        found = set[Statement]().union(*held)
        return [
            f"n{disk.index} lacks {len(found - mine)} statements"
            for disk, mine in zip(disks, held, strict=True)
            if mine != found
        ]

    # -- revocations; each of a simulated mesh is the authority's, so all of them count

    def is_revoked(self, disk: Disk, shard: Shard, dot: Dot | None) -> bool:
        """Whether a statement on this disk says that this write does not count; with no dot: any write."""
        cuts = _cuts_of(disk)
        if dot is None:
            return bool(cuts)
        cut = cuts.get(node_of(dot.author))
        return cut is not None and dot.sequence > cut.get((shard, dot.author), 0)

    def check_shown(self, disk: Disk, shown: Mapping[NodeId, MemberState]) -> None:
        """Who is revoked is shown as that, and of his writes nothing is known beyond the cut."""
        for node in _cuts_of(disk):
            state = shown.get(node, MemberState.REVOKED)
            if state != MemberState.REVOKED:
                raise Violation("revoked", f"n{disk.index}", f"{node.hex()[:12]} is shown as {state}")
        for shard in sorted(disk.platter.intervals):
            for author, ranges in disk.platter.knowledge(shard):
                if self.is_revoked(disk, shard, Dot(author, ranges[-1][1])):
                    what = f"{author.hex()[:12]} is known up to {ranges[-1][1]} in {shard}"
                    raise Violation("revoked", f"n{disk.index}", what)

    def check_at_rest(self, disks: Sequence[Disk]) -> None:
        """What one of them has confirmed and has not lost with its disk, all have."""
        for disk in disks:
            self.check_disk(disk)
            there = {each.statement for each in disk.platter.statements.values()}
            settled = {each.index for each in disks}
            lost = [each for each, where in self._durable.items() if where & settled and each not in there]
            if lost:
                raise Violation("statements", f"n{disk.index}", f"{len(lost)} confirmed statements are gone")


def _cuts_of(disk: Disk) -> dict[NodeId, dict[tuple[Shard, Author], int]]:
    """Who is revoked by what this disk holds, and up to which number each log of his counts."""
    cuts: dict[NodeId, dict[tuple[Shard, Author], int]] = {}
    for judged in disk.platter.statements.values():
        node = NodeId(judged.statement.subject)
        cut = cuts.setdefault(node, {})
        for line in revocation.read(judged.statement).cut:
            place = (line.shard, author_of(node, line.epoch))
            cut[place] = max(cut.get(place, 0), line.last)
    return cuts
