"""An invitation lets in as many as it says, for as long as it says, whoever races for it."""

from __future__ import annotations

import multiprocessing
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from bellande_mesh_sync.errors import (
    BellandeMeshError,
    ConfigError,
    ExpiredTokenError,
    InvalidTokenError,
    TooManyAttemptsError,
    UsedTokenError,
)
from bellande_mesh_sync.security.authority import Authority
from bellande_mesh_sync.security.identity import new_key
from bellande_mesh_sync.security.invites import InviteBook
from bellande_mesh_sync.security.tokens import JoinToken, parse_token, proof_of, secret_key

AUTHORITY = Authority.create("harbour")
SERVER_DER = b"the server's certificate"
NOW = 1_700_000_000.0


def request_for(key: Ed25519PrivateKey) -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, None)


def invited(book: InviteBook, *, uses: int = 1, expires_s: float = 3600, role: str = "writer") -> JoinToken:
    return parse_token(book.create(role, expires_s, uses, ["127.0.0.1:8002"], AUTHORITY, now=NOW))


def redeem(
    book: InviteBook,
    token: JoinToken,
    *,
    key: Ed25519PrivateKey | None = None,
    proof: bytes | None = None,
    token_id: str | None = None,
    server_der: bytes = SERVER_DER,
    address: str = "10.0.0.9",
    now: float = NOW,
) -> str:
    csr = request_for(key or new_key())
    made = proof_of(secret_key(token.secret), server_der, csr.public_bytes(Encoding.DER))
    return book.redeem(
        token_id or token.token_id,
        made if proof is None else proof,
        csr.public_bytes(Encoding.PEM),
        SERVER_DER,
        address,
        now,
    ).role


@pytest.fixture
def book(tmp_path: Path) -> InviteBook:
    return InviteBook(tmp_path / "invites")


def test_the_holder_of_a_token_gets_its_role_once(book: InviteBook) -> None:
    token = invited(book, role="reader")
    assert redeem(book, token) == "reader"
    with pytest.raises(UsedTokenError):
        redeem(book, token)


def test_a_node_whose_answer_got_lost_may_ask_again(book: InviteBook) -> None:
    token, key = invited(book), new_key()
    assert redeem(book, token, key=key) == redeem(book, token, key=key) == "writer"
    with pytest.raises(UsedTokenError):
        redeem(book, token)


def test_uses_are_counted_across_restarts(tmp_path: Path) -> None:
    token = invited(InviteBook(tmp_path), uses=3)
    for _ in range(3):
        redeem(InviteBook(tmp_path), token)
    with pytest.raises(UsedTokenError):
        redeem(InviteBook(tmp_path), token)


def test_an_invitation_made_by_another_process_counts_at_once(tmp_path: Path) -> None:
    running = InviteBook(tmp_path)
    token = invited(InviteBook(tmp_path))
    assert redeem(running, token) == "writer"


def test_an_expired_invitation_is_refused_to_the_holder_of_its_secret_only(book: InviteBook) -> None:
    token = invited(book, expires_s=60)
    with pytest.raises(ExpiredTokenError, match="expired 1 min ago"):
        redeem(book, token, now=NOW + 120)
    with pytest.raises(InvalidTokenError):
        redeem(book, token, proof=bytes(32), now=NOW + 120)


def test_an_unknown_token_and_a_wrong_proof_look_the_same(book: InviteBook) -> None:
    token = invited(book)
    with pytest.raises(InvalidTokenError) as unknown:
        redeem(book, token, token_id="00" * 8)
    with pytest.raises(InvalidTokenError) as wrong:
        redeem(book, token, proof=bytes(32))
    assert str(unknown.value) == str(wrong.value)


def test_the_stand_in_for_an_unknown_token_lets_nobody_in(book: InviteBook) -> None:
    """Even whoever knew the stand-in's secret meets a token that does not exist."""
    csr = request_for(new_key())
    key = bytes.fromhex(msgspec.json.decode(book._decoy)["secret_hash"])
    proof = proof_of(key, SERVER_DER, csr.public_bytes(Encoding.DER))
    with pytest.raises(InvalidTokenError):
        book.redeem("0" * 16, proof, csr.public_bytes(Encoding.PEM), SERVER_DER, "a", NOW)


