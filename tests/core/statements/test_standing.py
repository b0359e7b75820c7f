"""Which revocations count, and how far a revoked node's writes do."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.revocation import CutLine, Revocation
from bellande_mesh_sync.core.statements.revocations import Revocations, cut_of
from bellande_mesh_sync.core.statements.standing import counted
from bellande_mesh_sync.core.statements.statement import Judged, StatementId, id_of
from bellande_mesh_sync.ids import NodeId, Now, Shard, author_of
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.statements import state, state_as

A, B, C, D = (make_identity(7, index) for index in range(4))
SHARD = Shard("fleet/0")
EPOCH = b"epoch-01"


def revoke(
    by: object, subject: NodeId, *, named: Sequence[Judged] = (), issued_ms: int = 1, last: int = 0
) -> Judged:
    """`by`: an admin, or None for the authority."""
    cut = (CutLine(SHARD, EPOCH, last),) if last else ()
    names: tuple[StatementId, ...] = tuple(id_of(each.statement) for each in named)
    body = revocation.body_of(Revocation("lost", "name", cut, names))
    if by is None:
        return state(revocation.KIND, subject, body, issued_ms)
    return state_as(by, "admin", revocation.KIND, subject, body, issued_ms)  # type: ignore[arg-type]


def revoked(*stated: Judged) -> set[NodeId]:
    """Who is revoked by these, whatever their order."""
    found: set[frozenset[NodeId]] = set()
    for order in itertools.permutations(stated):
        names = [(id_of(each.statement), each) for each in order]
        found.add(frozenset(NodeId(judged.statement.subject) for _, judged in counted(names)))
    (only,) = found
    return set(only)


def test_what_an_admin_or_the_authority_revokes_is_revoked() -> None:
    assert revoked(revoke(A, B.node), revoke(None, C.node)) == {B.node, C.node}


def test_what_a_revoked_admin_signs_does_not_count_whatever_time_it_claims() -> None:
    stolen = revoke(B, C.node, issued_ms=0)
    assert revoked(revoke(A, B.node, issued_ms=5), stolen) == {B.node}


def test_what_it_had_signed_before_goes_on_counting() -> None:
    before = revoke(B, C.node)
    assert revoked(before, revoke(A, B.node, named=[before])) == {B.node, C.node}


def test_admins_that_revoke_each_other_are_both_out() -> None:
    assert revoked(revoke(A, B.node), revoke(B, A.node)) == {A.node, B.node}
    circle = [revoke(A, B.node), revoke(B, C.node), revoke(C, A.node)]
    assert revoked(*circle) == {A.node, B.node, C.node}


def test_the_authority_settles_it() -> None:
    wrong = revoke(B, A.node)
    right = revoke(A, B.node)
    assert revoked(right, wrong, revoke(None, B.node)) == {B.node}


def test_nobody_revokes_the_authority() -> None:
    said = revoke(None, C.node)
    assert revoked(said, revoke(A, said.statement.signer)) == {C.node, said.statement.signer}


def test_who_was_revoked_by_one_that_is_void_is_not_revoked() -> None:
    assert revoked(revoke(None, A.node), revoke(A, B.node), revoke(B, C.node)) == {A.node, C.node}


@pytest.mark.parametrize(("sequence", "counts"), [(1, True), (7, True), (8, False)])
def test_writes_count_up_to_the_cut(sequence: int, counts: bool) -> None:
    found = Revocations(StatementBook([revoke(None, B.node, last=7)]))
    assert found.counts(SHARD, author_of(B.node, EPOCH), sequence) == counts
    assert not found.counts(SHARD, author_of(B.node, b"epoch-02"), sequence), "an epoch nobody knew of"
    assert not found.counts(Shard("other/0"), author_of(B.node, EPOCH), sequence)
    assert found.counts(SHARD, author_of(C.node, EPOCH), sequence), "another node's"


def test_of_dots_those_beyond_the_cut_are_told() -> None:
    found = Revocations(StatementBook([revoke(None, B.node, last=7)]))
    mine, late = author_of(B.node, EPOCH), author_of(B.node, b"epoch-02")
    other = author_of(C.node, EPOCH)
    dots = ((mine, ((1, 5), (7, 9), (12, 13))), (late, ((1, 2),)), (other, ((1, 99),)))
    assert found.beyond(SHARD, dots) == ((mine, ((8, 9), (12, 13))), (late, ((1, 2),)))
    assert Revocations(StatementBook()).beyond(SHARD, dots) == ()


def test_of_two_cuts_the_farther_counts_in_any_order() -> None:
    for stated in itertools.permutations([revoke(None, B.node, last=3), revoke(A, B.node, last=7)]):
        found = Revocations(StatementBook(stated))
        assert found.counts(SHARD, author_of(B.node, EPOCH), 7)


def test_the_cut_is_what_is_known_of_the_node() -> None:
    mine, other = author_of(B.node, EPOCH), author_of(C.node, EPOCH)
    shards = [(SHARD, ((mine, ((1, 4), (6, 9))), (other, ((1, 3),)))), (Shard("b/0"), ((other, ((1, 1),)),))]
    assert cut_of(shards, B.node) == (CutLine(SHARD, EPOCH, 9),)


def test_notes_of_what_was_refused_outlast_further_statements() -> None:
    book = StatementBook([revoke(None, B.node, last=3)])
    found = Revocations(book)
    found.refused_link(B.node, Now(1, 77))
    found.refused_record(author_of(B.node, EPOCH), Now(1, 78))
    book.add(revoke(A, B.node, last=2))
    assert found.read_again(100) == [], "nothing changed"
    known = found.get(B.node)
    assert known is not None
    assert (known.refused.links, known.refused.records, known.refused.last_ms) == (1, 1, 78)
    book.add(revoke(A, B.node, last=9))
    assert [each.node for each in found.read_again(100)] == [B.node], "its cut is another"
