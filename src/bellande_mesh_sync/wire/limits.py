"""Bounds on what a peer may send. Each is checked before memory is taken, or right after decoding."""

from __future__ import annotations

from typing import Final

FRAME_BYTES_MAX: Final = 1024 * 1024
"""A frame's body. One lie about a length can cost a link no more than this."""

HELLO_FRAME_BYTES_MAX: Final = 16 * 1024
"""A frame's body before the peer's Hello was accepted: a stranger gets a smaller buffer."""

FRAME_HEADER_BYTES: Final = 9
"""4 bytes of length, then a MessagePack array header that always takes 5."""

FRAME_MESSAGES_MAX: Final = 16_384
"""A frame full of three-byte messages would become 350,000 objects; this keeps it to a few MiB."""

CHUNK_PIECE_BYTES_MAX: Final = 512 * 1024
"""The payload of one ChunkPart, so that no piece fills a frame."""

NUMBER_MAX: Final = 2**63 - 1
"""Sequence numbers, stamps and sizes must fit a signed 64-bit column of every store."""

CONTENT_TYPE_BYTES_MAX: Final = 255
CONTEXT_AUTHORS_MAX: Final = 8_192
CONTEXT_EXTRAS_MAX: Final = 65_536
RECORDS_MAX: Final = 16_384
"""Records in one message; the smallest possible one takes about 100 bytes anyway."""

DELTA_AUTHORS_MAX: Final = 16_384
DELTA_RANGES_MAX: Final = 131_072
SHARDS_MAX: Final = 8_192
HASHES_MAX: Final = 16_384

SHARDS_MAX_OF_SPACE: Final = 16_384
KEYS_MAX: Final = 1_000
"""Keys that one question to an owner is about."""

LINKED_MAX: Final = 16_384
NAME_BYTES_MAX: Final = 255
ADDRESSES_MAX: Final = 16
CAPACITY_MAX: Final = 1_000_000
PORT_MAX: Final = 65_535
ADDRESS_BYTES_MAX: Final = 262
"""A DNS name has at most 253 bytes; brackets, colon and port come on top."""

DATAGRAM_BYTES_MAX: Final = 2_048
"""A datagram's body. We send 1,200 bytes with the seal; this also bounds how many updates one may carry."""
ENTRIES_MAX: Final = 1_024
LINES_MAX: Final = 20_000

STATEMENTS_MAX: Final = 16_384
STATEMENT_SUBJECT_BYTES_MAX: Final = 1_024

NOTE_ID_BYTES_MAX: Final = 64
TOPIC_BYTES_MAX: Final = 1_024
CODE_BYTES_MAX: Final = 64
REASON_BYTES_MAX: Final = 1_024
CREDIT_BYTES_MAX: Final = 1 << 40
