"""A node's identity is whole, its own, in date and private, or it is refused with the file's name."""

from __future__ import annotations

import contextlib
import datetime
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bellande_mesh_sync.core.members.member import MemberRecord, is_genuine, signed
from bellande_mesh_sync.errors import ConfigError, IdentityError, NotAMemberError
from bellande_mesh_sync.ids import node_id_of
from bellande_mesh_sync.security.authority import (
    Authority,
    dev_identity,
    found_mesh,
    new_member,
)
from bellande_mesh_sync.security.building import leaf_certificate
from bellande_mesh_sync.security.identity import (
    Identity,
    load_identity,
    new_key,
    public_bytes,
    save_identity,
    verify,
)

AUTHORITY, FOUNDER = found_mesh("harbour", "crane-1")
ISSUED = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "identity"
    save_identity(FOUNDER, folder)
    return folder


def test_what_is_saved_is_what_is_loaded(saved: Path) -> None:
    loaded = load_identity(saved)
    assert loaded == FOUNDER
    assert (loaded.name, loaded.role, loaded.mesh_name) == ("crane-1", "admin", "harbour")
    assert loaded.private_key_pem() == FOUNDER.private_key_pem()
    assert loaded.node == node_id_of(loaded.public_key)


def test_files_are_for_this_user_only_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        save_identity(FOUNDER, tmp_path / "identity")
        AUTHORITY.save(tmp_path / "identity")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "identity").stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "identity").iterdir()}
    assert modes == dict.fromkeys(["node.key", "node.crt", "authority.crt", "authority.key"], 0o600)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o610])
@pytest.mark.parametrize("name", ["node.key", "authority.key"])
def test_a_key_that_others_can_use_is_refused_with_path_and_mode(saved: Path, name: str, mode: int) -> None:
    AUTHORITY.save(saved)
    (saved / name).chmod(mode)
    load: Callable[[Path], object] = load_identity if name == "node.key" else Authority.load
    with pytest.raises(IdentityError) as caught:
        load(saved)
    assert caught.value.path == str(saved / name)
    assert f"{mode:04o}" in str(caught.value)


def test_no_identity_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotAMemberError, match=r"bms init.*bms join"):
        load_identity(tmp_path / "identity")


