"""Revoked nodes, as people and programs see them."""

from __future__ import annotations

from bellande_mesh_sync.core.statements.revocations import Revocations, RevokedNode
from bellande_mesh_sync.values import RevocationView


def revocation_view(found: RevokedNode) -> RevocationView:
    refused = found.refused
    return RevocationView(
        node=found.node.hex(),
        name=found.name,
        reason=found.reason,
        by=found.by.hex(),
        issued_ms=found.issued_ms,
        heard_ms=found.taken_ms or None,
        refused_links=refused.links,
        refused_records=refused.records,
        set_aside=refused.set_aside,
        last_refused_ms=refused.last_ms or None,
    )


def revocation_views(revocations: Revocations) -> list[RevocationView]:
    return [revocation_view(found) for found in revocations.all()]
