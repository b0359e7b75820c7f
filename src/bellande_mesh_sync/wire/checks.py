"""What types cannot say about a message: lengths, orders, counts, and parts that must fit together.

msgspec has checked the shapes by the time these run. Everything here runs for every message (and
`check_records` for every record, at more than 100,000 a second), so the common case is a chain of cheap
comparisons; which of them failed is worked out only for the error's sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.cuts import CutTold
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import (
    CHUNK_BYTES_MAX,
    INLINE_BYTES_MAX,
    MANIFEST_CHUNKS_MAX,
    TOMBSTONE,
    VALUE,
    Manifest,
    Record,
)
from bellande_mesh_sync.core.messages import (
    CHUNKS_LANE,
    RECORDS_LANE,
    ChunkMissing,
    ChunkOffer,
    ChunkPart,
    ChunkWant,
    Credit,
    Goodbye,
    Have,
    Hello,
    HoldAnswer,
    HoldWant,
    LiveDots,
    LiveWant,
    MemberDatagram,
    MemberStream,
    Note,
    Ping,
    PlacedSummary,
    Pong,
    ReachAnswer,
    ReachWant,
    ReadAnswer,
    ReadWant,
    Records,
    RelayedNote,
    ScanAnswer,
    ScanWant,
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
from bellande_mesh_sync.core.placement.shards import shard_parts
from bellande_mesh_sync.core.statements.statement import STATEMENT_BYTES_MAX, size_of
from bellande_mesh_sync.errors import DecodeError, InvalidKeyError
from bellande_mesh_sync.ids import AUTHOR_BYTES, EPOCH_BYTES, NODE_ID_BYTES, SEQUENCE_MAX
from bellande_mesh_sync.keys import KEY_BYTES_MAX, check_key
from bellande_mesh_sync.wire import limits
from bellande_mesh_sync.wire.limits import NUMBER_MAX
from bellande_mesh_sync.wire.member_checks import (
    BOOT_BYTES,
    SIGNATURE_BYTES,
    check_datagram,
    check_member,
    check_node,
    check_number,
    check_stream_message,
    check_text,
    require,
)
from bellande_mesh_sync.wire.placement_checks import (
    check_read_answer,
    check_read_want,
    check_scan_answer,
    check_scan_want,
)

HASH_BYTES: Final = 32
MESH_ID_BYTES: Final = 16
_PROTOCOL_MAX: Final = 65_535
_PRINTABLE: Final = bytes(range(0x20, 0x7F))


def check_message(message: Any) -> None:
    """Raise DecodeError unless `message` keeps every rule. Cost: O(size of the message)."""
    _CHECKS[type(message)](message)


# -- records -----------------------------------------------------------------------------------


def check_records(records: Sequence[Record], space: str) -> None:
    """Check records that claim to belong to `space`, itself checked. Cost: O(size), without the values."""
    if not _are_plain_keys([record.key for record in records], space):
        for record in records:
            _check_key(record.key, space)
    content_type = ""
    for record in records:
        if len(record.author) != AUTHOR_BYTES or not (
            0 < record.sequence <= SEQUENCE_MAX
            and 0 <= record.stamp <= NUMBER_MAX
            and 0 <= record.expires_ms <= NUMBER_MAX
        ):
            raise DecodeError(reason="a record's author, sequence number, stamp or expiry is out of range")
        if record.content_type != content_type:  # Neighbours nearly always have the same.
            content_type = record.content_type
            _check_content_type(content_type)
        if record.context:
            _check_context(record.context)
        inline = record.inline
        if record.kind != VALUE:
            _check_tombstone(record)
        elif len(record.digest) != HASH_BYTES:
            raise DecodeError(reason="a value's digest has not 32 bytes")
        elif inline is None:
            _check_manifest(record)
        elif record.manifest is not None or not len(inline) == record.size <= INLINE_BYTES_MAX:
            require(record.manifest is None, "a record has both an inline value and a manifest")
            require(len(inline) == record.size, "a record's size is not that of its inline value")
            raise DecodeError(reason="an inline value is too long to be inline")


def _are_plain_keys(keys: list[str], space: str) -> bool:
    """Whether all keys are surely valid and of `space`. False only means: look at each.

    A few passes of C over all of them together cost a third of a look at each in Python.
    """
    joined = "\n".join(keys)
    if not joined.isascii():
        return False
    text = f"\n{joined}\n"
    return (
        "//" not in text
        and "/." not in text
        and "/\n" not in text
        and text.count(f"\n{space}/") == len(keys)
        and len(text.encode().translate(None, _PRINTABLE)) == len(keys) + 1  # Just our own newlines.
        and (len(text) <= KEY_BYTES_MAX or max(map(len, keys)) <= KEY_BYTES_MAX)
    )


def _check_key(key: str, space: str) -> None:
    try:
        check_key(key)
    except InvalidKeyError as error:
        raise DecodeError(reason=f"a record's key is not allowed: {error.facts['reason']}") from None
    require(key == space or key.startswith(space + "/"), "a record's key is of another shard")


def _check_content_type(text: str) -> None:
    """It will stand in an HTTP header."""
    if len(text) > limits.CONTENT_TYPE_BYTES_MAX or not (text.isascii() and text.isprintable()):
        raise DecodeError(reason="a content type is no short printable ASCII text")


def _check_tombstone(record: Record) -> None:
    require(record.kind == TOMBSTONE, "a record's kind is unknown")
    if record.inline is not None or record.manifest is not None or record.size or record.digest:
        raise DecodeError(reason="a tombstone carries a value")


def _check_context(context: Context) -> None:
    require(len(context) <= limits.CONTEXT_AUTHORS_MAX, "a context has too many authors")
    previous = b""
    extras_count = 0
    for author, base, extras in context:
        if len(author) != AUTHOR_BYTES or author <= previous or not 0 <= base <= SEQUENCE_MAX:
            raise DecodeError(reason="a context is not a sorted list of authors with their bases")
        previous = author
        if extras:
            extras_count += len(extras)
            last = base
            for extra in extras:
                if extra <= last:
                    raise DecodeError(reason="a context's extras are not sorted, or not above the base")
                last = extra
            require(last <= SEQUENCE_MAX, "a context's extra is out of range")
    require(extras_count <= limits.CONTEXT_EXTRAS_MAX, "a context has too many extras")


def _check_manifest(record: Record) -> None:
    manifest = record.manifest
    if manifest is None:
        raise DecodeError(reason="a value is neither inline nor in chunks")
    require(0 < record.size <= NUMBER_MAX, "a value in chunks has a size out of range")
    check_manifest(manifest, record.size)


def check_manifest(manifest: Manifest, size: int) -> None:
    """Raise DecodeError unless the manifest can stand for a value of `size` bytes."""
    chunks = manifest.chunks
    require(manifest.depth in (1, 2), "a manifest's depth is neither 1 nor 2")
    require(0 < len(chunks) <= MANIFEST_CHUNKS_MAX, "a manifest names no chunks, or too many")
    total = 0
    for chunk in chunks:
        if len(chunk.hash) != HASH_BYTES or not 0 < chunk.size <= CHUNK_BYTES_MAX:
            raise DecodeError(reason="a manifest names a chunk with a wrong hash length or size")
        total += chunk.size
    require(manifest.depth == 2 or total == size, "a manifest's chunks do not add up to the value's size")


# -- knowledge ---------------------------------------------------------------------------------


@lru_cache(1024)
def _space_of_shard(shard: str) -> str:
    """The space in a shard's name; the caller has bounded the length."""
    try:
        space, _, _ = shard_parts(shard)
    except ValueError:
        raise DecodeError(reason="a shard's name is neither 'space/0' nor 'space/count.index'") from None
    require("/" not in space, "a shard's space is not the first segment of a key")
    try:
        return check_key(space)
    except InvalidKeyError as error:
        raise DecodeError(reason=f"a shard's space is not allowed: {error.facts['reason']}") from None


