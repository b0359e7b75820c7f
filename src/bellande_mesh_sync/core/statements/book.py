"""The set of statements that a node holds. It only grows, and by no more than it may."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from blake3 import blake3

from bellande_mesh_sync.core.statements.statement import Judged, Statement, StatementId, id_of, size_of
from bellande_mesh_sync.ids import NodeId

STATEMENTS_MAX: Final = 16_384
PER_SIGNER_MAX: Final = 1_024
PER_SIGNER_BYTES_MAX: Final = 8 << 20
"""What one signer may lay down for ever. An honest one says a few dozen things in a mesh's life."""


class StatementBook:
    """Statements by id. Nothing takes one out again."""

    def __init__(self, stored: Iterable[Judged] = ()) -> None:
        self._held: dict[StatementId, Judged] = {}
        self._counts: dict[NodeId, int] = {}
        self._bytes: dict[NodeId, int] = {}
        self._digest: bytes | None = None
        for judged in stored:
            self._put(id_of(judged.statement), judged)

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, statement: StatementId) -> bool:
        return statement in self._held

    def room_for(self, statement: Statement) -> str:
        """Why there is none; "" if there is."""
        signer = statement.signer
        if self._counts.get(signer, 0) >= PER_SIGNER_MAX:
            return f"one signer may make {PER_SIGNER_MAX} statements"
        if self._bytes.get(signer, 0) + size_of(statement) > PER_SIGNER_BYTES_MAX:
            return f"one signer's statements may have {PER_SIGNER_BYTES_MAX} bytes together"
        if len(self._held) >= STATEMENTS_MAX:
            return f"a mesh may have {STATEMENTS_MAX} statements"
        return ""

    def add(self, judged: Judged) -> bool:
        """Whether it is new. The caller has seen to it that it counts, and that there is room."""
        statement = id_of(judged.statement)
        if statement in self._held:
            return False
        self._put(statement, judged)
        return True

    def _put(self, statement: StatementId, judged: Judged) -> None:
        signer = judged.statement.signer
        self._held[statement] = judged
        self._counts[signer] = self._counts.get(signer, 0) + 1
        self._bytes[signer] = self._bytes.get(signer, 0) + size_of(judged.statement)
        self._digest = None

    def all(self) -> list[tuple[StatementId, Judged]]:
        """In the order of their ids, which is the same on every node."""
        return sorted(self._held.items(), key=lambda item: item[0])

    def of_kind(self, kind: str) -> list[tuple[StatementId, Judged]]:
        """In the order of their ids. Cost: O(all statements)."""
        return [each for each in self.all() if each[1].statement.kind == kind]

    def ids(self) -> tuple[StatementId, ...]:
        return tuple(sorted(self._held))

    def signed_by(self, signer: NodeId) -> tuple[StatementId, ...]:
        """The ids of this signer's statements, sorted."""
        return tuple(sorted(each for each, held in self._held.items() if held.statement.signer == signer))

    def statements(self, wanted: Iterable[StatementId]) -> list[Statement]:
        """Those of these that are held."""
        found = (self._held.get(each) for each in wanted)
        return [judged.statement for judged in found if judged is not None]

    def missing(self, ids: Sequence[StatementId]) -> list[StatementId]:
        return [each for each in ids if each not in self._held]

    @property
    def digest(self) -> bytes:
        """32 bytes; equal sets have equal ones."""
        if self._digest is None:
            self._digest = blake3(b"".join(sorted(self._held))).digest()
        return self._digest
