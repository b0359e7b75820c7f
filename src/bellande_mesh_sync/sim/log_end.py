"""The end of a simulated write-ahead log: a transaction that a crash may tear, and its checksum."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final
from zlib import crc32

import msgspec
from msgspec.structs import replace

from bellande_mesh_sync.core.effects import Batch
from bellande_mesh_sync.ids import Shard

_CHECK_BYTES: Final = 4
_Amounts = tuple[tuple[Shard, bytes], ...]
"""Fingerprints as bytes: MessagePack has no integers of 256 bits."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[list[tuple[Batch, _Amounts]], dict[bytes, bytes]]).decode


def encode(batches: Sequence[Batch], chunks: dict[bytes, bytes]) -> bytes:
    """A group of batches and the chunks that become durable with it, as one transaction."""
    rows = [(replace(batch, fingerprints=()), _amounts_of(batch)) for batch in batches]
    body = _encode((rows, chunks))
    return crc32(body).to_bytes(_CHECK_BYTES, "big") + body


def tear(written: bytes, rng: random.Random) -> bytes:
    """What a crash may leave of it: its beginning, or all of it with a page that never came."""
    cut = rng.randrange(len(written))
    if rng.random() < 0.5:
        return written[:cut]
    torn = bytearray(written)
    end = min(cut + rng.randint(1, 4096), len(torn))
    torn[cut:end] = bytes(end - cut)
    return bytes(torn)


def decode(written: bytes) -> tuple[list[Batch], dict[bytes, bytes]] | None:
    """The transaction, or None if it is not whole: then it is as if it had never been."""
    body = written[_CHECK_BYTES:]
    if crc32(body).to_bytes(_CHECK_BYTES, "big") != written[:_CHECK_BYTES]:
        return None
    rows, chunks = _decode(body)
    batches = [
        replace(batch, fingerprints=tuple((shard, int.from_bytes(amount)) for shard, amount in amounts))
        for batch, amounts in rows
    ]
    return batches, chunks


def _amounts_of(batch: Batch) -> _Amounts:
    return tuple((shard, amount.to_bytes(32)) for shard, amount in batch.fingerprints)