@pytest.mark.parametrize("name", ["node.key", "node.crt", "authority.crt"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(IdentityError) as caught:
        load_identity(saved)
    assert caught.value.path == str(saved / name)
    assert "missing" in caught.value.reason


@pytest.mark.parametrize("name", ["node.key", "node.crt", "authority.crt"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00" * 40])
def test_a_damaged_file_is_named(saved: Path, name: str, content: bytes) -> None:
    (saved / name).write_bytes(content)
    with pytest.raises(IdentityError) as caught:
        load_identity(saved)
    assert caught.value.path == str(saved / name)


@pytest.mark.parametrize("name", ["node.key", "node.crt", "authority.crt"])
def test_no_flipped_bit_gets_through_as_something_else(saved: Path, name: str) -> None:
    """A flip may hit a byte that PEM ignores; then the identity is what it was."""
    whole = (saved / name).read_bytes()
    for position in range(0, len(whole), 7):
        flipped = bytearray(whole)
        flipped[position] ^= 0x04
        (saved / name).write_bytes(flipped)
        with contextlib.suppress(IdentityError):
            assert load_identity(saved).node == FOUNDER.node


def test_a_key_of_another_kind_is_refused(saved: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    (saved / "node.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(IdentityError, match="another kind than Ed25519"):
        load_identity(saved)


def test_a_certificate_for_another_key_is_refused(saved: Path) -> None:
    other = new_member(AUTHORITY, "crane-2", role="writer")
    (saved / "node.crt").write_bytes(other.certificate_pem)
    with pytest.raises(IdentityError, match="another private key"):
        load_identity(saved)


def test_an_authority_of_another_mesh_is_refused_even_under_the_same_name(saved: Path) -> None:
    (saved / "authority.crt").write_bytes(Authority.create("harbour").certificate_pem)
    with pytest.raises(IdentityError, match="another mesh"):
        load_identity(saved)


def _dated(start: datetime.timedelta, end: datetime.timedelta) -> bytes:
    now = datetime.datetime.now(datetime.UTC)
    certificate = leaf_certificate(
        AUTHORITY, FOUNDER.public_key, "crane-1", "admin", (now + start, now + end)
    )
    return certificate.public_bytes(Encoding.PEM)


def test_an_expired_certificate_says_by_how_much(saved: Path) -> None:
    (saved / "node.crt").write_bytes(_dated(-33 * DAY, -3 * DAY))
    with pytest.raises(IdentityError, match=r"node\.crt: .*expired 3 d ago"):
        load_identity(saved)


def test_a_certificate_that_is_not_valid_yet_says_in_how_long(saved: Path) -> None:
    (saved / "node.crt").write_bytes(_dated(2 * DAY, 32 * DAY))
    with pytest.raises(IdentityError, match="valid only in 1 d 23 h"):
        load_identity(saved)


def test_a_certificate_lasts_thirty_days_and_begins_a_little_in_the_past() -> None:
    certificate = x509.load_pem_x509_certificate(FOUNDER.certificate_pem)
    assert abs(certificate.not_valid_after_utc - ISSUED - 30 * DAY) < datetime.timedelta(minutes=5)
    assert datetime.timedelta(minutes=4) < ISSUED - certificate.not_valid_before_utc
    authority = x509.load_pem_x509_certificate(AUTHORITY.certificate_pem)
    assert (authority.not_valid_after_utc - ISSUED).days >= 3649


def test_certificates_may_be_kept_elsewhere(saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secrets"
    elsewhere.mkdir()
    paths = [(saved / name).rename(elsewhere / name) for name in ("node.crt", "node.key")]
    assert load_identity(saved, certificate_path=paths[0], key_path=paths[1]) == FOUNDER


def test_signatures_hold_for_their_key_and_message_only() -> None:
    signature = FOUNDER.sign(b"message")
    other = new_member(AUTHORITY, "crane-2", role="writer")
    assert verify(FOUNDER.public_key, signature, b"message")
    assert not verify(FOUNDER.public_key, signature, b"another")
    assert not verify(other.public_key, signature, b"message")


@pytest.mark.parametrize("key", [b"", b"short", bytes(31), bytes(33), b"\xff" * 32])
@pytest.mark.parametrize("signature", [b"", b"x" * 63, bytes(64), b"x" * 1000])
def test_verify_says_no_to_whatever_a_stranger_sends(key: bytes, signature: bytes) -> None:
    assert verify(key, signature, b"message") is False


def test_an_identity_signs_member_records_that_others_find_genuine() -> None:
    record = MemberRecord(
        node=FOUNDER.node,
        public_key=FOUNDER.public_key,
        name=FOUNDER.name,
        addresses=("127.0.0.1:8000",),
        role=FOUNDER.role,
        incarnation=1,
        left=False,
        software="0",
    )
    assert is_genuine(signed(record, FOUNDER.sign), verify)


def test_the_private_key_is_not_shown_by_accident() -> None:
    assert "key=" not in repr(FOUNDER).replace("public_key=", "")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\0b"])
def test_a_name_that_no_certificate_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 printable"):
        AUTHORITY.issue(FOUNDER.public_key, name=name, role="writer")


def test_names_may_be_in_any_language() -> None:
    assert new_member(AUTHORITY, "Портовый кран №7", role="reader").name == "Портовый кран №7"


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of admin"):
        AUTHORITY.issue(FOUNDER.public_key, name="x", role="root")


def test_an_authority_is_what_it_was_when_loaded(tmp_path: Path) -> None:
    AUTHORITY.save(tmp_path)
    assert Authority.load(tmp_path) == AUTHORITY
    assert Authority.load(tmp_path).key.private_bytes_raw() == AUTHORITY.key.private_bytes_raw()


def test_a_member_that_is_not_the_founder_hears_where_to_go(saved: Path) -> None:
    with pytest.raises(IdentityError, match="only the node that made the mesh"):
        Authority.load(saved)


def _dev_mesh(folder: Path) -> tuple[bytes, bytes]:
    identity = dev_identity(folder, "dev")
    return identity.mesh_id, identity.node


def test_dev_nodes_started_at_the_same_moment_are_one_mesh(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        made = pool.map(_dev_mesh, [tmp_path / "dev"] * 8, chunksize=1)
    assert len({mesh for mesh, _ in made}) == 1
    assert len({node for _, node in made}) == 8
    assert stat.S_IMODE((tmp_path / "dev").stat().st_mode) == 0o700


def test_a_dev_node_with_a_home_comes_back_as_itself(tmp_path: Path) -> None:
    dev, home = tmp_path / "dev", tmp_path / "home" / "identity"
    first = dev_identity(dev, "dev", home)
    again = dev_identity(dev, "dev", home)
    assert first.node == again.node
    assert load_identity(home) == again


def test_dev_mode_never_replaces_a_real_identity(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="another mesh"):
        dev_identity(tmp_path / "dev", "dev", saved)
    assert load_identity(saved) == FOUNDER


def test_a_crash_while_saving_leaves_the_old_identity_or_the_new(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    renewed: Identity = FOUNDER
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        save_identity(renewed, saved)
    monkeypatch.undo()
    assert load_identity(saved) == FOUNDER
    assert sorted(path.name for path in saved.iterdir()) == ["authority.crt", "node.crt", "node.key"]


def test_keys_are_fresh_each_time() -> None:
    assert public_bytes(new_key()) != public_bytes(new_key())
