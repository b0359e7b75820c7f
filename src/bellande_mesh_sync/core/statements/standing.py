"""Which revocations count, where one may have been signed by somebody who is revoked himself.

A revocation names the statements of its subject that go on counting. Whatever else the subject signs, before
or after and whatever time it claims, does not: so a stolen key is worth nothing once it is revoked.
"""

from __future__ import annotations

from collections.abc import Sequence

from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.statement import AUTHORITY, Judged, StatementId
from bellande_mesh_sync.ids import NodeId


def counted(stated: Sequence[tuple[StatementId, Judged]]) -> list[tuple[StatementId, Judged]]:
    """Those of these revocations that count. The same for equal sets, whatever the order.

    What the authority signed counts. Another one counts unless its signer is revoked by one that counts and
    that does not name it. Admins that revoke each other are all out: to be wrong on that side costs a machine
    and not the mesh, and the authority can settle it.

    Cost: O(n), and for signers who are revoked O(their revocations times those of them).
    """
    against: dict[NodeId, list[tuple[StatementId, frozenset[StatementId]]]] = {}
    for name, judged in stated:
        named = frozenset(revocation.read(judged.statement).statements)
        against.setdefault(NodeId(judged.statement.subject), []).append((name, named))
    cutters = {
        name: [other for other, named in against.get(judged.statement.signer, ()) if name not in named]
        for name, judged in stated
        if judged.rank != AUTHORITY
    }
    verdicts: dict[StatementId, bool] = {name: True for name, _ in stated if not cutters.get(name)}
    open_ones = [name for name, _ in stated if name not in verdicts]
    while True:
        for name in open_ones:
            known = [verdicts.get(other) for other in cutters[name]]
            if True in known:
                verdicts[name] = False
            elif None not in known:
                verdicts[name] = True
        left = [name for name in open_ones if name not in verdicts]
        if len(left) == len(open_ones):
            break
        open_ones = left
    return [each for each in stated if verdicts.get(each[0], True)]