def check_shard(shard: str) -> str:
    """The shard's space; DecodeError if the name is none."""
    require(len(shard) <= KEY_BYTES_MAX + 16, "a shard's name is too long")
    return _space_of_shard(shard)


def check_delta(delta: Delta) -> None:
    """Authors sorted, ranges sorted and disjoint, all within bounds. Cost: O(authors and ranges)."""
    require(len(delta) <= limits.DELTA_AUTHORS_MAX, "a set of dots has too many authors")
    previous = b""
    ranges_count = 0
    for author, ranges in delta:
        if len(author) != AUTHOR_BYTES or author <= previous:
            raise DecodeError(reason="a set of dots is not sorted by author")
        previous = author
        require(bool(ranges), "a set of dots names an author without ranges")
        ranges_count += len(ranges)
        last = 0
        for low, high in ranges:
            if low <= last or high < low:
                raise DecodeError(reason="ranges of dots are not sorted, or overlap")
            last = high
        require(last <= SEQUENCE_MAX, "a range of dots is out of range")
    require(ranges_count <= limits.DELTA_RANGES_MAX, "a set of dots has too many ranges")


def check_cut(cut: CutTold) -> None:
    """Authors sorted, numbers within bounds. Cost: O(authors)."""
    require(len(cut) <= limits.DELTA_AUTHORS_MAX, "a cut has too many authors")
    previous = b""
    for author, number in cut:
        if len(author) != AUTHOR_BYTES or author <= previous or not 0 < number <= SEQUENCE_MAX:
            raise DecodeError(reason="a cut is not a sorted list of authors with their numbers")
        previous = author