@pytest.mark.parametrize(
    "token_id", ["", "../../etc/passwd", "A" * 16, "0" * 15, "0" * 17, "\0" * 16, "٣" * 16]
)
def test_an_id_that_no_token_has_is_refused_before_any_file_is_looked_for(
    book: InviteBook, token_id: str
) -> None:
    token = invited(book)
    with pytest.raises(InvalidTokenError):
        book.redeem(token_id, bytes(32), request_for(new_key()).public_bytes(Encoding.PEM), b"", "a", NOW)
    assert redeem(book, token) == "writer"


def test_a_proof_made_for_another_server_is_refused(book: InviteBook) -> None:
    with pytest.raises(InvalidTokenError):
        redeem(book, invited(book), server_der=b"a member in the middle")


def test_a_proof_made_for_another_request_is_refused(book: InviteBook) -> None:
    token = invited(book)
    other = request_for(new_key()).public_bytes(Encoding.DER)
    with pytest.raises(InvalidTokenError):
        redeem(book, token, proof=proof_of(secret_key(token.secret), SERVER_DER, other))


def test_the_token_of_another_mesh_is_refused(book: InviteBook, tmp_path: Path) -> None:
    with pytest.raises(InvalidTokenError):
        redeem(book, invited(InviteBook(tmp_path / "other")))


def test_a_request_that_is_not_signed_by_its_own_key_is_refused(book: InviteBook) -> None:
    token = invited(book)
    der = bytearray(request_for(new_key()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    csr = x509.load_der_x509_csr(bytes(der))
    proof = proof_of(secret_key(token.secret), SERVER_DER, bytes(der))
    with pytest.raises(InvalidTokenError, match="not signed by its own key"):
        book.redeem(token.token_id, proof, csr.public_bytes(Encoding.PEM), SERVER_DER, "a", NOW)


def test_a_request_with_another_kind_of_key_is_refused(book: InviteBook) -> None:
    token, builder = invited(book), x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    csr = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256())
    proof = proof_of(secret_key(token.secret), SERVER_DER, csr.public_bytes(Encoding.DER))
    with pytest.raises(InvalidTokenError, match="cannot be read"):
        book.redeem(token.token_id, proof, csr.public_bytes(Encoding.PEM), SERVER_DER, "a", NOW)


@pytest.mark.parametrize(
    "csr", [b"", b"not a request", b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n", b"x" * 10_000]
)
def test_bytes_that_are_no_request_are_refused(book: InviteBook, csr: bytes) -> None:
    with pytest.raises(InvalidTokenError):
        book.redeem(invited(book).token_id, bytes(32), csr, SERVER_DER, "a", NOW)


def test_the_sixth_failure_of_an_address_within_a_minute_is_not_even_looked_at(book: InviteBook) -> None:
    token = invited(book, uses=5)
    for second in range(5):
        with pytest.raises(InvalidTokenError):
            redeem(book, token, proof=bytes(32), now=NOW + second)
    with pytest.raises(TooManyAttemptsError) as caught:
        redeem(book, token, now=NOW + 10)
    assert caught.value.wait_s == 50
    assert redeem(book, token, address="10.0.0.10", now=NOW + 10) == "writer", "others are not held up"
    assert redeem(book, token, now=NOW + 60) == "writer", "the first failure is a minute old"


def test_ten_thousand_guesses_from_one_ipv6_network_are_one_guesser(book: InviteBook) -> None:
    token = invited(book)
    answers = []
    for host in range(100):
        with pytest.raises(BellandeMeshError) as caught:
            redeem(book, token, proof=bytes(32), address=f"2001:db8::{host:x}")
        answers.append(type(caught.value))
    assert answers == [InvalidTokenError] * 5 + [TooManyAttemptsError] * 95


def test_the_list_of_guessers_is_bounded(
    book: InviteBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bellande_mesh_sync.security.guesses.NETWORKS_MAX", 10)
    token = invited(book)
    for host in range(50):
        with pytest.raises(InvalidTokenError):
            redeem(book, token, proof=bytes(32), address=f"10.0.1.{host}")
    assert len(msgspec.json.decode((tmp_path / "invites" / "failures").read_bytes())) == 10


def test_a_restart_forgives_no_guesses(book: InviteBook, tmp_path: Path) -> None:
    token = invited(book)
    for _ in range(5):
        with pytest.raises(InvalidTokenError):
            redeem(InviteBook(tmp_path / "invites"), token, proof=bytes(32))
    with pytest.raises(TooManyAttemptsError):
        redeem(InviteBook(tmp_path / "invites"), token)


def test_a_clock_set_back_holds_nobody_up_for_ever(book: InviteBook) -> None:
    token = invited(book)
    for _ in range(5):
        with pytest.raises(InvalidTokenError):
            redeem(book, token, proof=bytes(32), now=NOW + 1e6)
    assert redeem(book, token) == "writer"


def test_an_ipv4_address_in_ipv6_dress_is_the_same_guesser(book: InviteBook) -> None:
    token = invited(book)
    for index in range(5):
        with pytest.raises(InvalidTokenError):
            redeem(book, token, proof=bytes(32), address=("10.0.0.7", "::ffff:10.0.0.7")[index % 2])
    with pytest.raises(TooManyAttemptsError):
        redeem(book, token, address="10.0.0.7")


def test_right_proofs_are_never_counted_as_guesses(book: InviteBook) -> None:
    token = invited(book)
    redeem(book, token)
    for _ in range(10):
        with pytest.raises(UsedTokenError):
            redeem(book, token)


def _outcome(book: InviteBook, token: JoinToken) -> str:
    try:
        return redeem(book, token)
    except BellandeMeshError as error:
        return error.code


def _outcome_in_process(folder: Path, text: str) -> str:
    return _outcome(InviteBook(folder), parse_token(text))


def test_of_twenty_threads_with_a_single_use_token_one_comes_in(book: InviteBook) -> None:
    token = invited(book)
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda _: _outcome(book, token), range(20)))
    assert sorted(outcomes) == ["token_used"] * 19 + ["writer"]


def test_of_twenty_requests_in_four_processes_with_a_single_use_token_one_comes_in(tmp_path: Path) -> None:
    text = InviteBook(tmp_path).create("writer", 3600, 1, ["127.0.0.1:8002"], AUTHORITY, now=NOW)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        outcomes = pool.starmap(_outcome_in_process, [(tmp_path, text)] * 20)
    assert sorted(outcomes) == ["token_used"] * 19 + ["writer"]


def test_a_revoked_invitation_is_worthless(book: InviteBook) -> None:
    token = invited(book)
    assert book.revoke(token.token_id)
    assert not book.revoke(token.token_id)
    with pytest.raises(InvalidTokenError):
        redeem(book, token)


def test_files_hold_no_secret_and_are_for_this_user_only(book: InviteBook, tmp_path: Path) -> None:
    token = invited(book)
    files = [path for path in (tmp_path / "invites").iterdir() if path.suffix == ".json"]
    assert [path.stem for path in files] == [token.token_id]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "invites").stat().st_mode) == 0o700
    assert token.secret.hex() not in files[0].read_text()


