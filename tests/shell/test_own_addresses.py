"""Where a machine is reached, and noticing when that changes."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator
from types import SimpleNamespace

import ifaddr
import pytest

from bellande_mesh_sync.addresses import parse_address
from bellande_mesh_sync.shell import own_addresses
from bellande_mesh_sync.shell.own_addresses import ADDRESSES_MAX, AddressWatch, reached_at
from tests.shell.link_nodes import polled, run

FOUR, SIX = "0.0.0.0", "::"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with the interfaces and the way out that a test gives it; IPv4 tuples of one."""
    state = SimpleNamespace(interfaces={}, outward={})

    def adapters() -> Iterator[ifaddr.Adapter]:
        for name, hosts in state.interfaces.items():
            ips = [ifaddr.IP((host, 0, 0) if ":" in host else host, 24, name) for host in hosts]
            yield ifaddr.Adapter(name, name, ips)

    monkeypatch.setattr(ifaddr, "get_adapters", adapters)
    monkeypatch.setattr(own_addresses, "_outward_host", state.outward.get)
    return state


def test_a_node_that_listens_on_one_address_is_reached_there() -> None:
    assert reached_at("192.0.2.7", 8000) == ("192.0.2.7:8000",)
    assert reached_at("::1", 8000) == ("[::1]:8000",)


def test_the_address_that_leads_out_comes_first(machine: SimpleNamespace) -> None:
    machine.interfaces = {"lo": ["127.0.0.1", "::1"], "lan0": ["10.1.0.7"], "lan1": ["10.0.0.7", "fd00::7"]}
    machine.outward[socket.AF_INET] = "10.1.0.7"
    assert reached_at(FOUR, 8000) == ("10.1.0.7:8000", "10.0.0.7:8000")
    assert reached_at(SIX, 8000) == ("10.1.0.7:8000", "10.0.0.7:8000", "[fd00::7]:8000")


def test_a_network_without_any_server_is_enough(machine: SimpleNamespace) -> None:
    machine.interfaces = {"lo": ["127.0.0.1"], "lan0": ["169.254.3.4", "fe80::1"]}
    assert reached_at(SIX, 8000) == ("169.254.3.4:8000",)


def test_without_a_network_only_this_machine_can_come(machine: SimpleNamespace) -> None:
    assert reached_at(FOUR, 8000) == ("127.0.0.1:8000",)
    assert reached_at(SIX, 8000) == ("[::1]:8000",)


def test_bridges_to_the_machines_own_containers_are_left_out(machine: SimpleNamespace) -> None:
    inner = ("docker0", "br-0123456789ab", "veth12ab", "virbr0", "cni0", "podman1")
    machine.interfaces = {**{name: ["172.17.0.1"] for name in inner}, "br-lan": ["10.0.0.7"]}
    assert reached_at(FOUR, 8000) == ("10.0.0.7:8000",)


def test_no_more_than_four_addresses_are_told(machine: SimpleNamespace) -> None:
    machine.interfaces = {f"lan{number}": [f"10.0.{number}.7"] for number in range(9)}
    assert len(reached_at(FOUR, 8000)) == ADDRESSES_MAX


def test_the_order_in_which_the_system_lists_interfaces_does_not_matter(machine: SimpleNamespace) -> None:
    machine.interfaces = {"a": ["10.0.0.7"], "b": ["10.0.1.7"], "c": ["10.0.2.7"]}
    before = reached_at(FOUR, 8000)
    machine.interfaces = dict(reversed(machine.interfaces.items()))
    assert reached_at(FOUR, 8000) == before


@pytest.mark.parametrize("wildcard", [FOUR, SIX])
def test_this_machine_is_reached_at_addresses_it_has(wildcard: str) -> None:
    addresses = reached_at(wildcard, 8000)
    assert 1 <= len(addresses) <= ADDRESSES_MAX
    for address in addresses:
        host, port = parse_address(address)
        assert port == 8000
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind((host, 0))
        assert not ipaddress.ip_address(host).is_unspecified


# -- watching


class Machine:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.looks = 0
        self.fails = False

    def now(self) -> tuple[str, ...]:
        self.looks += 1
        if self.fails:
            raise OSError("no memory for that")
        return self.addresses

    async def looked_at(self, more: int = 3) -> None:
        enough = self.looks + more
        await polled(lambda: self.looks >= enough)


def test_a_change_is_told_once_and_no_change_not_at_all() -> None:
    async def test() -> None:
        machine = Machine("10.0.0.7:8000")
        told: list[tuple[str, ...]] = []
        watch = AddressWatch(addresses_now=machine.now, on_changed=told.append, interval_s=0.001)
        watch.start()
        await machine.looked_at()
        assert told == []
        machine.addresses = ("10.9.9.9:8000",)
        await machine.looked_at()
        machine.addresses = ("10.0.0.7:8000",)
        await machine.looked_at()
        assert told == [("10.9.9.9:8000",), ("10.0.0.7:8000",)]
        await watch.close()

    run("asyncio", test)


def test_what_changed_before_the_watch_started_is_told() -> None:
    async def test() -> None:
        machine = Machine("10.0.0.7:8000")
        told: list[tuple[str, ...]] = []
        watch = AddressWatch(addresses_now=machine.now, on_changed=told.append, interval_s=0.001)
        machine.addresses = ("10.9.9.9:8000",)
        watch.start()
        await polled(lambda: told)
        await watch.close()

    run("asyncio", test)


def test_addresses_that_cannot_be_read_for_a_while_are_no_change() -> None:
    async def test() -> None:
        machine = Machine("10.0.0.7:8000")
        told: list[tuple[str, ...]] = []
        watch = AddressWatch(addresses_now=machine.now, on_changed=told.append, interval_s=0.001)
        watch.start()
        machine.fails = True
        await machine.looked_at()
        machine.fails = False
        await machine.looked_at()
        assert told == []
        await watch.close()

    run("asyncio", test)


def test_a_watch_that_never_started_can_be_closed() -> None:
    async def test() -> None:
        watch = AddressWatch(addresses_now=lambda: (), on_changed=lambda _: None)
        await watch.close()
        await asyncio.sleep(0)

    run("asyncio", test)