# -- members -----------------------------------------------------------------------------------


def _check_hello(hello: Hello) -> None:
    require(
        0 < hello.protocol_oldest <= hello.protocol_newest <= _PROTOCOL_MAX,
        "a Hello's protocols are out of range",
    )
    require(len(hello.mesh) == MESH_ID_BYTES, "a Hello's mesh id has not 16 bytes")
    require(len(hello.node) == NODE_ID_BYTES, "a Hello's node id has not 32 bytes")
    require(len(hello.boot) == BOOT_BYTES, "a Hello's boot id has not 8 bytes")
    require(hello.lane in (RECORDS_LANE, CHUNKS_LANE), "a Hello's lane is unknown")
    require(0 <= hello.credit_bytes <= limits.CREDIT_BYTES_MAX, "a Hello's credit is out of range")
    check_member(hello.member)


def _check_member_stream(told: MemberStream) -> None:
    check_stream_message(told.message)


def _check_member_datagram(told: MemberDatagram) -> None:
    check_datagram(told.datagram)


def _check_survey_report(report: SurveyReport) -> None:
    check_number(report.number)
    require(len(report.reports) <= limits.LINKED_MAX, "too many members in one report")
    for each in report.reports:
        check_node(each.node)
        require(-1 <= each.rtt_us <= NUMBER_MAX, "a round trip is out of range")
        require(-1 <= each.loss_permille <= 1_000, "a loss is out of range")


# -- the rest ----------------------------------------------------------------------------------


def _check_goodbye(message: Goodbye) -> None:
    check_text(message.code, limits.CODE_BYTES_MAX, "a Goodbye's code")
    check_text(message.reason, limits.REASON_BYTES_MAX, "a Goodbye's reason")


def _check_number(message: Ping | Pong) -> None:
    require(0 <= message.number <= NUMBER_MAX, "a ping's number is out of range")


def _check_summary(message: Summary | PlacedSummary) -> None:
    require(len(message.shards) <= limits.SHARDS_MAX, "a summary has too many shards")
    for summary in message.shards:
        check_shard(summary.shard)
        check_delta(summary.knowledge)
        check_cut(summary.stable)
        check_cut(summary.collected)
        require(len(summary.fingerprint) == HASH_BYTES, "a fingerprint has not 32 bytes")


def _check_placed_summary(message: PlacedSummary) -> None:
    _check_summary(message)
    require(len(message.is_whole) == len(message.shards), "a summary says not of each shard if it is whole")


def _check_have(message: Have) -> None:
    check_shard(message.shard)
    check_delta(message.dots)


def _check_want(message: Want) -> None:
    require(0 < message.stream <= NUMBER_MAX, "a stream's number is out of range")
    check_shard(message.shard)
    check_delta(message.dots)


def _check_hold_want(message: HoldWant) -> None:
    check_number(message.number)
    check_shard(message.shard)
    check_delta(message.knowledge)


def _check_stream_end(message: StreamEnd) -> None:
    require(0 < message.stream <= NUMBER_MAX, "a stream's number is out of range")
    check_shard(message.shard)
    check_delta(message.knowledge)
    check_cut(message.collected)


def _check_live_want(message: LiveWant) -> None:
    check_number(message.number)
    check_shard(message.shard)


def _check_live_dots(message: LiveDots) -> None:
    check_number(message.number)
    check_shard(message.shard)
    check_delta(message.knowledge)
    check_delta(message.absent)
    check_cut(message.collected)


def _check_records_message(message: Records) -> None:
    require(0 <= message.stream <= NUMBER_MAX, "a stream's number is out of range")
    require(len(message.records) <= limits.RECORDS_MAX, "too many records in one message")
    check_records(message.records, check_shard(message.shard))


def _check_credit(message: Credit) -> None:
    require(0 <= message.amount_bytes <= limits.CREDIT_BYTES_MAX, "a credit is out of range")


