"""Frames: what goes in comes out, however it is split; a lie about a length costs nothing."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.messages import ChunkPart, Message, Note, Ping
from bellande_mesh_sync.errors import DecodeError, LimitExceededError
from bellande_mesh_sync.wire.codec import encode_message
from bellande_mesh_sync.wire.frames import FrameReader, FrameWriter, encode_frames
from bellande_mesh_sync.wire.limits import FRAME_BYTES_MAX, FRAME_MESSAGES_MAX
from bellande_mesh_sync.wire.pieces import encode_piece_header
from tests.wire.making import EXAMPLES, messages
from tests.wire.reading import Collected, framed, pour, read_all


@given(st.lists(messages, max_size=5))
def test_every_message_comes_out_as_it_went_in(sent: list[Message]) -> None:
    assert read_all(encode_frames(sent)) == sent


@given(st.lists(messages, min_size=1, max_size=4), st.data())
def test_bytes_split_anywhere_give_the_same_messages(sent: list[Message], data: st.DataObject) -> None:
    stream = b"".join(encode_frames(sent[:2]) + encode_frames(sent[2:]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[low:high] for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_all(pieces) == sent


def test_one_byte_at_a_time_is_enough() -> None:
    stream = b"".join(encode_frames(EXAMPLES))
    assert read_all(stream[i : i + 1] for i in range(len(stream))) == list(EXAMPLES)


def test_many_small_messages_share_few_frames() -> None:
    pings = [Ping(number) for number in range(10_000)]
    frames = encode_frames(pings)
    assert len(frames) == 1
    assert read_all(frames) == pings


def test_messages_that_fill_more_than_a_frame_are_spread_over_several() -> None:
    notes = [Note(b"", "", bytes(400_000)) for _ in range(5)]
    frames = encode_frames(notes)
    assert len(frames) == 3
    assert all(len(frame) <= 4 + FRAME_BYTES_MAX for frame in frames)
    assert read_all(frames) == notes


def test_a_frame_carries_no_more_messages_than_the_reader_takes() -> None:
    pings = [Ping(1)] * (FRAME_MESSAGES_MAX + 1)
    assert len(encode_frames(pings)) == 2
    assert len(read_all(encode_frames(pings))) == len(pings)


def test_a_message_too_large_for_any_frame_is_refused_at_the_sender_and_nothing_is_queued() -> None:
    writer = FrameWriter()
    writer.add(encode_message(Ping(1)))
    with pytest.raises(LimitExceededError):
        writer.add(encode_message(Note(b"", "", bytes(FRAME_BYTES_MAX))))
    assert read_all(writer.take()) == [Ping(1)]
    assert writer.take() == []


def test_the_largest_message_fits_exactly() -> None:
    overhead = len(encode_message(Note(b"", "", bytes(70_000)))) - 70_000
    note = Note(b"", "", bytes(FRAME_BYTES_MAX - 5 - overhead))
    frames = encode_frames([note])
    assert len(frames[0]) == 4 + FRAME_BYTES_MAX
    assert read_all(frames) == [note]


@pytest.mark.parametrize("claimed", [FRAME_BYTES_MAX + 1, 2**31, 2**31 - 1, 2**32 - 1])
def test_a_lying_length_is_refused_before_any_memory_is_taken(claimed: int) -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceededError):
            pour(reader, claimed.to_bytes(4, "big") + b"x")
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_a_smaller_limit_holds_until_it_is_raised() -> None:
    frames = encode_frames([Note(b"", "", bytes(5_000))])
    reader = FrameReader(frame_bytes_max=1_000)
    with pytest.raises(LimitExceededError):
        pour(reader, frames[0])
    reader = FrameReader(frame_bytes_max=1_000)
    reader.allow(10_000)
    assert len(pour(reader, frames[0])) == 1


@pytest.mark.parametrize("body", [b"", b"\x80", b"\xc0", b"\x00", b"\xa1a", b"\x91\x92\x63\x01", b"\x91\xc0"])
def test_a_frame_that_is_no_list_of_messages_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        pour(FrameReader(), framed(body))


def test_bytes_after_the_last_message_of_a_frame_are_refused() -> None:
    with pytest.raises(DecodeError):
        pour(FrameReader(), framed(b"\x91\x92\x03\x01\x00"))


def test_a_broken_reader_stays_broken() -> None:
    reader = FrameReader()
    with pytest.raises(DecodeError):
        pour(reader, framed(b"\x80"))
    with pytest.raises(DecodeError):
        pour(reader, encode_frames([Ping(1)])[0])


def test_messages_before_a_broken_frame_are_still_given() -> None:
    reader = FrameReader()
    data = encode_frames([Ping(1)])[0] + framed(b"\x80")
    reader.space()[: len(data)] = data
    reader.add(len(data))
    first = reader.next_frame()
    assert first is not None
    assert first[0] == [Ping(1)]
    with pytest.raises(DecodeError):
        reader.next_frame()


def test_the_size_of_a_frame_counts_its_prefix() -> None:
    reader = FrameReader()
    data = encode_frames([Ping(1), Ping(2)])[0]
    reader.space()[: len(data)] = data
    reader.add(len(data))
    assert reader.next_frame() == ([Ping(1), Ping(2)], len(data))


def test_the_room_a_large_frame_took_is_given_back() -> None:
    reader = FrameReader(buffer_bytes=1024)
    pour(reader, encode_frames([Note(b"", "", bytes(900_000))])[0])
    assert len(reader.space()) < 300_000


@given(st.binary(min_size=1, max_size=2_000), st.integers(1, 400))
def test_pieces_of_chunks_bypass_the_buffer(body: bytes, step: int) -> None:
    sink = Collected()
    reader = FrameReader(sink=sink)
    chunk = bytes(32)
    around = encode_frames([Ping(7)])[0]
    stream = around + encode_piece_header(chunk, 5, 5 + len(body), len(body)) + body + around
    found = read_all((stream[i : i + step] for i in range(0, len(stream), step)), reader)
    assert found == [Ping(7), Ping(7)]
    assert sink.pieces == [(chunk, 5, bytearray(body))]
    assert sink.ended == [chunk]


def test_a_piece_of_half_a_mebibyte_needs_no_buffer_of_its_size() -> None:
    sink = Collected()
    reader = FrameReader(sink=sink)
    body = bytes(512 * 1024)
    header = encode_piece_header(bytes(32), 0, len(body), len(body))
    reader.space()[:10] = header[:10]  # Not even the piece's header is whole.
    reader.add(10)
    assert reader.next_frame() is None
    assert len(reader.space()) < 300_000
    assert pour(reader, header[10:] + body) == []
    assert sink.pieces[0][2] == body


@given(st.binary(min_size=1, max_size=300), st.integers(0, 1 << 20))
def test_a_piece_is_the_same_bytes_as_the_encoder_would_make(body: bytes, offset: int) -> None:
    part = ChunkPart(bytes(32), offset, offset + len(body), body)
    by_hand = encode_piece_header(part.hash, part.offset, part.total, len(body)) + body
    assert by_hand == encode_frames([part])[0]


def test_a_piece_longer_than_it_says_is_refused() -> None:
    header = encode_piece_header(bytes(32), 0, 100, 100)
    frame = framed(header[4:] + bytes(101))
    with pytest.raises(DecodeError):
        pour(FrameReader(sink=Collected()), frame)
