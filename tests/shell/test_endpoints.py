"""Where packets go, on a clock of the tests' own; names are looked up by a stand-in for the resolver."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.shell import host_names
from bellande_mesh_sync.shell.endpoints import HEARD_FOR_NS, NEXT_HOST_NS, Endpoints, Family
from bellande_mesh_sync.shell.host_names import GOOD_FOR_NS, LOOKUPS_MAX, RETRY_NS, HostNames

NODE = NodeId(b"n" * 32)
RECORD = MemberRecord(
    NODE, bytes(32), "n", ("10.0.0.1:80", "10.0.0.2:80"), "writer", 1, False, "", datagram_port=9000
)
change = msgspec.structs.replace


class Clock:
    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns


@contextmanager
def family(kind: int = socket.AF_INET, host: str = "127.0.0.1", *, only_v6: bool = False) -> Iterator[Family]:
    with socket.socket(kind, socket.SOCK_DGRAM) as bound:
        if kind == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
        bound.bind((host, 0))
        yield Family(bound)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def endpoints(clock: Clock) -> Iterator[Endpoints]:
    with family() as v4:
        yield Endpoints(v4, clock)


def test_a_member_is_reached_at_its_first_host_until_something_came_from_it(
    endpoints: Endpoints, clock: Clock
) -> None:
    assert endpoints.choose(NODE) is None
    endpoints.record(RECORD)
    assert endpoints.choose(NODE) == ("10.0.0.1", 9000)
    endpoints.heard(NODE, ("172.16.0.9", 4711))
    assert endpoints.choose(NODE) == ("172.16.0.9", 4711), "it roams, or is behind a NAT"
    clock.ns += HEARD_FOR_NS
    assert endpoints.choose(NODE) == ("10.0.0.1", 9000)
    endpoints.forget(NODE)
    assert endpoints.choose(NODE) is None
    endpoints.heard(NODE, ("172.16.0.9", 4711))
    assert len(endpoints) == 0


def test_a_host_from_which_nothing_comes_gives_way_to_the_next(endpoints: Endpoints, clock: Clock) -> None:
    endpoints.record(RECORD)
    for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1"):
        assert endpoints.choose(NODE) == (host, 9000)
        clock.ns += NEXT_HOST_NS - 1
        assert endpoints.choose(NODE) == (host, 9000), "it may still answer"
        clock.ns += 1


def test_a_host_that_answered_keeps_its_turn(endpoints: Endpoints, clock: Clock) -> None:
    endpoints.record(RECORD)
    endpoints.choose(NODE)
    clock.ns += NEXT_HOST_NS
    assert endpoints.choose(NODE) == ("10.0.0.2", 9000)
    endpoints.heard(NODE, ("10.0.0.2", 9000))
    clock.ns += 10 * HEARD_FOR_NS
    assert endpoints.choose(NODE) == ("10.0.0.2", 9000)


def test_a_record_with_news_of_other_things_does_not_change_the_road(endpoints: Endpoints) -> None:
    endpoints.record(RECORD)
    endpoints.heard(NODE, ("172.16.0.9", 4711))
    endpoints.record(change(RECORD, incarnation=2, seal_key=b"k" * 32))
    assert endpoints.choose(NODE) == ("172.16.0.9", 4711)
    endpoints.record(change(RECORD, datagram_port=9001))
    assert endpoints.choose(NODE) == ("10.0.0.1", 9001)
    endpoints.record(change(RECORD, addresses=("10.0.0.3:80",)))
    assert endpoints.choose(NODE) == ("10.0.0.3", 9000)


def test_a_member_without_addresses_is_reached_where_it_was_heard(endpoints: Endpoints) -> None:
    endpoints.record(change(RECORD, addresses=()))
    assert endpoints.choose(NODE) is None
    endpoints.heard(NODE, ("172.16.0.9", 4711))
    assert endpoints.choose(NODE) == ("172.16.0.9", 4711)


def test_addresses_of_no_use_are_passed_over(endpoints: Endpoints) -> None:
    useless = ("::1", "no address", "[::1]:80", "0.0.0.0:80", "224.0.0.1:80", "10.0.0.1:99999", "10.0.0.5:80")
    endpoints.record(change(RECORD, addresses=useless))
    assert endpoints.choose(NODE) == ("10.0.0.5", 9000)
    endpoints.record(change(RECORD, addresses=useless[:-1]))
    assert endpoints.choose(NODE) is None


def test_each_family_takes_its_own_addresses_and_a_dual_socket_both() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with family() as v4:
        assert (v4.fit("10.0.0.1"), v4.fit("fd00::1"), v4.fit("0.0.0.0")) == ("10.0.0.1", None, None)
    with family(socket.AF_INET6, "::", only_v6=True) as v6:
        assert (v6.fit("10.0.0.1"), v6.fit("fd00::1"), v6.fit("ff02::1")) == (None, "fd00::1", None)
    with family(socket.AF_INET6, "::") as both:
        assert (both.fit("10.0.0.1"), both.fit("fd00::1")) == ("::ffff:10.0.0.1", "fd00::1")


# -- names


class Resolver:
    """In place of the loop's getaddrinfo: answers when it is told to."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def getaddrinfo(self, name: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(name)
        await self.gate.wait()
        if name not in self.addresses:
            raise socket.gaierror("no such name")
        return [(0, 0, 0, "", (ip, 0)) for ip in self.addresses[name]]


