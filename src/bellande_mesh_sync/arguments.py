"""What callers of `Mesh` pass, checked and put into the core's terms."""

from __future__ import annotations

from typing import TypeAlias

from blake3 import blake3

from bellande_mesh_sync.core.data.context import CONTEXT_OF_ALL, Context, parse_context
from bellande_mesh_sync.core.data.policy import too_large
from bellande_mesh_sync.core.data.record import VALUE
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.errors import InvalidValueError, MessageTooLargeError, UsageError
from bellande_mesh_sync.ids import NODE_ID_BYTES, NodeId
from bellande_mesh_sync.keys import check_key, space_of
from bellande_mesh_sync.store.chunker import WrittenValue

ManyItem: TypeAlias = (
    tuple[str, bytes] | tuple[str, bytes, str] | tuple[str, bytes, str, str | None, str | None]
)
"""Of `put_many`: key, value, content type, context, if_match."""

ACK_LEVELS = ("local", "one", "quorum", "all")
ACK_TIMEOUT_S = 10.0
ACK_BYTES_PER_S = 10_000_000
"""By how much a large value lengthens that: other nodes must fetch it before they can confirm it."""
CONTENT_TYPE_MAX = 255
DEFAULT_CONTENT_TYPE = "application/octet-stream"
LIST_LIMIT_MAX = 10_000
CONFLICTS_LIMIT_MAX = 1_000
CONFLICTS_LIMIT = 100
SECONDS_MAX = 1e6


def content_type_of(given: str | None) -> str:
    """The content type, or the default one. Every peer refuses what this refuses."""
    if given is None:
        return DEFAULT_CONTENT_TYPE
    if not (given.isascii() and given.isprintable()) or len(given) > CONTENT_TYPE_MAX:
        reason = f"a content type is printable ASCII of at most {CONTENT_TYPE_MAX} characters"
        raise UsageError(reason=reason)
    return given


def value_type_of(value: object, given: str | None) -> str:
    """The content type of a value that is written: text has one of its own."""
    if given is None and isinstance(value, str):
        return "text/plain; charset=utf-8"
    return content_type_of(given)


def choice_of(version: str | None, data: object | None, content_type: str | None) -> None:
    """Whether `resolve` was told one thing. UsageError if not."""
    if (version is None) == (data is None):
        raise UsageError(reason="resolve takes either a version to keep, or new data")
    if version is not None and content_type is not None:
        raise UsageError(reason="a version that is kept keeps its content type")


def bytes_of(value: object, what: str) -> bytes | bytearray | memoryview:
    """A value or message body; text becomes UTF-8. UsageError for anything else."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value
    if not isinstance(value, str):
        raise UsageError(reason=f"{what} is bytes or text, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise UsageError(reason=f"{what} is text that cannot be written as UTF-8") from None


def message_of(body: object, topic: str, limit_bytes: int) -> bytes:
    """A message's body. MessageTooLargeError, or InvalidKeyError for a topic that is no key path."""
    content = bytes(bytes_of(body, "a message"))
    if len(content) > limit_bytes:
        raise MessageTooLargeError(size=len(content), limit=limit_bytes)
    if topic:
        check_key(topic)
    return content


def limit_of(limit: int, most: int = LIST_LIMIT_MAX) -> int:
    """How many entries a page of a listing may have."""
    if not isinstance(limit, int) or not 1 <= limit <= most:  # type: ignore[redundant-expr]
        raise UsageError(reason=f"limit={limit!r} is not between 1 and {most}")
    return limit


def write_of(
    key: str, written: WrittenValue, content_type: str, context: str | None = None,
    if_match: str | None = None,
) -> Write:  # fmt: skip
    return Write(
        key=key,
        kind=VALUE,
        size=written.size,
        digest=written.digest,
        content_type=content_type,
        inline=written.inline,
        manifest=written.manifest,
        context=context_of(context),
        if_match=if_match,
    )


def check_size(key: str, size: int | None, policies: SpacePolicies) -> None:
    """InvalidValueError for a value too large for its space, before its chunks are stored for nothing."""
    limit = policies.of(key).size_bytes_max
    if limit is not None and size is not None and size > limit:
        raise InvalidValueError(
            key=key, space=space_of(key), policy=policies.name(key), reason=too_large(size)
        )


def counter_write_of(key: str, amount: object, policies: SpacePolicies) -> Write:
    """InvalidValueError where nothing can be added."""
    if not policies.of(key).takes_add:
        reason = 'only counters can be added to; set conflict = "counter" for this space'
        raise InvalidValueError(key=key, space=space_of(key), policy=policies.name(key), reason=reason)
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise InvalidValueError(
            key=key, space=space_of(key), policy="counter", reason=f"{amount!r} is no whole number"
        )
    return Write(key, VALUE, add=amount)


def context_of(text: str | None) -> Context | None:
    """What a writer has seen: "" is nothing, `*` (as None) all that the node holds."""
    if text is None or text == CONTEXT_OF_ALL:
        return None
    if not text:
        return ()
    try:
        return parse_context(text)
    except ValueError as error:
        raise UsageError(reason=str(error)) from None


def ack_of(given: str | None, default: str) -> str:
    level = given or default
    if level not in ACK_LEVELS:
        raise UsageError(reason=f"ack={level!r} is none of {', '.join(ACK_LEVELS)}")
    return level


def timeout_ns_of(given_s: float | None, size_bytes: int) -> int:
    """How long to wait for acks, in nanoseconds."""
    if given_s is None:
        return round((ACK_TIMEOUT_S + size_bytes / ACK_BYTES_PER_S) * 1e9)
    return ns_of("timeout", given_s)


def ns_of(name: str, given_s: float, limit_s: float = SECONDS_MAX) -> int:
    """Seconds above 0 and up to a limit, in nanoseconds. UsageError for anything else."""
    # Not every caller has a type checker.
    if not isinstance(given_s, int | float) or not 0 < given_s <= limit_s:  # type: ignore[redundant-expr]
        raise UsageError(
            reason=f"{name}={given_s!r} is no number of seconds above 0 and up to {limit_s:,.0f}"
        )
    return round(given_s * 1e9)


def node_id_of_text(text: str) -> NodeId:
    try:
        raw = bytes.fromhex(text)
    except (ValueError, TypeError):
        raw = b""
    if len(raw) != NODE_ID_BYTES:
        raise UsageError(reason=f"{text!r} is no node id (64 hex digits)")
    return NodeId(raw)


def point_of(given: str | bytes) -> bytes:
    """An id as it is; anything else by its BLAKE3."""
    if isinstance(given, bytes):
        return given if len(given) == NODE_ID_BYTES else blake3(given).digest()
    if not isinstance(given, str):  # Not every caller has a type checker.
        raise UsageError(reason=f"a point is text or bytes, not {type(given).__name__}")
    try:
        return node_id_of_text(given)
    except UsageError:
        return blake3(given.encode("utf-8", "surrogatepass")).digest()
