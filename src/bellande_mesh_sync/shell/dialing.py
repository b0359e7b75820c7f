"""Outbound connections: from an address to a TCP connection, or to the reason why there is none."""

from __future__ import annotations

import asyncio
import os

from bellande_mesh_sync.errors import UnreachableError


def parse_address(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`, taken apart.

    Raises:
        UnreachableError: it is neither.
    """
    host, separator, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        separator = ""
    if not (host and separator and port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
        raise UnreachableError(address=address[:300], reason="an address is host:port")
    return host, int(port)


async def connect(address: str, protocol: asyncio.BaseProtocol, timeout_s: float) -> None:
    """Connect `protocol` to `address`.

    Raises:
        UnreachableError: no connection within `timeout_s`.
    """
    host, port = parse_address(address)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(lambda: protocol, host, port)
    except TimeoutError:
        raise UnreachableError(address=address, reason=f"no answer within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise UnreachableError(address=address, reason=_words(error)) from None


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
