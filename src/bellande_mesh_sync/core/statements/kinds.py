"""The kinds of statements: who may make each, and when its body is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.statement import AUTHORITY, Judged, Statement

ISSUERS: Final = frozenset({AUTHORITY, "admin"})
"""Who may say what binds everybody: the authority itself, and members that it has made admins."""


class Kind(NamedTuple):
    signers: frozenset[str]
    """Ranks that may make such a statement."""
    fault: Callable[[Statement], str]
    """Why subject and body are not of this kind; "" if they are."""


KINDS: Final[Mapping[str, Kind]] = {revocation.KIND: Kind(ISSUERS, revocation.fault_of)}


def fault_of(judged: Judged) -> str:
    """Why such a statement does not count, whoever brings it; "" if it does. The same on every node.

    A kind that only a later version knows is kept and passed on all the same, if an issuer made it: the
    set must be one, and a node that is upgraded then has it.
    """
    kind = KINDS.get(judged.statement.kind)
    signers = ISSUERS if kind is None else kind.signers
    if judged.rank not in signers:
        return f"a {judged.rank} may not make statements of the kind {judged.statement.kind!r}"
    return "" if kind is None else kind.fault(judged.statement)
