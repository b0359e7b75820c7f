"""Weights: both ends must count the same, and a message must fit a frame."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.spreading.weight import RECORDS_MESSAGE_BYTES_MAX, portions, weight_of
from tests.core.making import author_named, large_record, record

ALICE = author_named("alice")


def test_a_record_weighs_the_same_at_both_ends() -> None:
    for each in (
        record("fleet/a", ALICE, 1, body=b"x" * 999, context=((ALICE, 3, (5,)),)),
        record("fleet/a", ALICE, 1, body=b""),
        large_record("fleet/a", ALICE, 1, [b"a", b"b"]),
    ):
        arrived = msgspec.msgpack.decode(msgspec.msgpack.encode(each), type=Record)
        assert weight_of(arrived) == weight_of(each)


def test_a_weight_is_no_less_than_the_bytes_on_the_wire() -> None:
    for body in (0, 100, 16_384):
        each = record("fleet/" + "k" * 40, ALICE, 1 << 40, body=b"x" * body, context=((ALICE, 7, ()),))
        assert weight_of(each) >= len(msgspec.msgpack.encode(each))


@given(st.lists(st.integers(0, 16_384), max_size=60))
def test_portions_keep_every_record_once_in_order_and_stay_small(sizes: list[int]) -> None:
    records = [record("fleet/a", ALICE, n + 1, body=bytes(size)) for n, size in enumerate(sizes)]
    parts = list(portions(records))
    assert [each for part, _ in parts for each in part] == records
    for part, weight in parts:
        assert weight == sum(map(weight_of, part))
        assert weight <= RECORDS_MESSAGE_BYTES_MAX or len(part) == 1
