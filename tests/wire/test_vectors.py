"""The bytes of protocol version 1: today's code makes and reads exactly these.

A line of the file is a message's name and its frame in hex. If a change here is meant, it is a new
protocol version; files of released versions are never edited.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bellande_mesh_sync.core.messages import Message
from bellande_mesh_sync.wire.frames import encode_frames
from tests.wire.making import EXAMPLES
from tests.wire.reading import read_all

FILE = Path(__file__).parent / "vectors" / "protocol-1.txt"
LINES = dict(line.split() for line in FILE.read_text().splitlines() if not line.startswith("#"))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_the_bytes_are_those_of_protocol_1(message: Message) -> None:
    frame = bytes.fromhex(LINES[type(message).__name__])
    assert encode_frames([message]) == [frame]
    assert read_all([frame]) == [message]


def test_every_kind_of_message_has_a_vector() -> None:
    assert list(LINES) == [type(message).__name__ for message in EXAMPLES]


def test_a_field_added_by_a_later_version_is_skipped() -> None:
    newer = bytes.fromhex("00000008dd00000001930301")  # A Ping with one field more, 0xc3 below.
    stream = (9).to_bytes(4, "big") + newer[4:] + b"\xc3"
    assert read_all([stream]) == [EXAMPLES[2]]
