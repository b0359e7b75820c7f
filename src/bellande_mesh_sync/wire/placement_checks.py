"""What types cannot say about the messages between nodes that hold a shard and nodes that do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Final

from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.messages import ReadAnswer, ReadWant, ScanAnswer, ScanWant
from bellande_mesh_sync.errors import InvalidKeyError
from bellande_mesh_sync.keys import check_key, check_prefix, space_of
from bellande_mesh_sync.wire import limits
from bellande_mesh_sync.wire.member_checks import check_number, require

CheckRecords = Callable[[Sequence[Record], str], None]
CURSOR_CHARACTERS_MAX: Final = 1_024


def check_read_want(want: ReadWant) -> None:
    check_number(want.number)
    require(0 < len(want.keys) <= limits.KEYS_MAX, "a question names no keys, or too many")
    for key in want.keys:
        _check_asked_key(key)


def check_read_answer(answer: ReadAnswer, check_records: CheckRecords) -> None:
    check_number(answer.number)
    require(len(answer.found) <= limits.KEYS_MAX, "an answer is about too many keys")
    require(len(answer.is_sure) == len(answer.found), "an answer says not of each key whether it is sure")
    for siblings in answer.found:
        _check_all(siblings, check_records)


def check_scan_want(want: ScanWant) -> None:
    check_number(want.number)
    _check_asked_key(want.space)
    require("/" not in want.space, "a space is the first segment of a key")
    require(0 < want.count <= limits.SHARDS_MAX_OF_SPACE, "a space is cut into too many shards")
    _check_indexes(want.shards, want.count)
    require(0 < want.limit <= limits.KEYS_MAX, "a page of a listing is empty or too long")
    require(len(want.after) <= CURSOR_CHARACTERS_MAX, "a cursor is too long")
    try:
        check_prefix(want.prefix)
    except InvalidKeyError:
        require(False, "a prefix is not the start of a key")


def check_scan_answer(answer: ScanAnswer, check_records: CheckRecords) -> None:
    check_number(answer.number)
    require(len(answer.records) <= limits.RECORDS_MAX, "too many records in one answer")
    _check_all(answer.records, check_records)
    require(len(answer.cursor) <= CURSOR_CHARACTERS_MAX, "a cursor is too long")
    _check_indexes(answer.unsure, limits.SHARDS_MAX_OF_SPACE)
    require(len(answer.damaged) <= limits.RECORDS_MAX, "too many damaged keys in one answer")
    for key in answer.damaged:
        _check_asked_key(key)


def _check_all(records: Sequence[Record], check_records: CheckRecords) -> None:
    for space, group in groupby(records, lambda record: space_of(record.key)):
        _check_asked_key(space)
        check_records(list(group), space)


def _check_asked_key(key: str) -> None:
    try:
        check_key(key)
    except InvalidKeyError:
        require(False, "a key is not allowed")


def _check_indexes(indexes: Sequence[int], count: int) -> None:
    last = -1
    for index in indexes:
        require(last < index < count, "the shards of a space are not sorted, or out of range")
        last = index
