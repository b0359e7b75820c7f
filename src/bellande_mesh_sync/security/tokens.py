"""Join tokens: one line of text that lets its holder into one mesh, for a while.

The text is `bms1` and base32 of: mesh id, the authority's public key, token id, secret, expiry,
addresses, and a check of all of these. The public key is the pin: a joiner trusts nobody else.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import re
import secrets
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.errors import ExpiredTokenError, InvalidTokenError
from bellande_mesh_sync.security.certificates import format_duration

ADDRESSES_MAX = 8
TOKEN_ID_BYTES = 8
SECRET_BYTES = 32
_PREFIX = "bms1"  # Base32 has no digit 1, so the prefix cannot be mistaken for a part of the rest.
_HEAD = struct.Struct(f">16s32s{TOKEN_ID_BYTES}s{SECRET_BYTES}sQB")
_CHECK_BYTES = 8
_LENGTH_MAX = 4096
_TEXT = re.compile(r"bms1([a-z2-7]+)")
_EXPIRY_MAX_S = 1 << 40


@dataclass(frozen=True, slots=True)
class JoinToken:
    """What a join token says."""

    mesh_id: bytes
    authority_key: bytes
    """Raw Ed25519 public key of the mesh's authority."""
    token_id: str
    """16 hex digits; names the token, proves nothing."""
    secret: bytes = field(repr=False)
    """Known to the token's holder only: the issuing node keeps its SHA-256."""
    expires_s: int
    """Seconds since 1970."""
    addresses: tuple[str, ...]
    """Where the issuing node serves HTTPS, as `host:port`, best first."""

    def check_expiry(self, now_s: float) -> None:
        """ExpiredTokenError if its time is over."""
        check_expiry(self.expires_s, now_s)

    def text(self) -> str:
        token_id = bytes.fromhex(self.token_id)
        head = _HEAD.pack(
            self.mesh_id, self.authority_key, token_id, self.secret, self.expires_s, len(self.addresses)
        )
        content = head + b"".join(bytes([len(a)]) + a.encode("ascii") for a in self.addresses)
        encoded = base64.b32encode(content + _check(content)).decode("ascii")
        return _PREFIX + encoded.rstrip("=").lower()


def make_token(
    *, mesh_id: bytes, authority_key: bytes, expires_s: int, addresses: Sequence[str]
) -> JoinToken:
    """A new token with a fresh id and secret."""
    return JoinToken(
        mesh_id=mesh_id,
        authority_key=authority_key,
        token_id=secrets.token_hex(TOKEN_ID_BYTES),
        secret=secrets.token_bytes(SECRET_BYTES),
        expires_s=expires_s,
        addresses=tuple(addresses)[:ADDRESSES_MAX],
    )


def parse_token(text: str) -> JoinToken:
    """Read a token; InvalidTokenError if it is not exactly one that `make_token` could have made.

    Spaces around it and its case do not matter: people type and paste.
    """
    content = _content(text)
    try:
        mesh_id, authority_key, token_id, secret, expires_s, count = _HEAD.unpack_from(content)
        addresses = _addresses(content[_HEAD.size :], count)
    except (struct.error, ValueError) as error:
        raise InvalidTokenError(reason=f"it is damaged: {error}") from None
    if expires_s > _EXPIRY_MAX_S:
        raise InvalidTokenError(reason="it is damaged: its expiry is out of range")
    return JoinToken(mesh_id, authority_key, token_id.hex(), secret, expires_s, addresses)


def secret_key(secret: bytes) -> bytes:
    """What the issuing node keeps of a secret, and the key of the proof."""
    return hashlib.sha256(secret).digest()


def proof_of(key: bytes, server_certificate_der: bytes, csr_der: bytes) -> bytes:
    """The proof that a joiner knows the secret behind `key`, good for this server and this request only.

    Bound to the server's certificate, so that a member in the middle cannot pass it on, and to the
    request, so that nobody can put another key in its place.
    """
    message = (
        b"bms join 1\0" + hashlib.sha256(server_certificate_der).digest() + hashlib.sha256(csr_der).digest()
    )
    return hmac.digest(key, message, "sha256")


def check_expiry(expires_s: float, now_s: float) -> None:
    if now_s >= expires_s:
        ago = format_duration(datetime.timedelta(seconds=now_s - expires_s))
        raise ExpiredTokenError(ago=ago)


def _content(text: str) -> bytes:
    text = text.strip().lower() if text.isascii() else text
    if len(text) > _LENGTH_MAX:
        raise InvalidTokenError(reason="it is too long")
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidTokenError(reason=f"a token is one word that starts with {_PREFIX}")
    encoded = match[1].upper()
    try:
        raw = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except binascii.Error:
        raise InvalidTokenError(reason="a part of it is missing") from None
    content, check = raw[:-_CHECK_BYTES], raw[-_CHECK_BYTES:]
    # The last character may carry bits that belong to no byte: only one spelling of a token counts.
    canonical = base64.b32encode(raw).decode("ascii").rstrip("=")
    if canonical != encoded or check != _check(content):
        raise InvalidTokenError(reason="a part of it is missing or mistyped; copy it again, the whole line")
    return content


def _addresses(content: bytes, count: int) -> tuple[str, ...]:
    addresses = []
    for _ in range(count):
        if not content:
            raise ValueError("an address is missing")
        size = content[0]
        address = content[1 : 1 + size].decode("ascii")
        if len(address) != size:
            raise ValueError("an address is cut off")
        parse_address(address)
        addresses.append(address)
        content = content[1 + size :]
    if content or not 1 <= count <= ADDRESSES_MAX:
        raise ValueError("wrong number of addresses")
    return tuple(addresses)


def _check(content: bytes) -> bytes:
    """Against typing errors only; who may join is decided by the proof."""
    return hashlib.sha256(b"bms token 1\0" + content).digest()[:_CHECK_BYTES]
