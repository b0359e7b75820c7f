"""Values over HTTP: `/v1/data/{key}` and the listing beside it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from bellande_mesh_sync.api.calls import Answer, Call
from bellande_mesh_sync.api.needs import ValueStream
from bellande_mesh_sync.api.operations import OCTETS, Operation
from bellande_mesh_sync.api.ranges import Span, Tags, etag, parse_range, parse_tags
from bellande_mesh_sync.core.data.context import CONTEXT_OF_ALL
from bellande_mesh_sync.errors import (
    ConflictError,
    CorruptStoreError,
    NotFoundError,
    OwnersUnreachableError,
    UnsupportedError,
    UsageError,
)
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import Entry, Listing, Receipt

WHOLE_BYTES_MAX: Final = 256 * 1024
"""A body up to this size is collected and put in one call; a larger one is streamed."""

CONTENT_TYPE_CHARACTERS_MAX: Final = 255

CONTEXT_CHARACTERS_MAX: Final = 32 * 1024
"""In place of a longer context (hundreds of authors of one key) stands `*`: clients bound the head of an
answer. With that a write replaces all that this node holds, as it does anyhow by default."""

RANGE_TRIES: Final = 5

Ack = Literal["local", "one", "quorum", "all"]
Timeout = Annotated[float, Meta(gt=0, le=3600, description="seconds to wait for the acknowledgement")]


class WriteQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    ack: Ack | None = None
    timeout: Timeout | None = None
    context: str | None = None
    """What the writer had read, from X-Bms-Context: the write replaces exactly that. Empty: nothing, and the
    value stands beside what is there. The header X-Bms-Context says the same, and may be longer."""


class ReadQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    at: Annotated[str, Meta(description="ISO 8601, `2h ago`, `now`, or milliseconds since 1970")] | None = (
        None
    )
    version: str | None = None
    """One of the versions that stand under the key, instead of the visible one, or a replaced one."""


class ListQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    prefix: str = ""
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    cursor: str = ""


async def put_value(call: Call) -> Answer:
    """Write the body under the key.

    201 when the key was not there before, 200 when it was. 202 with an error body `ack_timeout`: the
    write is kept, fewer nodes than asked for had it in time. `If-Match` and `If-None-Match` are
    honoured. The body is streamed; if it breaks off, nothing is written.
    """
    key = check_key(call.path_rest())
    query = call.query(WriteQuery)
    content_type = content_type_of(call)
    if_match = await _version_expected(call, key)
    try:
        current = await _current(call, key)
    except CorruptStoreError:
        if if_match is not None:
            raise
        current = ""  # Damaged here, but there: to write it anew is the way out.
    except OwnersUnreachableError:
        if if_match is not None:
            raise
        current = ""  # Nobody can say; the write is kept here until its owners are in reach.
    if if_match is not None and if_match != (current or ""):
        raise ConflictError(key=key, version=current or "")  # before a large body is read for nothing
    options: dict[str, Any] = {
        "content_type": content_type,
        "ack": query.ack,
        "timeout": query.timeout,
        "context": context_of(call, query.context),
        "if_match": if_match,
    }
    size = call.body_size
    if size is not None and size <= WHOLE_BYTES_MAX:
        receipt = await call.mesh.put(key, await call.body(WHOLE_BYTES_MAX, key), **options)
    else:
        receipt = await call.mesh.put_stream(key, call.pieces(key), size=size, **options)
    return answer_write(receipt, 201 if current is None else 200)


async def delete_value(call: Call) -> Answer:
    """Delete the key. `If-Match` is honoured."""
    key = check_key(call.path_rest())
    query = call.query(WriteQuery)
    if_match = await _version_expected(call, key)
    receipt = await call.mesh.delete(
        key,
        ack=query.ack,
        timeout=query.timeout,
        context=context_of(call, query.context),
        if_match=if_match,
    )
    return answer_write(receipt, 200)


async def head_value(call: Call) -> None:
    """The headers that a GET would answer, without the value."""
    entry = await call.mesh.head(check_key(call.path_rest()), version=call.query(ReadQuery).version)
    if _is_unchanged(call, entry):
        await call.begin(304, _headers_of(entry))
    else:
        await call.begin(200, [*_headers_of(entry), ("content-length", str(entry.size))])
    await call.finish()


async def get_value(call: Call) -> None:
    """The value's bytes, streamed; with `version` those of one of the siblings.

    `Range` (one range), `If-Range`, `If-Match` and `If-None-Match` are honoured. With `at` the value that was
    visible then, with `version` that version, replaced or not; always whole. 410 with `history_gone`: what
    was there then is not known to this node.
    """
    key = check_key(call.path_rest())
    query = call.query(ReadQuery)
    if query.at is not None:
        await _send(call, await call.mesh.open_past(key, at=query.at, version=query.version))
        return
    if "range" in call.headers and await _send_range(call, key, query.version):
        return
    await _send(call, await _opened(call, key, query.version))


async def _opened(call: Call, key: str, version: str | None) -> AbstractAsyncContextManager[ValueStream]:
    """The visible value, or that of one version, whether it still stands or has been replaced."""
    try:
        return call.mesh.open_value(key, version=version)
    except NotFoundError:
        if version is None:
            raise
        return await call.mesh.open_past(key, version=version)


async def _send(call: Call, opening: AbstractAsyncContextManager[ValueStream]) -> None:
    """Answer with a whole value, unless the reader has it."""
    async with opening as stream:
        entry = stream.entry
        if _is_unchanged(call, entry):
            await call.begin(304, _headers_of(entry))
            await call.finish()
            return
        await call.begin(200, [*_headers_of(entry), ("content-length", str(entry.size))])
        await call.write_all(stream)


async def list_values(call: Call) -> Listing:
    """The keys that start with `prefix`, in order, without their values; `cursor` gives the next page."""
    query = call.query(ListQuery)
    return await call.mesh.list(check_prefix(query.prefix), limit=query.limit, cursor=query.cursor)


async def _send_range(call: Call, key: str, version: str | None) -> bool:
    """Answer with the range asked for; False if the whole value is the right answer."""
    for _ in range(RANGE_TRIES):
        entry = await call.mesh.head(key, version=version)
        if _is_unchanged(call, entry) or not _range_applies(call, entry):
            return False
        span = parse_range(call.headers["range"], entry.size)
        if span is None:
            return False
        async with call.mesh.open_value(key, span.start, span.end, version=version) as stream:
            if stream.entry.version == entry.version:
                await call.begin(206, _range_headers(entry, span))
                await call.write_all(stream)
                return True
        # The key was written between the two reads: the range was meant for a size it may not have.
    return False


def _range_applies(call: Call, entry: Entry) -> bool:
    condition = call.headers.get("if-range")
    return condition is None or parse_tags(condition).name(entry.version)


def _range_headers(entry: Entry, span: Span) -> list[tuple[str, str]]:
    return [
        *_headers_of(entry),
        ("content-range", f"bytes {span.start}-{span.end - 1}/{entry.size}"),
        ("content-length", str(span.end - span.start)),
    ]


def _is_unchanged(call: Call, entry: Entry) -> bool:
    """Whether a reader already has this version (304); ConflictError if it asked for another one."""
    if "if-match" in call.headers and not parse_tags(call.headers["if-match"]).name(entry.version):
        raise ConflictError(key=entry.key, version=entry.version)
    condition = call.headers.get("if-none-match")
    return condition is not None and parse_tags(condition).name_weakly(entry.version)


async def _version_expected(call: Call, key: str) -> str | None:
    """The conditions of a write as one version: "" for no such key, None for no condition.

    A condition on several versions is settled against the visible one first; the write then holds
    for exactly that version, so that nothing can slip in between.
    """
    wanted, unwanted = _tags(call, "if-match"), _tags(call, "if-none-match")
    if wanted is None and unwanted is None:
        return None
    if wanted is None and unwanted is not None and unwanted.anything:
        return ""
    if wanted is not None and unwanted is None and len(wanted.strong) == 1 and not wanted.weak:
        return next(iter(wanted.strong))
    current = await _current(call, key)
    if wanted is not None and (current is None or not wanted.name(current)):
        raise ConflictError(key=key, version=current or "")
    if unwanted is not None and current is not None and unwanted.name_weakly(current):
        raise ConflictError(key=key, version=current)
    return current or ""


def _tags(call: Call, header: str) -> Tags | None:
    return parse_tags(call.headers[header]) if header in call.headers else None


def context_of(call: Call, query_context: str | None) -> str | None:
    """What the writer says it had read: as a field of the query, or as the header that reads answer with."""
    header = call.headers.get("x-bms-context")
    if header is not None and query_context is not None and header != query_context:
        raise UsageError(reason="the query and X-Bms-Context name different contexts")
    return query_context if header is None else header


async def _current(call: Call, key: str) -> str | None:
    try:
        return (await call.mesh.head(key)).version
    except NotFoundError:
        return None


def content_type_of(call: Call) -> str:
    for header in ("content-encoding", "content-range"):
        # Storing such a body as if it were the value would give readers something else than was meant.
        if header in call.headers and call.headers[header].lower() != "identity":
            raise UnsupportedError(what=f"a PUT with {header}: {call.headers[header]}")
    content_type = call.headers.get("content-type") or OCTETS
    if len(content_type) > CONTENT_TYPE_CHARACTERS_MAX or not _is_plain(content_type):
        raise UsageError(
            reason=f"Content-Type is printable ASCII of at most {CONTENT_TYPE_CHARACTERS_MAX} characters"
        )
    return content_type


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def answer_write(receipt: Receipt, status: int) -> Answer:
    return Answer(receipt, status, ((b"etag", etag(receipt.version).encode()),))


def _headers_of(entry: Entry) -> list[tuple[str, str]]:
    return [
        ("content-type", entry.content_type if _is_plain(entry.content_type) else OCTETS),
        ("etag", etag(entry.version)),
        ("accept-ranges", "bytes"),
        ("x-bms-author", entry.author),
        ("x-bms-time", str(entry.time_ms)),
        ("x-bms-siblings", str(entry.siblings)),
        ("x-bms-context", entry.context if len(entry.context) <= CONTEXT_CHARACTERS_MAX else CONTEXT_OF_ALL),
        ("x-bms-digest", entry.digest),
        # A value may be anybody's HTML: a browser that is shown it must not run it as ours.
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
    ]


class Addition(Struct, forbid_unknown_fields=True, kw_only=True):
    add: int
    """What to change the counter by; a whole number up to 10**18 either way."""


class AddQuery(Struct, forbid_unknown_fields=True, kw_only=True):
    ack: Ack | None = None
    timeout: Timeout | None = None


async def add_to_counter(call: Call) -> Answer:
    """Change a counter by a number. The key's space must be one of counters.

    Nothing is lost or counted twice, however many nodes add to it while they are apart.
    """
    key = check_key(call.path_rest())
    query = call.query(AddQuery)
    body = await call.json(Addition)
    return answer_write(await call.mesh.add(key, body.add, ack=query.ack, timeout=query.timeout), 200)


_KEY = "/v1/data/{key:rest}"

OPERATIONS: Final = (
    Operation("GET", "/v1/data", list_values, "List keys", "reader", query=ListQuery, answer=Listing),
    Operation(
        "PUT",
        _KEY,
        put_value,
        "Write a value",
        "writer",
        query=WriteQuery,
        body_media=OCTETS,
        answer=Receipt,
        statuses={200: "Replaced", 201: "Created", 202: "Kept, and not yet acknowledged as asked"},
    ),
    Operation(
        "GET",
        _KEY,
        get_value,
        "Read a value",
        "reader",
        query=ReadQuery,
        answer_media=OCTETS,
        statuses={200: "The value", 206: "The range asked for", 304: "Unchanged"},
    ),
    Operation(
        "HEAD",
        _KEY,
        head_value,
        "Look at a value",
        "reader",
        query=ReadQuery,
        statuses={200: "It is there"},
    ),
    Operation(
        "POST",
        "/v1/counters/{key:rest}",
        add_to_counter,
        "Add to a counter",
        "writer",
        query=AddQuery,
        body=Addition,
        answer=Receipt,
        statuses={200: "Added", 202: "Kept, and not yet acknowledged as asked"},
    ),
    Operation("DELETE", _KEY, delete_value, "Delete a value", "writer", query=WriteQuery, answer=Receipt),
)
