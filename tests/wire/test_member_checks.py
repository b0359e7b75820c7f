"""Rules of the failure detector's stream messages, one broken at a time."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from bellande_mesh_sync.core.members.swim.messages import (
    Buckets,
    Digest,
    Entries,
    Entry,
    Line,
    Lines,
    StreamMessage,
    StreamPing,
    StreamPong,
)
from bellande_mesh_sync.errors import DecodeError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.wire.member_checks import check_stream_message
from tests.wire.making_datagrams import NOTICE, STREAM_MESSAGES, VERDICT
from tests.wire.making_members import MEMBER, NODE

change = msgspec.structs.replace
SHORT = NodeId(bytes(31))
BITS = bytes(32)
LINE = Line(NODE, 1, 1)
ENTRY = Entry(MEMBER, 4, 60, NOTICE)

BROKEN: dict[str, StreamMessage] = {
    "ping sequence negative": StreamPing(-1),
    "ping incarnation negative": StreamPing(1, -1),
    "pong sequence above 63 bits": StreamPong(2**63),
    "fingerprint too short": Digest(bytes(15)),
    "a sum too few": Buckets(bytes(8 * 255), None),
    "half a sum more": Buckets(bytes(8 * 256 + 4), None),
    "buckets with a broken verdict": Buckets(bytes(8 * 256), change(VERDICT, by=SHORT)),
    "too few buckets": Lines(bytes(31), ()),
    "too many buckets": Lines(bytes(33), ()),
    "too many lines": Lines(BITS, (LINE,) * 20_001),
    "line of a short id": Lines(BITS, (change(LINE, node=SHORT),)),
    "line incarnation negative": Lines(BITS, (change(LINE, incarnation=-1),)),
    "line of no standing": Lines(BITS, (change(LINE, standing=0),)),
    "line standing unknown": Lines(BITS, (change(LINE, standing=7),)),
    "too many entries": Entries((ENTRY,) * 1_025, ()),
    "entry with a broken record": Entries((change(ENTRY, record=change(MEMBER, node=SHORT)),), ()),
    "entry standing unknown": Entries((change(ENTRY, standing=7),), ()),
    "entry of no standing": Entries((change(ENTRY, standing=0),), ()),
    "entry age negative": Entries((change(ENTRY, age_s=-1),), ()),
    "entry with a broken notice": Entries((change(ENTRY, notice=change(NOTICE, node=SHORT)),), ()),
    "too many wanted": Entries((), (NODE,) * 20_001),
    "wanted id too short": Entries((), (SHORT,)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        check_stream_message(BROKEN[name])


def test_every_kind_of_message_is_fine_as_it_should_be() -> None:
    for message in STREAM_MESSAGES:
        check_stream_message(message)
    check_stream_message(Lines(BITS, (LINE,) * 20_000))
    check_stream_message(Entries((ENTRY,) * 1_024, (NODE,) * 20_000))
    assert {type(message) for message in STREAM_MESSAGES} == set(get_args(StreamMessage))
