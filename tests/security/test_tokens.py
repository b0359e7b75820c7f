"""A join token is whole or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import ExpiredTokenError, InvalidTokenError
from bellande_mesh_sync.security.tokens import JoinToken, make_token, parse_token, proof_of, secret_key

TOKEN = make_token(
    mesh_id=bytes(range(16)),
    authority_key=bytes(range(32)),
    expires_s=2_000_000_000,
    addresses=["10.0.0.7:8002", "[fd00::7]:8002", "crane-1.example:443"],
)
TEXT = TOKEN.text()
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
addresses = st.builds("10.0.{}.{}:{}".format, *[st.integers(0, 255)] * 2, st.integers(1, 65_535))


@given(
    mesh_id=st.binary(min_size=16, max_size=16),
    authority_key=st.binary(min_size=32, max_size=32),
    expires_s=st.integers(0, 1 << 40),
    where=st.lists(addresses, min_size=1, max_size=8),
)
def test_what_is_made_is_what_is_read(
    mesh_id: bytes, authority_key: bytes, expires_s: int, where: list[str]
) -> None:
    token = make_token(mesh_id=mesh_id, authority_key=authority_key, expires_s=expires_s, addresses=where)
    assert parse_token(token.text()) == token


def test_a_token_is_one_word_in_any_case_with_spaces_around() -> None:
    assert TEXT.isalnum()
    assert parse_token(f"  {TEXT.upper()}\n") == TOKEN


def _parsed(text: str) -> JoinToken | None:
    try:
        return parse_token(text)
    except InvalidTokenError:
        return None


@given(position=st.integers(0, len(TEXT) - 1), letter=st.sampled_from(LETTERS + "0189-_ \n="))
def test_a_mistyped_letter_is_refused(position: int, letter: str) -> None:
    mistyped = TEXT[:position] + letter + TEXT[position + 1 :]
    assert _parsed(mistyped) is None or mistyped.strip() == TEXT


@given(start=st.integers(0, len(TEXT)), end=st.integers(0, len(TEXT)))
def test_a_part_of_a_token_is_refused(start: int, end: int) -> None:
    part = TEXT[start:end]
    assert _parsed(part) is None or part == TEXT


@given(position=st.integers(0, len(TEXT)), more=st.text(alphabet=LETTERS, min_size=1, max_size=20))
def test_a_token_with_something_in_it_is_refused(position: int, more: str) -> None:
    assert _parsed(TEXT[:position] + more + TEXT[position:]) is None


@given(st.text() | st.text(alphabet=LETTERS).map("bms1".__add__) | st.binary().map(repr))
def test_any_other_text_is_refused(text: str) -> None:
    assert _parsed(text) is None


def test_a_very_long_text_is_refused() -> None:
    with pytest.raises(InvalidTokenError, match="too long"):
        parse_token("bms1" + "a" * 1_000_000)


def test_an_expired_token_says_since_when() -> None:
    TOKEN.check_expiry(1_999_999_999)
    with pytest.raises(ExpiredTokenError, match="expired 1 d 1 h ago"):
        TOKEN.check_expiry(2_000_000_000 + 90_000)


def test_the_secret_is_not_shown_by_accident() -> None:
    assert TOKEN.secret.hex() not in repr(TOKEN)
    assert repr(TOKEN.secret) not in repr(TOKEN)


def test_a_proof_is_good_for_one_secret_one_server_and_one_request() -> None:
    proofs = {
        proof_of(secret_key(secret), server, request)
        for secret in (b"s", b"t")
        for server in (b"server", b"other")
        for request in (b"csr", b"another")
    }
    assert len(proofs) == 8
