"""The calls of `Mesh` about nodes that are no members any more."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from bellande_mesh_sync.core import events as on
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.revocation import REASON_BYTES_MAX
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.errors import ForbiddenError, NotFoundError, UsageError
from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId
from bellande_mesh_sync.observe.revocations import revocation_view, revocation_views
from bellande_mesh_sync.security.authority import Authority, holds_authority
from bellande_mesh_sync.security.statements import state_as_authority, state_as_member
from bellande_mesh_sync.shell.assembly import Assembly
from bellande_mesh_sync.shell.runner import now
from bellande_mesh_sync.values import NodeView, RevocationView


class RevocationCalls(ABC):
    @abstractmethod
    def _alive(self) -> Assembly:
        """The node; NotRunningError if it does not run."""

    @abstractmethod
    async def find_node(self, text: str) -> NodeView: ...

    async def revoke(self, node: str, *, reason: str = "") -> RevocationView:
        """Expel a node for good: all members close their links with it, and nothing brings it back.

        What this node knows of its writes at this moment goes on counting; of what it writes beyond, no
        member keeps anything. Returns when that is on this node's disk; it has spread to all linked members
        by then, and on from them. There is no way back: the machine needs a new identity.

        Args:
            node: an id, a name, or a unique start of an id of a member; or the whole id of any node.
            reason: shown to everybody, the node itself among them.

        Raises:
            ForbiddenError: this node neither holds the authority's key nor has the role `admin`.
            UsageError: it is this node itself, or the reason cannot be printed.
            NotFoundError: nobody is known by this name.
        """
        started = self._alive()
        subject = await self._subject(node)
        if subject == started.identity.node:
            raise UsageError(reason="a node cannot revoke itself; let another one do it")
        if len(reason.encode()) > REASON_BYTES_MAX or not reason.isprintable():
            raise UsageError(reason=f"a reason is one line of at most {REASON_BYTES_MAX} bytes")
        authority = await asyncio.to_thread(_authority_of, started)
        # From here to the command nothing is awaited: the cut is what is known when it takes effect.
        judged = _stated(started, authority, subject, reason)
        await started.runner.ask(lambda request: on.AddStatements(request, (judged,)))
        found = self._alive().core.revocations.get(subject)
        assert found is not None, "a revocation took no effect"
        return revocation_view(found)

    async def revocations(self) -> list[RevocationView]:
        """Who was revoked, with what was refused of him here since, in the order of the ids."""
        return revocation_views(self._alive().core.revocations)

    async def _subject(self, text: str) -> NodeId:
        try:
            return NodeId(bytes.fromhex((await self.find_node(text)).node))
        except NotFoundError:
            if len(text) == 2 * NODE_ID_BYTES:
                try:
                    return NodeId(bytes.fromhex(text))
                except ValueError:
                    pass  # A name of that length: it is not known.
            raise


def _authority_of(node: Assembly) -> Authority | None:
    """The authority, where its key is; None where a member's own role has to do. Blocking."""
    identity_dir = node.ground.identity_dir
    if holds_authority(identity_dir):
        return Authority.load(identity_dir)
    if node.identity.role != "admin":
        reason = "only a node with the authority's key, or one with the role admin, can revoke others"
        raise ForbiddenError(reason, needed="admin", role=node.identity.role)
    return None


def _stated(node: Assembly, authority: Authority | None, subject: NodeId, reason: str) -> Judged:
    body = node.core.revocation_body(subject, reason)
    if authority is not None:
        return state_as_authority(authority, revocation.KIND, subject, body, now().wall_ms)
    return state_as_member(node.identity, revocation.KIND, subject, body, now().wall_ms)
