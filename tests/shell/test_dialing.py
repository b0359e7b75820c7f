"""A name is dialled at all of its addresses, and a dead one costs a quarter of a second."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from bellande_mesh_sync.errors import UnreachableError
from bellande_mesh_sync.shell import dialing
from bellande_mesh_sync.shell.dialing import RESOLVED_MAX, connect, resolve
from tests.shell.link_nodes import LOOPS, polled, run

NAME = "fleet.example:8000"
Info = tuple[int, int, int, str, tuple[Any, ...]]


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _in_the_order_given(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "spreads" not in request.node.name:
        monkeypatch.setattr(random, "shuffle", lambda _: None)


def info(host: str, port: int) -> Info:
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


def name_stands_for(*places: tuple[str, int]) -> list[str]:
    """The resolver of the running loop answers with these; returns whom it was asked for."""
    asked: list[str] = []

    async def answer(host: str, port: int, **_: Any) -> list[Info]:
        if host[0] in "1:":
            return [info(host, port)]  # uvloop's own question about an address that it connects to.
        asked.append(host)
        return [info(*place) for place in places]

    _resolver(answer)
    return asked


def _resolver(answer: Callable[..., Awaitable[list[Info]]]) -> None:
    asyncio.get_running_loop().getaddrinfo = answer  # type: ignore[method-assign, assignment]


class Listening:
    """Accepts, and keeps what it accepted."""

    def __init__(self, host: str) -> None:
        self.socket = socket.create_server((host, 0), family=dialing_family(host))
        self.socket.setblocking(False)
        self.place: tuple[str, int] = (host, self.socket.getsockname()[1])
        self.accepted: list[socket.socket] = []
        self._task = asyncio.create_task(self._accept())

    async def _accept(self) -> None:
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self.socket)
            self.accepted.append(connection)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        for each in (self.socket, *self.accepted):
            each.close()


def dialing_family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@asynccontextmanager
async def listening(host: str = "127.0.0.1") -> AsyncIterator[Listening]:
    made = Listening(host)
    try:
        yield made
    finally:
        await made.close()


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A port that answers nothing: its queue of connections is full, and nobody takes any."""
    with contextlib.ExitStack() as held:
        full = held.enter_context(socket.socket(dialing_family(host), socket.SOCK_STREAM))
        full.bind((host, 0))
        full.listen(0)
        for _ in range(4):
            filler = held.enter_context(socket.socket(dialing_family(host), socket.SOCK_STREAM))
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield host, full.getsockname()[1]


def refused_port(host: str = "127.0.0.1") -> tuple[str, int]:
    with socket.socket(dialing_family(host), socket.SOCK_STREAM) as trial:
        trial.bind((host, 0))
        return host, trial.getsockname()[1]


class Connected(asyncio.Protocol):
    def __init__(self) -> None:
        self.peer: tuple[str, int] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance.
        self.peer = transport.get_extra_info("peername")[:2]

    async def close(self) -> None:
        assert self.transport is not None
        self.transport.abort()
        await asyncio.sleep(0.01)


async def dialled(address: str = NAME, timeout_s: float = 20.0) -> tuple[str, int] | None:
    """Whom a dial of `address` reached."""
    protocol = Connected()
    await connect(address, protocol, timeout_s)
    await protocol.close()
    return protocol.peer


def test_a_name_whose_first_address_answers_nothing_is_reached_at_the_second(loop_name: str) -> None:
    async def test() -> None:
        with black_hole() as hole:
            async with listening() as second:
                name_stands_for(hole, second.place)
                began = asyncio.get_running_loop().time()
                assert await dialled() == second.place
                assert 0.2 < asyncio.get_running_loop().time() - began < 5

    run(loop_name, test)


def test_a_family_that_leads_nowhere_does_not_keep_from_the_other(loop_name: str) -> None:
    async def test() -> None:
        with black_hole("::1") as hole:
            async with listening() as other:
                name_stands_for(hole, hole, hole, other.place)
                assert await dialled() == other.place

    run(loop_name, test)


