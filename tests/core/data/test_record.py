"""Records: what the fingerprint tells apart."""

from __future__ import annotations

import msgspec
import pytest

from bellande_mesh_sync.core.data.record import TOMBSTONE, Record, fingerprint_of, order_of
from bellande_mesh_sync.ids import Dot, Stamp, parse_version
from tests.core.making import author_named, record

BASE = record("fleet/a", author_named("alice"), 7)


@pytest.mark.parametrize(
    "other",
    [
        msgspec.structs.replace(BASE, key="fleet/b"),
        msgspec.structs.replace(BASE, sequence=8),
        msgspec.structs.replace(BASE, author=author_named("bob")),
        msgspec.structs.replace(BASE, digest=bytes(32)),
        Record(BASE.key, BASE.author, BASE.sequence, BASE.stamp, TOMBSTONE, 0, b""),
    ],
    ids=["key", "number", "author", "digest", "kind"],
)
def test_records_that_differ_have_different_fingerprints(other: Record) -> None:
    assert fingerprint_of(other) != fingerprint_of(BASE)


def test_a_fingerprint_fits_into_32_bytes_and_stays_the_same() -> None:
    assert 0 < fingerprint_of(BASE) < 1 << 256
    assert fingerprint_of(BASE) == fingerprint_of(
        msgspec.msgpack.decode(msgspec.msgpack.encode(BASE), type=Record)
    )


def test_a_version_names_the_dot() -> None:
    assert parse_version(BASE.version) == BASE.dot == Dot(BASE.author, 7)


def test_equal_stamps_are_ordered_by_the_dot() -> None:
    other = msgspec.structs.replace(BASE, sequence=8)
    later = msgspec.structs.replace(BASE, stamp=Stamp(BASE.stamp + 1))
    assert order_of(BASE) < order_of(other) < order_of(later)
