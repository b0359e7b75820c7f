"""What a record weighs against credit: the same figure on both ends, so their accounts agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bellande_mesh_sync.core.data.record import Record

RECORD_OVERHEAD_BYTES = 160
CHUNK_REF_BYTES = 40
RECORDS_MESSAGE_BYTES_MAX = 256 * 1024


def weight_of(record: Record) -> int:
    """About the record's bytes on the wire."""
    weight = RECORD_OVERHEAD_BYTES + len(record.key) + len(record.content_type) + 56 * len(record.context)
    if record.inline:
        weight += len(record.inline)
    if record.manifest is not None:
        weight += CHUNK_REF_BYTES * len(record.manifest.chunks)
    return weight


def portions(records: Iterable[Record]) -> Iterator[tuple[tuple[Record, ...], int]]:
    """Cut records into messages that fit a frame: (records, weight)."""
    part: list[Record] = []
    total = 0
    for record in records:
        weight = weight_of(record)
        if part and total + weight > RECORDS_MESSAGE_BYTES_MAX:
            yield tuple(part), total
            part, total = [], 0
        part.append(record)
        total += weight
    if part:
        yield tuple(part), total
