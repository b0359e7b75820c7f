"""Outbound connections: from an address to a TCP connection, or to the reason why there is none."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from itertools import chain, zip_longest
from typing import Final, TypeAlias

from bellande_mesh_sync.addresses import format_address
from bellande_mesh_sync.errors import UnreachableError

NEXT_AFTER_S: Final = 0.25
"""How long an address has to answer before the next one is tried beside it (RFC 8305, section 5)."""
RESOLVED_MAX: Final = 64
"""Addresses of one name. More are not looked at."""
RESOLVE_S: Final = 5.0

Endpoint: TypeAlias = "tuple[socket.AddressFamily, tuple[object, ...]]"
"""A family, and the address as its sockets take it."""


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
    """Connect `protocol` to `address`: of a name, to whichever of its addresses answers first.

    They are tried in random order, so that a name of several nodes spreads who calls it, IPv6 and IPv4
    in turns; each gets a head start of 250 ms over the next.

    Raises:
        UnreachableError: no connection within `timeout_s`.
    """
    host, port = parse_address(address)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            connected = await _first_to_answer(_in_turns(await _endpoints(host, port)))
            try:
                await loop.create_connection(lambda: protocol, sock=connected)
            except BaseException:  # Also a cancellation: nobody else would close it.
                connected.close()
                raise
    except TimeoutError:
        raise UnreachableError(address=address, reason=f"no answer within {timeout_s:g} s") from None
    except (OSError, UnicodeError) as error:
        raise UnreachableError(address=address, reason=_words(error)) from None


async def resolve(address: str, timeout_s: float = RESOLVE_S) -> tuple[str, ...]:
    """All addresses behind `address`, at most 64, as `host:port` with IP addresses, each once.

    A name may stand for several nodes, of which a dial finds only the first that answers.

    Raises:
        UnreachableError: it is no address, or its name is not known now.
    """
    host, port = parse_address(address)
    try:
        async with asyncio.timeout(timeout_s):
            endpoints = await _endpoints(host, port)
    except TimeoutError:
        reason = f"the name was not resolved within {timeout_s:g} s"
        raise UnreachableError(address=address, reason=reason) from None
    except (OSError, UnicodeError) as error:
        raise UnreachableError(address=address, reason=_words(error)) from None
    return tuple(format_address(str(name[0]), port) for _, name in endpoints)


async def _endpoints(host: str, port: int) -> list[Endpoint]:
    """Where `host` is, each address once."""
    try:
        # Not in a worker thread: names that nobody answers for may hold all of those for a while.
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: dict[Endpoint, None] = {(family, name): None for family, _, _, _, name in infos}
    return list(found)[:RESOLVED_MAX]


def _in_turns(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Shuffled, one family after the other, IPv6 first: a family that leads nowhere costs one try."""
    random.shuffle(endpoints)
    first = [each for each in endpoints if each[0] == socket.AF_INET6]
    second = [each for each in endpoints if each[0] != socket.AF_INET6]
    return [each for each in chain.from_iterable(zip_longest(first, second)) if each is not None]


async def _first_to_answer(endpoints: list[Endpoint]) -> socket.socket:
    """A connected socket to one of them; the attempts at the others are given up.

    Raises:
        OSError: none can be reached; the reason is that of the first.
    """
    waiting = list(reversed(endpoints))
    running: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_attempt(waiting.pop()), name="bms-connect"))
            done, _ = await asyncio.wait(
                running,
                timeout=NEXT_AFTER_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                running.discard(attempt)
                try:
                    return attempt.result()
                except OSError as error:
                    failures.append(error)
        raise failures[0] if failures else OSError("the name has no addresses")
    finally:
        await _give_up(running)


async def _attempt(endpoint: Endpoint) -> socket.socket:
    family, name = endpoint
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connecting, name)
    except BaseException:  # Most often a cancellation, when another address answered first.
        connecting.close()
        raise
    return connecting


async def _give_up(attempts: set[asyncio.Task[socket.socket]]) -> None:
    for attempt in attempts:
        attempt.cancel()
    for result in await asyncio.gather(*attempts, return_exceptions=True):
        if isinstance(result, socket.socket):
            result.close()


def _words(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name is not known: {(error.strerror or str(error)).lower()}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__
