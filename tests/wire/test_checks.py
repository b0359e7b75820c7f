"""Rules that types cannot say, one broken at a time."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.core.data.record import TOMBSTONE, ChunkRef, Manifest
from bellande_mesh_sync.core.members.member import MemberRecord, record_bytes
from bellande_mesh_sync.core.members.swim.messages import Datagram, Gossip, StreamPing
from bellande_mesh_sync.core.messages import (
    ChunkMissing,
    ChunkOffer,
    ChunkPart,
    ChunkWant,
    Credit,
    Goodbye,
    Have,
    Hello,
    LiveDots,
    LiveWant,
    MemberDatagram,
    MemberStream,
    Message,
    Note,
    Ping,
    ReachAnswer,
    ReachWant,
    Records,
    StatementDigest,
    StatementIds,
    Statements,
    StatementWant,
    StreamEnd,
    Summary,
    SurveyReport,
    SurveyWant,
    Want,
)
from bellande_mesh_sync.core.statements.statement import Statement, StatementId
from bellande_mesh_sync.core.survey import LinkReport
from bellande_mesh_sync.errors import DecodeError, InvalidKeyError
from bellande_mesh_sync.ids import NodeId, Shard
from bellande_mesh_sync.keys import check_key
from bellande_mesh_sync.wire import checks
from bellande_mesh_sync.wire.checks import check_message, check_records
from tests.wire.making import (
    AUTHOR,
    AUTHOR_2,
    CHUNKED,
    DELETED,
    DOTS,
    EXAMPLES,
    HASH,
    INLINE,
    SHARD,
)
from tests.wire.making_datagrams import VERDICT
from tests.wire.making_members import MEMBER, NODE

change = msgspec.structs.replace
HELLO = EXAMPLES[0]
BIG = 2**63
SHORT = NodeId(bytes(31))
RELAYED = EXAMPLES[19]
LINE = LinkReport(NODE, 1_500, 10, True)
STATEMENT = Statement("revocation", NODE, b"body", 1, NODE, b"", bytes(64))
SUMMARY: Any = EXAMPLES[5]

BROKEN_RECORDS: dict[str, Any] = {
    "author too short": change(INLINE, author=AUTHOR[:-1]),
    "sequence zero": change(INLINE, sequence=0),
    "sequence above 63 bits": change(INLINE, sequence=BIG),
    "stamp negative": change(INLINE, stamp=-1),
    "stamp above 63 bits": change(INLINE, stamp=BIG),
    "expiry negative": change(INLINE, expires_ms=-1),
    "kind unknown": change(INLINE, kind=2),
    "digest too short": change(INLINE, digest=b"short"),
    "key empty": change(INLINE, key=""),
    "key of another space": change(INLINE, key="fleets/x"),
    "key with an empty segment": change(INLINE, key="fleet//x"),
    "key with a trailing slash": change(INLINE, key="fleet/x/"),
    "key with dots": change(INLINE, key="fleet/../x"),
    "key with a newline": change(INLINE, key="fleet/x\nfleet/y"),
    "key with a control character": change(INLINE, key="fleet/\x1b[1m"),
    "key with DEL": change(INLINE, key="fleet/\x7f"),
    "key too long": change(INLINE, key="fleet/" + "x" * 1_019),
    "key not in NFC": change(INLINE, key="fleet/o\u0308"),
    "content type too long": change(INLINE, content_type="x" * 256),
    "content type with a line break": change(INLINE, content_type="text/plain\r\nSet-Cookie: x"),
    "inline size wrong": change(INLINE, size=6),
    "inline too long": change(INLINE, inline=bytes(16_385), size=16_385),
    "inline and manifest": change(CHUNKED, inline=b"x", size=1),
    "neither inline nor manifest": change(INLINE, inline=None),
    "manifest of depth 3": change(CHUNKED, manifest=Manifest(3, CHUNKED.manifest.chunks)),  # type: ignore[union-attr]
    "manifest without chunks": change(CHUNKED, manifest=Manifest(1, ())),
    "manifest with too many chunks": change(
        CHUNKED, size=4097, manifest=Manifest(1, (ChunkRef(HASH, 1),) * 4097)
    ),
    "manifest does not add up": change(CHUNKED, size=99_999),
    "chunk hash too short": change(CHUNKED, manifest=Manifest(1, (ChunkRef(b"x", 100_000),))),
    "chunk of no bytes": change(CHUNKED, manifest=Manifest(1, (ChunkRef(HASH, 0), ChunkRef(HASH, 100_000)))),
    "chunk too large": change(CHUNKED, size=4_194_305, manifest=Manifest(1, (ChunkRef(HASH, 4_194_305),))),
    "tombstone with a value": change(DELETED, inline=b""),
    "tombstone with a size": change(DELETED, size=1),
    "tombstone with a digest": change(DELETED, digest=HASH),
    "tombstone with chunks": change(CHUNKED, kind=TOMBSTONE, size=0, digest=b""),
    "context author too short": change(INLINE, context=((b"x", 1, ()),)),
    "context not sorted": change(INLINE, context=((AUTHOR_2, 1, ()), (AUTHOR, 1, ()))),
    "context author twice": change(INLINE, context=((AUTHOR, 1, ()), (AUTHOR, 2, ()))),
    "context base negative": change(INLINE, context=((AUTHOR, -1, ()),)),
    "context extra below base": change(INLINE, context=((AUTHOR, 5, (5,)),)),
    "context extras not sorted": change(INLINE, context=((AUTHOR, 5, (8, 7)),)),
    "context extra above 63 bits": change(INLINE, context=((AUTHOR, 5, (BIG,)),)),
}

BROKEN: dict[str, Any] = {
    "hello of protocol 0": change(HELLO, protocol_oldest=0),
    "hello with protocols reversed": change(HELLO, protocol_oldest=2),
    "hello of a short mesh id": change(HELLO, mesh=b"x"),
    "hello of a short node id": change(HELLO, node=b"x"),
    "hello of a short boot id": change(HELLO, boot=b"x"),
    "hello for lane 2": change(HELLO, lane=2),
    "hello with negative credit": change(HELLO, credit_bytes=-1),
    "hello with a bad member": change(HELLO, member=change(MEMBER, node=b"x")),
    "goodbye with a long code": Goodbye("x" * 65, ""),
    "goodbye with escape codes": Goodbye("closing", "\x1b[31m"),
    "ping below zero": Ping(-1),
    "a broken message for a stream": MemberStream(StreamPing(-1)),
    "a broken datagram over a link": MemberDatagram(Datagram(Gossip(), (change(VERDICT, standing=4),))),
    "reach number negative": ReachWant(-1, NODE),
    "reach of a short id": ReachWant(1, SHORT),
    "reach answer above 63 bits": ReachAnswer(BIG, True),
    "relayed note from a short id": change(RELAYED, source=SHORT),
    "relayed note to a short id": change(RELAYED, target=SHORT),
    "relayed note with a long id": change(RELAYED, id=bytes(65)),
    "relayed note with a long topic": change(RELAYED, topic="ö" * 513),
    "relayed note with a short signature": change(RELAYED, signature=bytes(63)),
    "survey number negative": SurveyWant(-1),
    "report number above 63 bits": SurveyReport(BIG, ()),
    "report of a short id": SurveyReport(1, (change(LINE, node=SHORT),)),
    "report of a round trip below none": SurveyReport(1, (change(LINE, rtt_us=-2),)),
    "report of a round trip above 63 bits": SurveyReport(1, (change(LINE, rtt_us=BIG),)),
    "report of a loss below none": SurveyReport(1, (change(LINE, loss_permille=-2),)),
    "report of more loss than all": SurveyReport(1, (change(LINE, loss_permille=1_001),)),
    "a digest of statements of 31 bytes": StatementDigest(bytes(31)),
    "an id of a statement of 33 bytes": StatementIds((StatementId(bytes(33)),)),
    "wanting a statement of no id": StatementWant((StatementId(b""),)),
    "ids of too many statements": StatementIds((StatementId(bytes(32)),) * 16_385),
    "a statement without a signature": Statements((change(STATEMENT, signature=b""),)),
    "a statement that was made before 1970": Statements((change(STATEMENT, issued_ms=-1),)),
    "a statement whose time is above 63 bits": Statements((change(STATEMENT, issued_ms=BIG),)),
    "a statement of a short signer": Statements((change(STATEMENT, signer=SHORT),)),
    "a statement of a kind that cannot be printed": Statements((change(STATEMENT, kind="a\nb"),)),
    "a statement of a long kind": Statements((change(STATEMENT, kind="k" * 65),)),
    "a statement about too much": Statements((change(STATEMENT, subject=bytes(1_025)),)),
    "a statement that is too large": Statements((change(STATEMENT, body=bytes(65_536)),)),
    "report of too many members": SurveyReport(1, (LINE,) * 16_385),
    "summary of a bad shard": change(SUMMARY, shards=(change(SUMMARY.shards[0], shard="x"),)),
    "summary of a short fingerprint": change(SUMMARY, shards=(change(SUMMARY.shards[0], fingerprint=b""),)),
    "shard without an index": Have(Shard("fleet"), DOTS),
    "shard with a deep space": Have(Shard("fleet/x/0"), DOTS),
    "shard with a bad space": Have(Shard("../0"), DOTS),
    "shard with leading zeros": Have(Shard("fleet/00"), DOTS),
    "shard with a foreign digit": Have(Shard("fleet/²"), DOTS),
    "shard too long": Have(Shard("x" * 1_040 + "/0"), DOTS),
    "dots of a short author": Have(SHARD, ((b"x", ((1, 1),)),)),  # type: ignore[arg-type]
    "dots not sorted by author": Have(SHARD, ((AUTHOR_2, ((1, 1),)), (AUTHOR, ((1, 1),)))),
    "dots of an author twice": Have(SHARD, ((AUTHOR, ((1, 1),)), (AUTHOR, ((3, 3),)))),
    "dots without ranges": Have(SHARD, ((AUTHOR, ()),)),
    "dots from zero": Have(SHARD, ((AUTHOR, ((0, 1),)),)),
    "dots reversed": Have(SHARD, ((AUTHOR, ((5, 4),)),)),
    "dots overlapping": Have(SHARD, ((AUTHOR, ((1, 5), (5, 6))),)),
    "dots above 63 bits": Have(SHARD, ((AUTHOR, ((1, BIG),)),)),
    "want of stream 0": Want(0, SHARD, DOTS),
    "end of stream 0": StreamEnd(0, SHARD, DOTS),
    "summary with an unsorted cut": change(
        SUMMARY, shards=(change(SUMMARY.shards[0], stable=((AUTHOR_2, 1), (AUTHOR, 1))),)
    ),
    "cut of a short author": StreamEnd(1, SHARD, DOTS, True, ((b"x", 1),)),  # type: ignore[arg-type]
    "cut at zero": StreamEnd(1, SHARD, DOTS, True, ((AUTHOR, 0),)),
    "cut above 63 bits": LiveDots(1, SHARD, DOTS, (), ((AUTHOR, BIG),), True),
    "live want of a negative number": LiveWant(-1, SHARD),
    "live want of a bad shard": LiveWant(1, Shard("x")),
    "live dots overlapping": LiveDots(1, SHARD, (), ((AUTHOR, ((1, 5), (5, 6))),), (), True),
    "records of a negative stream": Records(SHARD, -1, ()),
    "credit below zero": Credit(-1),
    "credit beyond all measure": Credit(2**41),
    "note with a long id": Note(bytes(65), "", b""),
    "note with a long topic": Note(b"", "x" * 1_025, b""),
    "hash of a wrong length": ChunkWant((b"x",)),
    "too many hashes": ChunkMissing((HASH,) * 16_385),
    "too many chunks offered": ChunkOffer((ChunkRef(HASH, 1),) * 16_385),
    "an offered chunk without bytes": ChunkOffer((ChunkRef(HASH, 0),)),
    "an offered chunk that is too large": ChunkOffer((ChunkRef(HASH, 4 * 1024 * 1024 + 1),)),
    "an offered chunk with a short hash": ChunkOffer((ChunkRef(HASH[1:], 9),)),
    "piece of a short hash": ChunkPart(b"x", 0, 1, b"x"),
    "piece of nothing": ChunkPart(HASH, 0, 1, b""),
    "piece of an empty chunk": ChunkPart(HASH, 0, 0, b""),
    "piece of a giant chunk": ChunkPart(HASH, 0, 2**40, b"x"),
    "piece before its chunk": ChunkPart(HASH, -1, 1, b"x"),
    "piece past its chunk": ChunkPart(HASH, 1, 1, b"x"),
    "piece too large": ChunkPart(HASH, 0, 4 << 20, bytes(512 * 1024 + 1)),
}

BROKEN_MEMBERS: dict[str, MemberRecord] = {
    "short key": change(MEMBER, public_key=b"x"),
    "short signature": change(MEMBER, signature=b"x"),
    "long name": change(MEMBER, name="ö" * 128),
    "escape codes": change(MEMBER, name="\x1b[31m"),
    "too many addresses": change(MEMBER, addresses=("a:1",) * 17),
    "long address": change(MEMBER, addresses=("a" * 263,)),
    "negative incarnation": change(MEMBER, incarnation=-1),
    "short boot id": change(MEMBER, boot=bytes(7)),
    "start before time": change(MEMBER, started_ms=-1),
    "start above 63 bits": change(MEMBER, started_ms=BIG),
    "port below zero": change(MEMBER, datagram_port=-1),
    "port above 16 bits": change(MEMBER, datagram_port=65_536),
    "port without a seal key": change(MEMBER, seal_key=b""),
    "short seal key": change(MEMBER, seal_key=bytes(31)),
    "seal key without a port": change(MEMBER, datagram_port=0),
    "capacity below zero": change(MEMBER, capacity=-1),
    "capacity beyond all measure": change(MEMBER, capacity=1_000_001),
    "zone with escape codes": change(MEMBER, zone="\x1b[31m"),
    "long zone": change(MEMBER, zone="x" * 256),
    "labels not sorted": change(MEMBER, labels=(("b", ""), ("a", ""))),
    "label twice": change(MEMBER, labels=(("a", "1"), ("a", "2"))),
    "label without a name": change(MEMBER, labels=(("", "x"),)),
    "label with a line break": change(MEMBER, labels=(("a", "x\ny"),)),
    "label with a long name": change(MEMBER, labels=(("x" * 256, ""),)),
    "more than a datagram holds": change(MEMBER, more=bytes(1024 - record_bytes(MEMBER) + 2)),
}


def test_the_examples_keep_every_rule() -> None:
    for message in EXAMPLES:
        check_message(message)
    check_records([INLINE, CHUNKED, DELETED], "fleet")


def test_every_kind_of_message_has_its_check() -> None:
    assert set(checks._CHECKS) == set(get_args(Message))
    assert isinstance(HELLO, Hello)
    assert isinstance(SUMMARY, Summary)


@pytest.mark.parametrize("name", BROKEN_RECORDS)
def test_a_broken_record_is_refused_alone_and_among_good_ones(name: str) -> None:
    for found in ([BROKEN_RECORDS[name]], [INLINE, BROKEN_RECORDS[name], DELETED]):
        with pytest.raises(DecodeError):
            check_message(Records(SHARD, 0, tuple(found)))


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_refused(name: str) -> None:
    with pytest.raises(DecodeError):
        check_message(BROKEN[name])


@pytest.mark.parametrize("name", BROKEN_MEMBERS)
def test_a_broken_member_is_refused_wherever_it_is_told(name: str) -> None:
    member = BROKEN_MEMBERS[name]
    for message in (change(HELLO, member=member), MemberDatagram(Datagram(Gossip(), (), (member,)))):
        with pytest.raises(DecodeError):
            check_message(message)


ALLOWED: dict[str, Any] = {
    "a member that takes no datagrams": change(HELLO, member=change(MEMBER, datagram_port=0, seal_key=b"")),
    "a member of an unknown run": change(HELLO, member=change(MEMBER, boot=b"", started_ms=0)),
    "a member without capacity": change(HELLO, member=change(MEMBER, capacity=0, labels=())),
    "a member that fills its datagram": change(
        HELLO, member=change(MEMBER, more=bytes(1024 - record_bytes(MEMBER)))
    ),
    "a removed member": MemberDatagram(Datagram(Gossip(), (change(VERDICT, standing=6),))),
    "a relayed note without a signature": change(RELAYED, signature=b""),  # Refused where it is for.
    "ids of as many statements as there may be": StatementIds((StatementId(bytes(32)),) * 16_384),
    "a statement of a kind of a later version": Statements((change(STATEMENT, kind="later"),)),
    "a full report": SurveyReport(1, (LINE,) * 16_384),
    "nothing known of a link": SurveyReport(0, (change(LINE, rtt_us=-1, loss_permille=-1),)),
    "everything lost": SurveyReport(0, (change(LINE, rtt_us=0, loss_permille=1_000),)),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_just_within_the_rules_is_taken(name: str) -> None:
    check_message(ALLOWED[name])


def test_a_space_may_itself_be_a_key() -> None:
    check_records([change(INLINE, key="fleet"), INLINE], "fleet")


def test_touching_ranges_are_taken() -> None:
    check_message(Have(SHARD, ((AUTHOR, ((1, 5), (6, 6))),)))


@given(st.lists(st.text(st.sampled_from("ab/.\n ~\x7f\x00ö\u0308"), max_size=8), min_size=1, max_size=3))
def test_the_quick_look_at_many_keys_agrees_with_the_rule_for_one(tails: list[str]) -> None:
    keys = [f"fleet/{tail}" for tail in tails]
    allowed = True
    for key in keys:
        try:
            check_key(key)
        except InvalidKeyError:
            allowed = False
    try:
        check_records([change(INLINE, key=key) for key in keys], "fleet")
    except DecodeError:
        assert not allowed
    else:
        assert allowed
