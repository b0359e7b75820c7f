"""Who is revoked, how far his writes count, and what has been refused of him since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.revocation import CutLine, Revocation
from bellande_mesh_sync.core.statements.standing import counted
from bellande_mesh_sync.core.statements.statement import Judged, Statement
from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId, Now, Shard, node_of


class Refusals(Struct):
    """What was refused of one node since this run began."""

    links: int = 0
    records: int = 0
    set_aside: int = 0
    """Writes beyond the cut that had been taken before this node heard of it."""
    last_ms: int = 0
    """When the last of it was; 0: never."""


class RevokedNode(Struct):
    """One node that is no member any more."""

    node: NodeId
    name: str
    reason: str
    by: NodeId
    """Who signed it, or the first of several."""
    issued_ms: int
    statement: Statement
    """One of those that say so: its proof."""
    cut: dict[tuple[Shard, bytes], int]
    """By shard and epoch: up to which number writes count. Of several revocations the farther cut does."""
    taken_ms: int = 0
    """When this node heard of it in this run, or began this run."""
    refused: Refusals = field(default_factory=Refusals)


def cut_of(shards: Iterable[tuple[Shard, Delta]], node: NodeId) -> tuple[CutLine, ...]:
    """How far the writes of a node are known, for a revocation of it. Cost: O(authors of all shards)."""
    return tuple(
        CutLine(shard, author[NODE_ID_BYTES:], ranges[-1][1])
        for shard, dots in shards
        for author, ranges in dots
        if node_of(author) == node and ranges
    )


class Revocations:
    """A function of the statements held, made anew with each that comes."""

    def __init__(self, book: StatementBook) -> None:
        self._book = book
        self._revoked: dict[NodeId, RevokedNode] = {}
        self.read_again(0)

    def read_again(self, now_ms: int) -> list[RevokedNode]:
        """After statements came: whoever is revoked now and was not before, or whose cut is another."""
        before, self._revoked = self._revoked, {}
        for _, judged in counted(self._book.of_kind(revocation.KIND)):
            self._note(judged)
        changed: list[RevokedNode] = []
        for node, found in self._revoked.items():
            known = before.get(node)
            found.taken_ms = known.taken_ms if known else now_ms
            found.refused = known.refused if known else Refusals()
            if known is None or known.cut != found.cut:
                changed.append(found)
        return changed

    def _note(self, judged: Judged) -> None:
        statement, body = judged.statement, revocation.read(judged.statement)
        node = NodeId(statement.subject)
        found = self._revoked.get(node)
        if found is None or statement.issued_ms < found.issued_ms:
            cut = {} if found is None else found.cut
            found = self._revoked[node] = RevokedNode(
                node, body.name, body.reason, statement.signer, statement.issued_ms, statement, cut
            )
        for line in body.cut:
            place = (line.shard, line.epoch)
            found.cut[place] = max(found.cut.get(place, 0), line.last)

    # -- questions

    def __contains__(self, node: NodeId) -> bool:
        return node in self._revoked

    def __bool__(self) -> bool:
        return bool(self._revoked)

    def get(self, node: NodeId) -> RevokedNode | None:
        return self._revoked.get(node)

    def all(self) -> Sequence[RevokedNode]:
        """In the order of their ids."""
        return [self._revoked[node] for node in sorted(self._revoked)]

    @property
    def nodes(self) -> Mapping[NodeId, RevokedNode]:
        return self._revoked

    def proof_against(self, node: NodeId) -> Statement | None:
        """What to show a node that is revoked; None for any other."""
        found = self._revoked.get(node)
        return None if found is None else found.statement

    def beyond(self, shard: Shard, dots: Delta) -> Delta:
        """Those of these dots that do not count. Cost: O(authors), and nothing while nobody is revoked."""
        if not self._revoked:
            return ()
        found = []
        for author, ranges in dots:
            revoked = self._revoked.get(node_of(author))
            if revoked is None:
                continue
            last = revoked.cut.get((shard, author[NODE_ID_BYTES:]), 0)
            rest = tuple((max(low, last + 1), high) for low, high in ranges if high > last)
            if rest:
                found.append((author, rest))
        return tuple(found)

    def counts(self, shard: Shard, author: bytes, sequence: int) -> bool:
        """Whether this write may be taken in."""
        revoked = self._revoked.get(NodeId(author[:NODE_ID_BYTES]))
        return revoked is None or sequence <= revoked.cut.get((shard, author[NODE_ID_BYTES:]), 0)

    def body_for(self, node: NodeId, name: str, reason: str, shards: Iterable[tuple[Shard, Delta]]) -> bytes:
        """The body of a revocation of this node: all that is known of it now goes on counting."""
        return revocation.body_of(Revocation(reason, name, cut_of(shards, node), self._book.signed_by(node)))

    # -- notes

    def refused_link(self, node: NodeId, now: Now) -> None:
        self._revoked[node].refused.links += 1
        self._revoked[node].refused.last_ms = now.wall_ms

    def refused_record(self, author: bytes, now: Now) -> None:
        refused = self._revoked[NodeId(author[:NODE_ID_BYTES])].refused
        refused.records += 1
        refused.last_ms = now.wall_ms

    def was_set_aside(self, author: bytes) -> None:
        self._revoked[NodeId(author[:NODE_ID_BYTES])].refused.set_aside += 1
