"""Statements as they must be: none forged, none lost, and in the end the same ones everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.core.statements.statement import Judged, Statement
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

    def check_at_rest(self, disks: Sequence[Disk]) -> None:
        """What one of them has confirmed and has not lost with its disk, all have."""
        for disk in disks:
            self.check_disk(disk)
            there = {each.statement for each in disk.platter.statements.values()}
            settled = {each.index for each in disks}
            lost = [each for each, where in self._durable.items() if where & settled and each not in there]
            if lost:
                raise Violation("statements", f"n{disk.index}", f"{len(lost)} confirmed statements are gone")