def with_names(test: Callable[[HostNames, Resolver, Clock], Awaitable[None]]) -> None:
    async def main() -> None:
        resolver, clock = Resolver(), Clock()
        asyncio.get_running_loop().getaddrinfo = resolver.getaddrinfo  # type: ignore[method-assign, assignment]
        with family() as v4:
            names = HostNames(v4.fit, clock)
            try:
                await test(names, resolver, clock)
            finally:
                await names.close()

    asyncio.run(main())


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_name_is_looked_up_in_the_background_once_a_minute() -> None:
    async def test(names: HostNames, resolver: Resolver, clock: Clock) -> None:
        resolver.addresses["dock"] = ["fd00::1", "10.0.0.7"]
        assert names.find("dock") is None
        assert names.find("dock") is None
        await settle()
        assert names.find("dock") == "10.0.0.7", "the first that fits the socket"
        resolver.addresses["dock"] = ["10.0.0.8"]
        clock.ns += GOOD_FOR_NS
        assert names.find("dock") == "10.0.0.7", "still good while it is looked up again"
        await settle()
        assert names.find("dock") == "10.0.0.8"
        assert resolver.asked == ["dock", "dock"]

    with_names(test)


def test_a_name_that_cannot_be_found_is_tried_again_and_its_old_address_kept() -> None:
    async def test(names: HostNames, resolver: Resolver, clock: Clock) -> None:
        names.find("dock")
        await settle()
        assert names.find("dock") is None
        await settle()
        assert resolver.asked == ["dock"], "not asked again at once"
        clock.ns += RETRY_NS
        resolver.addresses["dock"] = ["10.0.0.7"]
        names.find("dock")
        await settle()
        del resolver.addresses["dock"]
        clock.ns += GOOD_FOR_NS
        names.find("dock")
        await settle()
        assert names.find("dock") == "10.0.0.7"

    with_names(test)


def test_lookups_at_once_and_names_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_names, "NAMES_MAX", 3)

    async def test(names: HostNames, resolver: Resolver, clock: Clock) -> None:
        resolver.gate.clear()
        for n in range(10):
            names.find(f"dock-{n}")
        await settle()
        assert len(resolver.asked) == LOOKUPS_MAX
        resolver.gate.set()
        for n in range(10):
            await settle()
            names.find(f"dock-{n}")
        await settle()
        assert len(names._known) == 3

    with_names(test)


def test_closing_ends_lookups_under_way() -> None:
    async def test(names: HostNames, resolver: Resolver, clock: Clock) -> None:
        resolver.gate.clear()
        names.find("dock")
        await settle()
        await names.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with_names(test)