def _check_note(message: Note | RelayedNote) -> None:
    require(len(message.id) <= limits.NOTE_ID_BYTES_MAX, "a note's id is too long")
    topic = message.topic
    if len(topic) > limits.TOPIC_BYTES_MAX or len(topic.encode()) > limits.TOPIC_BYTES_MAX:
        raise DecodeError(reason="a note's topic is too long")


def _check_reach_want(message: ReachWant) -> None:
    check_number(message.number)
    check_node(message.node)


def _check_answered(message: ReachAnswer | SurveyWant | HoldAnswer) -> None:
    check_number(message.number)


def _check_relayed(message: RelayedNote) -> None:
    check_node(message.source)
    check_node(message.target)
    require(len(message.signature) in (0, SIGNATURE_BYTES), "a relayed note's signature has not 64 bytes")
    _check_note(message)


def _check_hashes(message: ChunkWant | ChunkMissing) -> None:
    require(len(message.hashes) <= limits.HASHES_MAX, "too many chunk hashes in one message")
    for chunk in message.hashes:
        require(len(chunk) == HASH_BYTES, "a chunk's hash has not 32 bytes")


def _check_offer(message: ChunkOffer) -> None:
    require(len(message.chunks) <= limits.HASHES_MAX, "too many chunks in one offer")
    for chunk in message.chunks:
        require(len(chunk.hash) == HASH_BYTES, "a chunk's hash has not 32 bytes")
        require(0 < chunk.size <= CHUNK_BYTES_MAX, "a chunk's size is out of range")


def _check_statement_digest(message: StatementDigest) -> None:
    require(len(message.digest) == HASH_BYTES, "a digest of statements has not 32 bytes")


def _check_statement_ids(message: StatementIds | StatementWant) -> None:
    require(len(message.ids) <= limits.STATEMENTS_MAX, "too many ids of statements in one message")
    for each in message.ids:
        require(len(each) == HASH_BYTES, "a statement's id has not 32 bytes")


def _check_statements(message: Statements) -> None:
    for each in message.statements:
        check_text(each.kind, limits.CODE_BYTES_MAX, "a statement's kind")
        check_node(each.signer)
        require(len(each.subject) <= limits.STATEMENT_SUBJECT_BYTES_MAX, "a statement's subject is too long")
        require(0 <= each.issued_ms <= NUMBER_MAX, "a statement's time is out of range")
        require(len(each.signature) == SIGNATURE_BYTES, "a statement's signature has not 64 bytes")
        require(size_of(each) <= STATEMENT_BYTES_MAX, "a statement is too large")


def check_piece(chunk: bytes, offset: int, total: int, size: int) -> None:
    """A piece of a chunk: `size` bytes at `offset` of `total`."""
    require(len(chunk) == HASH_BYTES, "a chunk's hash has not 32 bytes")
    require(0 < total <= CHUNK_BYTES_MAX, "a chunk's size is out of range")
    require(0 < size <= limits.CHUNK_PIECE_BYTES_MAX, "a piece of a chunk is empty or too large")
    require(0 <= offset <= total - size, "a piece lies outside of its chunk")


def _check_part(message: ChunkPart) -> None:
    check_piece(message.hash, message.offset, message.total, len(message.body))


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    Hello: _check_hello,
    Goodbye: _check_goodbye,
    Ping: _check_number,
    Pong: _check_number,
    MemberStream: _check_member_stream,
    MemberDatagram: _check_member_datagram,
    ReachWant: _check_reach_want,
    ReachAnswer: _check_answered,
    RelayedNote: _check_relayed,
    SurveyWant: _check_answered,
    SurveyReport: _check_survey_report,
    Summary: _check_summary,
    Have: _check_have,
    Want: _check_want,
    Records: _check_records_message,
    StreamEnd: _check_stream_end,
    Credit: _check_credit,
    Note: _check_note,
    StatementDigest: _check_statement_digest,
    StatementIds: _check_statement_ids,
    StatementWant: _check_statement_ids,
    Statements: _check_statements,
    ChunkWant: _check_hashes,
    ChunkPart: _check_part,
    ChunkMissing: _check_hashes,
    ChunkOffer: _check_offer,
    PlacedSummary: _check_placed_summary,
    HoldWant: _check_hold_want,
    HoldAnswer: _check_answered,
    ReadWant: check_read_want,
    ReadAnswer: lambda answer: check_read_answer(answer, check_records),
    ScanWant: check_scan_want,
    ScanAnswer: lambda answer: check_scan_answer(answer, check_records),
    LiveWant: _check_live_want,
    LiveDots: _check_live_dots,
}

assert AUTHOR_BYTES == NODE_ID_BYTES + EPOCH_BYTES
