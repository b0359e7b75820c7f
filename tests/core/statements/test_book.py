"""The set of statements."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.statements import book as books
from bellande_mesh_sync.core.statements import revocation
from bellande_mesh_sync.core.statements.book import StatementBook
from bellande_mesh_sync.core.statements.kinds import fault_of
from bellande_mesh_sync.core.statements.revocation import CutLine, Revocation
from bellande_mesh_sync.core.statements.statement import Judged, Statement, StatementId, id_of
from bellande_mesh_sync.ids import NodeId, Shard
from bellande_mesh_sync.sim.identity import make_identity
from bellande_mesh_sync.sim.statements import judge_all, state, state_as


def said(number: int, *, body: bytes = b"") -> Judged:
    subject = number.to_bytes(32, "big")
    return state(revocation.KIND, subject, body or revocation.body_of(Revocation("", "", ())), number)


def test_equal_sets_have_equal_digests_whatever_the_order() -> None:
    first, second = StatementBook(), StatementBook()
    for number in (1, 2, 3):
        assert first.add(said(number))
    for number in (3, 1, 2):
        assert second.add(said(number))
    assert first.digest == second.digest != StatementBook().digest
    assert first.ids() == second.ids()
    assert not first.add(said(2)), "it is there"
    assert len(first) == 3


def test_what_is_missing_and_what_is_held_is_told_by_id() -> None:
    book = StatementBook([said(1)])
    one, two = id_of(said(1).statement), id_of(said(2).statement)
    assert one in book
    assert book.missing([one, two]) == [two]
    assert book.statements([two, one]) == [said(1).statement]
    assert book.signed_by(said(1).statement.signer) == (one,)
    assert book.signed_by(NodeId(bytes(32))) == ()


def test_a_signer_has_only_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(books, "PER_SIGNER_MAX", 2)
    book = StatementBook([said(1)])
    assert book.room_for(said(2).statement) == ""
    book.add(said(2))
    assert "2 statements" in book.room_for(said(3).statement)
    other = state_as(make_identity(1, 1), "admin", revocation.KIND, bytes(32), b"", 1)
    assert book.room_for(other.statement) == "", "one that floods takes nobody else's room"
    monkeypatch.setattr(books, "PER_SIGNER_BYTES_MAX", 300)
    assert "bytes" in book.room_for(
        said(1, body=bytes(200)).statement.__class__("k", b"", bytes(200), 1, NodeId(b"x" * 32), b"")
    )
    monkeypatch.setattr(books, "STATEMENTS_MAX", 2)
    assert "a mesh" in book.room_for(Statement("k", b"", b"", 1, NodeId(b"x" * 32), b""))


@pytest.mark.parametrize("rank", ["writer", "reader", "observer"])
def test_only_the_authority_and_admins_may_revoke(rank: str) -> None:
    body = revocation.body_of(Revocation("lost", "bob", (CutLine(Shard("fleet/0"), b"12345678", 7),)))
    me = make_identity(1, 1)
    assert fault_of(state(revocation.KIND, bytes(32), body, 1)) == ""
    assert fault_of(state_as(me, "admin", revocation.KIND, bytes(32), body, 1)) == ""
    assert rank in fault_of(state_as(me, rank, revocation.KIND, bytes(32), body, 1))


@pytest.mark.parametrize("rank", ["authority", "admin", "writer"])
def test_a_kind_of_a_later_version_is_kept_if_an_issuer_made_it(rank: str) -> None:
    statement = Statement("later", b"", b"", 1, NodeId(bytes(32)), b"")
    assert (fault_of(Judged(statement, rank)) == "") == (rank != "writer")


def cut(shard: str = "a/0", epoch: bytes = b"12345678", last: int = 1) -> bytes:
    return revocation.body_of(Revocation("", "", (CutLine(Shard(shard), epoch, last),)))


BAD = {
    "a body that is none": (bytes(32), b"\xc1"),
    "a subject that is no node": (b"short", revocation.body_of(Revocation("", "", ()))),
    "an epoch of 7 bytes": (bytes(32), cut(epoch=b"1234567")),
    "a cut at nothing": (bytes(32), cut(last=0)),
    "a shard's name without end": (bytes(32), cut(shard="a" * 2_000)),
    "a reason that cannot be printed": (bytes(32), revocation.body_of(Revocation("a\nb", "", ()))),
    "a long reason": (bytes(32), revocation.body_of(Revocation("x" * 1_025, "", ()))),
    "an id that is none": (bytes(32), revocation.body_of(Revocation("", "", (), (StatementId(b"x"),)))),
}


@pytest.mark.parametrize("name", BAD)
def test_a_revocation_that_says_nothing_sensible_does_not_count(name: str) -> None:
    subject, body = BAD[name]
    assert fault_of(state(revocation.KIND, subject, body, 1))


def test_a_revocation_is_read_as_it_was_made() -> None:
    made = Revocation("lost", "bob", (CutLine(Shard("fleet/0"), b"12345678", 7),), (StatementId(bytes(32)),))
    assert revocation.read(state(revocation.KIND, bytes(32), revocation.body_of(made), 1).statement) == made


def test_toy_signatures_hold_as_real_ones_do() -> None:
    good = said(1).statement
    member = state_as(make_identity(1, 1), "admin", revocation.KIND, bytes(32), b"", 1)
    assert judge_all([good, member.statement]) == ((said(1), member), ())
    forged = Statement(good.kind, good.subject, b"other", good.issued_ms, good.signer, b"", good.signature)
    assert judge_all([forged])[0] == ()
