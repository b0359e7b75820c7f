"""Errors as a client of the HTTP API meets them, turned back into the classes of `errors`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from bellande_mesh_sync.errors import (
    BellandeMeshError,
    DeadlineError,
    InternalError,
    UnreachableError,
    UsageError,
)

_FACTS_TAKEN: Final = {"message", "self"}


@lru_cache(maxsize=1)
def classes_by_code() -> dict[str, type[BellandeMeshError]]:
    """Every class of the tree by its code; where a subclass shares a code, the class that gave it."""
    found: dict[str, type[BellandeMeshError]] = {}
    waiting: list[type[BellandeMeshError]] = [BellandeMeshError]
    for error_class in waiting:
        found.setdefault(error_class.code, error_class)
        # Only our own tree: a program's subclasses have their own meaning for a code.
        waiting += [c for c in error_class.__subclasses__() if c.__module__ == BellandeMeshError.__module__]
    return found


def error_in(body: bytes | Mapping[str, Any], status: int = 500) -> BellandeMeshError:
    """The error an answer tells of, as the class a node in this process would have raised."""
    try:
        document = msgspec.json.decode(body) if isinstance(body, bytes) else body
        told = document["error"]
        code, message, detail = str(told["code"]), str(told["message"]), dict(told.get("detail") or {})
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, ValueError, AttributeError):
        # Not one of our nodes, or something in front of it.
        return InternalError(f"HTTP status {status} without an error this client can read", incident="")
    facts = {name: value for name, value in detail.items() if name not in _FACTS_TAKEN}
    error_class = classes_by_code().get(code)
    if error_class is None:
        # A newer node's error: its code is kept, for it is what programs go by.
        error_class = type("RemoteError", (BellandeMeshError,), {"code": code})
    return error_class(message, **facts)


def checked_url(url: str) -> str:
    """The address without a slash at its end; UsageError if it is none that can be called."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(reason=f"{url!r} is not http://HOST:PORT or https://HOST:PORT")
    return url.rstrip("/")


@contextlib.contextmanager
def translated(address: str) -> Iterator[None]:
    """httpx's errors as ours: the node is not reachable, too slow, or the address is none."""
    import httpx

    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise UsageError(reason=f"{address!r} is no http:// or https:// address: {error}") from None
    except (httpx.ReadTimeout, httpx.WriteTimeout) as error:
        limits = error.request.extensions.get("timeout", {})
        raise DeadlineError(what=f"an answer of {address}", timeout_s=limits.get("read") or 0.0) from None
    except httpx.LocalProtocolError as error:
        # What we were about to send is no HTTP: a token with a line feed in it, most often.
        raise UsageError(reason=f"the request cannot be sent: {error}") from None
    except httpx.TransportError as error:
        raise UnreachableError(address=address, reason=_reason_of(error)) from None


def translated_pieces(address: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of an answer that somebody reads outside any `translated` block."""
    with translated(address):
        yield from pieces


def _reason_of(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text if text != "timed out" else "no connection in time"