def test_a_refusal_goes_on_to_the_next_address_at_once(
    loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with listening() as third:
            name_stands_for(refused_port(), refused_port(), third.place)
            assert await dialled() == third.place

    monkeypatch.setattr(dialing, "NEXT_AFTER_S", 3600.0)
    run(loop_name, test)


def test_an_attempt_that_is_slow_may_still_win(loop_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with listening() as first:
            with black_hole() as hole:
                name_stands_for(first.place, hole, hole)
                assert await dialled() == first.place

    monkeypatch.setattr(dialing, "NEXT_AFTER_S", 0.0)
    run(loop_name, test)


def test_of_two_that_answer_together_one_is_kept_and_the_other_closed(
    loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with listening() as first, listening() as second:
            name_stands_for(first.place, second.place)
            protocol = Connected()
            await connect(NAME, protocol, 20.0)
            loser = second if protocol.peer == first.place else first
            winner = first if loser is second else second
            await polled(lambda: winner.accepted)
            for left in loser.accepted:
                assert await asyncio.get_running_loop().sock_recv(left, 1) == b""
            await protocol.close()

    monkeypatch.setattr(dialing, "NEXT_AFTER_S", 0.0)
    run(loop_name, test)


def test_a_name_of_several_nodes_spreads_who_dials_it(loop_name: str) -> None:
    async def test() -> None:
        async with listening() as first, listening() as second:
            name_stands_for(first.place, second.place)
            assert {await dialled() for _ in range(60)} == {first.place, second.place}

    run(loop_name, test)


def test_when_no_address_answers_the_reason_and_no_socket_is_left(loop_name: str) -> None:
    async def test() -> None:
        with black_hole() as hole:
            before = len(os.listdir("/proc/self/fd"))
            name_stands_for(hole, refused_port(), hole)
            with pytest.raises(UnreachableError, match=r"no answer within 0\.6 s"):
                await dialled(timeout_s=0.6)
            assert len(os.listdir("/proc/self/fd")) == before

    run(loop_name, test)


def test_when_every_address_refuses_that_is_the_reason(loop_name: str) -> None:
    async def test() -> None:
        name_stands_for(refused_port(), refused_port())
        with pytest.raises(UnreachableError, match="connection refused"):
            await dialled()

    run(loop_name, test)


def test_a_name_that_is_not_known_is_unreachable_for_that_reason(loop_name: str) -> None:
    async def fail(host: str, port: int, **_: Any) -> list[Info]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def test() -> None:
        _resolver(fail)
        for call in (dialled, resolve):
            with pytest.raises(UnreachableError, match=r"fleet\.example.*the name is not known"):
                await call(NAME)
        name_stands_for()
        with pytest.raises(UnreachableError, match="no addresses"):
            await dialled()

    run(loop_name, test)


def test_a_resolver_that_never_answers_costs_no_more_than_the_timeout(loop_name: str) -> None:
    async def hang(host: str, port: int, **_: Any) -> list[Info]:
        await asyncio.Event().wait()
        return []

    async def test() -> None:
        _resolver(hang)
        for call in (dialled, resolve):
            with pytest.raises(UnreachableError, match=r"within 0.05 s"):
                await call(NAME, timeout_s=0.05)

    run(loop_name, test)


def test_an_ip_address_is_dialled_without_a_resolver(loop_name: str) -> None:
    async def test() -> None:
        async with listening() as four, listening("::1") as six:
            asked = name_stands_for()
            assert await dialled(f"127.0.0.1:{four.place[1]}") == four.place
            assert await dialled(f"[::1]:{six.place[1]}") == six.place
            assert asked == []

    run(loop_name, test)


def test_all_addresses_of_a_name_are_told_each_once(loop_name: str) -> None:
    async def test() -> None:
        name_stands_for(("10.0.0.1", 8000), ("fd00::1", 8000), ("10.0.0.2", 8000), ("10.0.0.1", 8000))
        assert await resolve(NAME) == ("10.0.0.1:8000", "[fd00::1]:8000", "10.0.0.2:8000")
        assert await resolve("192.0.2.5:7") == ("192.0.2.5:7",)
        assert await resolve("[2001:db8::5]:7") == ("[2001:db8::5]:7",)

    run(loop_name, test)


def test_a_name_with_thousands_of_addresses_is_cut_short(loop_name: str) -> None:
    async def test() -> None:
        name_stands_for(*((f"10.0.{number // 256}.{number % 256}", 8000) for number in range(5000)))
        assert len(await resolve(NAME)) == RESOLVED_MAX

    run(loop_name, test)


@pytest.mark.parametrize(
    "address", ["", "host", "host:0", "host:x", "fd00::1:80", "a..b:80", "é" * 70 + ":80"]
)
def test_what_is_no_address_is_unreachable(address: str) -> None:
    async def test() -> None:
        for call in (dialled, resolve):
            with pytest.raises(UnreachableError):
                await call(address)

    run("asyncio", test)
