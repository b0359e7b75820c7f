"""Signed statements, with real keys and certificates."""

from __future__ import annotations

import time
from dataclasses import replace

import msgspec
import pytest

from bellande_mesh_sync.core.statements.statement import AUTHORITY, STATEMENT_BYTES_MAX, Statement
from bellande_mesh_sync.errors import UsageError
from bellande_mesh_sync.security.authority import Authority, found_mesh, new_member
from bellande_mesh_sync.security.certificates import CertificateFault
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.security.statements import StatementJudge, state_as_authority, state_as_member

DAY_MS = 86_400_000


def now_ms() -> int:
    """Asked anew: certificates that are made in a test are valid from about then."""
    return int(time.time() * 1000)


@pytest.fixture(scope="module")
def mesh() -> tuple[Authority, Identity]:
    return found_mesh("fleet", "alice")


def judge(authority: Authority) -> StatementJudge:
    return StatementJudge(authority.certificate_pem)


def test_what_the_authority_states_holds(mesh: tuple[Authority, Identity]) -> None:
    authority, _ = mesh
    made = state_as_authority(authority, "revocation", b"subject", b"body", now_ms())
    assert made.rank == AUTHORITY
    assert judge(authority).judge(made.statement) == made


@pytest.mark.parametrize("role", ["admin", "writer", "reader", "observer"])
def test_what_a_member_states_holds_in_its_role(mesh: tuple[Authority, Identity], role: str) -> None:
    authority, _ = mesh
    made = state_as_member(new_member(authority, "bob", role=role), "rules", b"", b"body", now_ms())
    assert made.rank == role
    assert judge(authority).judge(made.statement) == made


@pytest.mark.parametrize("field", ["kind", "subject", "body", "issued_ms", "signer", "certificate"])
def test_a_change_of_anything_voids_the_signature(mesh: tuple[Authority, Identity], field: str) -> None:
    authority, alice = mesh
    other = state_as_member(new_member(authority, "bob", role="admin"), "rules", b"s", b"b", now_ms() - 1)
    made = state_as_member(alice, "revocation", b"subject", b"body", now_ms()).statement
    changed = msgspec.structs.replace(made, **{field: getattr(other.statement, field)})
    with pytest.raises(CertificateFault):
        judge(authority).judge(changed)


def test_another_meshs_statements_do_not_hold(mesh: tuple[Authority, Identity]) -> None:
    foreign, mallory = found_mesh("fleet", "alice")
    for made in (
        state_as_authority(foreign, "revocation", b"", b"", now_ms()),
        state_as_member(mallory, "revocation", b"", b"", now_ms()),
    ):
        with pytest.raises(CertificateFault):
            judge(mesh[0]).judge(made.statement)


def test_a_member_cannot_speak_as_the_authority(mesh: tuple[Authority, Identity]) -> None:
    authority, alice = mesh
    made = state_as_member(alice, "revocation", b"", b"", now_ms()).statement
    with pytest.raises(CertificateFault, match="no authority"):
        judge(authority).judge(msgspec.structs.replace(made, certificate=b""))


@pytest.mark.parametrize("days", [-2, 40])
def test_a_certificate_counts_for_what_was_said_in_its_time(
    mesh: tuple[Authority, Identity], days: int
) -> None:
    authority, alice = mesh
    made = state_as_member(alice, "revocation", b"", b"", now_ms() + days * DAY_MS).statement
    with pytest.raises(CertificateFault, match="certificate"):
        judge(authority).judge(made)


@pytest.mark.parametrize("issued_ms", [2**62, 253_402_300_800_000])
def test_a_time_that_is_none_is_refused(mesh: tuple[Authority, Identity], issued_ms: int) -> None:
    authority, alice = mesh
    made = state_as_member(alice, "revocation", b"", b"", issued_ms).statement
    with pytest.raises(CertificateFault, match="time"):
        judge(authority).judge(made)


def test_rubbish_for_a_certificate_is_refused(mesh: tuple[Authority, Identity]) -> None:
    authority, alice = mesh
    rubbish = Statement("revocation", b"", b"", now_ms(), alice.node, b"\x30\x82rubbish", bytes(64))
    judged, refused = judge(authority).judge_all([rubbish])
    assert judged == ()
    assert "not a PEM" in refused[0][1]


def test_both_authorities_count_while_one_is_being_replaced(mesh: tuple[Authority, Identity]) -> None:
    authority, _ = mesh
    newer = Authority.create("fleet")
    both = StatementJudge(authority.certificate_pem + newer.certificate_pem)
    made = state_as_authority(newer, "revocation", b"", b"", now_ms())
    assert both.judge(made.statement) == made
    with pytest.raises(CertificateFault):
        judge(authority).judge(made.statement)


def test_a_statement_that_no_peer_would_take_is_not_made(mesh: tuple[Authority, Identity]) -> None:
    authority, alice = mesh
    with pytest.raises(UsageError):
        state_as_authority(authority, "rules", b"", bytes(STATEMENT_BYTES_MAX), now_ms())
    with pytest.raises(UsageError):
        state_as_member(replace(alice), "rules", b"", bytes(STATEMENT_BYTES_MAX), now_ms())
