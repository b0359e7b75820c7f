"""Whatever a stranger sends: messages, or a PeerError. Nothing else, and no hunger for memory."""

from __future__ import annotations

import contextlib
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.errors import DecodeError, LimitExceededError, PeerError
from bellande_mesh_sync.wire.codec import decode_body
from bellande_mesh_sync.wire.frames import FrameReader, encode_frames
from tests.wire.making import EXAMPLES, messages
from tests.wire.reading import Collected, framed, pour


def accept_or_refuse(stream: bytes) -> None:
    for reader in (FrameReader(), FrameReader(sink=Collected())):
        with contextlib.suppress(PeerError):
            pour(reader, stream)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(stream: bytes) -> None:
    accept_or_refuse(stream)
    accept_or_refuse(framed(stream))
    accept_or_refuse(framed(b"\x91" + stream))


@given(messages, st.data())
def test_a_message_with_bytes_changed_is_read_or_refused(message: object, data: st.DataObject) -> None:
    stream = bytearray(encode_frames([message])[0])  # type: ignore[list-item]
    for _ in range(data.draw(st.integers(1, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    accept_or_refuse(bytes(stream))


def test_thousands_of_mutated_frames_are_read_or_refused() -> None:
    rng = random.Random(1)
    originals = [encode_frames([message])[0] for message in EXAMPLES]
    for _ in range(20_000):
        frame = bytearray(rng.choice(originals))
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(4, len(frame))
            match rng.randrange(3):
                case 0:
                    frame[at] ^= 1 << rng.randrange(8)
                case 1:
                    del frame[at]
                case 2:
                    frame.insert(
                        at, rng.choice(b"\x00\x7f\x80\x90\x91\xc0\xc4\xc6\xca\xcf\xd3\xd9\xdd\xdf\xff")
                    )
            if len(frame) < 6:
                break
        accept_or_refuse(framed(bytes(frame[4:])))


BOMBS = {
    "a list that claims 2**32 messages": b"\xdd\xff\xff\xff\xff\x92\x03\x01",
    "a tuple that claims 2**32 hashes": b"\x91\x92\x0d\xdd\xff\xff\xff\xff\xc4\x01a",
    "a message that claims 2**32 fields": b"\x91\xdd\xff\xff\xff\xff\x03\x01",
    "bytes that claim 4 GiB": b"\x91\x95\x0e\xc4\x01a\x00\x01\xc6\xff\xff\xff\xff",
    "a map of 2**32 in a field to skip": b"\x91\x93\x03\x01\xdf\xff\xff\xff\xff\x01\x01",
    "nesting 100,000 deep": b"\x91\x93\x03\x01" + b"\x91" * 100_000,
    "not UTF-8": b"\x91\x93\x02\xa1\xff\xa1a",
    "a lone surrogate": b"\x91\x93\x02\xa3\xed\xa0\x80\xa1a",
    "a float for a number": b"\x91\x92\x03\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    "a number above 63 bits": b"\x91\x92\x03\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
    "a negative number": b"\x91\x92\x03\xff",
    "an extension type": b"\x91\x92\x03\xd4\x01\x01",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_without_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PeerError):
            decode_body(BOMBS[name])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_frame_full_of_the_smallest_messages_is_refused_before_it_is_unpacked() -> None:
    count = 340_000
    body = b"\xdd" + count.to_bytes(4, "big") + b"\x92\x03\x01" * count
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceededError):
            decode_body(body)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_error_quotes_little_of_what_it_refuses() -> None:
    text = b"\x1b[31m" * 40
    body = b"\x91\x92\x03" + b"\xd9" + bytes([len(text)]) + text
    with pytest.raises(DecodeError) as caught:
        decode_body(body)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