def test_a_damaged_file_lets_nobody_in_and_stops_nothing_else(book: InviteBook, tmp_path: Path) -> None:
    damaged, fine = invited(book), invited(book)
    path = tmp_path / "invites" / f"{damaged.token_id}.json"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InvalidTokenError):
        redeem(book, damaged)
    assert redeem(book, fine) == "writer"
    assert [invite.token_id for invite in book.invites()] == [fine.token_id]


def test_invitations_long_expired_are_swept_away(book: InviteBook) -> None:
    old = invited(book, expires_s=60)
    late = NOW + 8 * 86_400
    book.create("writer", 60, 1, ["127.0.0.1:8002"], AUTHORITY, now=late)
    assert old.token_id not in [invite.token_id for invite in book.invites()]


@pytest.mark.parametrize(
    ("role", "expires_s", "uses", "addresses", "field"),
    [
        ("root", 60, 1, ["a:1"], "role"),
        ("writer", 0, 1, ["a:1"], "expires"),
        ("writer", 400 * 86_400, 1, ["a:1"], "expires"),
        ("writer", 60, 0, ["a:1"], "uses"),
        ("writer", 60, 1, [], "addresses"),
        ("writer", 60, 1, ["nowhere"], "addresses"),
    ],
)
def test_an_invitation_out_of_range_is_refused_by_field(
    book: InviteBook, role: str, expires_s: float, uses: int, addresses: list[str], field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        book.create(role, expires_s, uses, addresses, AUTHORITY)
    assert caught.value.field == field
