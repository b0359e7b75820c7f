"""Hosts of a small network, each a network namespace: wires can be cut, slowed and given new addresses.

Each host has one card, `eth0`, wired to a switch in a namespace of its own, so nothing of it is seen
outside. Cuts are `ip rule`s of the receiving host, which work on any kernel; a bad network is `tc netem`
where the kernel has it, and `relay.py` where it has not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from tests.netns.impairment import Impairment
from tests.netns.namespaces import (
    NamespaceError,
    create,
    delete,
    enter,
    exec_command,
    ip_batch,
    name_for,
    sweep,
    tc,
)

ROOT = Path(__file__).resolve().parents[2]
_NETWORK = "10.77.0"
_CUT_PRIORITY = 10
_LOCAL_PRIORITY = 100
_numbers = itertools.count(1)
_Answer = TypeVar("_Answer")


def mac_of(host: int) -> str:
    return f"02:77:00:00:00:{host:02x}"


@dataclass(slots=True)
class _Host:
    namespace: str
    address: str
    thread: ThreadPoolExecutor
    """Works inside the namespace."""
    silenced: set[str] = field(default_factory=set)
    """Addresses from which nothing gets in."""


class NetHosts:
    """`count` hosts, 0 to `count - 1`, at 10.77.0.1 and up; `with` makes them and clears them away."""

    def __init__(self, count: int) -> None:
        assert 1 <= count <= 100, "addresses from 101 up are for moves"
        self._count = count
        self._number = next(_numbers)
        self._switch = name_for(self._number, "switch")
        self._hosts: list[_Host] = []
        self._cuts: set[tuple[int, int]] = set()
        self._impairments: dict[int, Impairment] = {}
        self._relay: subprocess.Popen[bytes] | None = None
        self._exits = contextlib.ExitStack()
        self.has_netem = False
        """Whether the kernel loses and delays packets by itself, or the relay does."""

    def __enter__(self) -> Self:
        sweep()
        with contextlib.ExitStack() as exits:
            self._namespace(self._switch, exits)
            ip_batch(["link add br0 type bridge", "link set br0 up"], inside=self._switch)
            self.has_netem = self._probe_netem()
            for host in range(self._count):
                self._hosts.append(self._make(host, exits))
            for host in range(self._count):
                self._introduce(host)
            exits.callback(self._end_relay)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    # -- what hosts do

    def address(self, host: int) -> str:
        return self._hosts[host].address

    def prefix(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs on the host; the pid stays that of the command."""
        return exec_command(self._hosts[host].namespace)

    def run(self, host: int, argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self.prefix(host), *argv], **options)

    def call(self, host: int, work: Callable[..., _Answer], *arguments: Any) -> Future[_Answer]:
        """Have a thread on that host do it; calls for one host are done one after another."""
        return self._hosts[host].thread.submit(work, *arguments)

    # -- what happens to their wires

    def cut(self, sender: int, receiver: int, *, one_way: bool = False) -> None:
        """From now on nothing from `sender` gets to `receiver`, and nothing back unless `one_way`."""
        self._cuts.add((sender, receiver))
        if not one_way:
            self._cuts.add((receiver, sender))
        self._apply_cuts()

    def split(self, group: Iterable[int], others: Iterable[int]) -> None:
        """Cut every wire between the two groups."""
        for pair in itertools.product(list(group), list(others)):
            self._cuts |= {pair, pair[::-1]}
        self._apply_cuts()

    def heal(self) -> None:
        """All wires carry both ways again. What `netem` did stays."""
        self._cuts.clear()
        self._apply_cuts()

    def netem(self, host: int, impairment: Impairment) -> None:
        """What this host sends meets such a network from now on."""
        self._impairments[host] = impairment
        if self.has_netem:
            self._tell_kernel(host, impairment)
        elif any(self._impairments.values()):
            self._tell_relay(host, impairment)
        else:
            self._end_relay()

    def netem_off(self, host: int) -> None:
        """The host's network is good again; nothing happens if it was."""
        if self._impairments.get(host):
            self.netem(host, Impairment())

    def move(self, host: int, address: str) -> None:
        """The host's address is another one from now on, as after a new lease; the old one is gone."""
        inside = self._hosts[host].namespace
        ip_batch(
            [f"addr del {self._hosts[host].address}/24 dev eth0", f"addr add {address}/24 dev eth0"], inside
        )
        self._hosts[host].address = address
        for each in range(self._count):
            self._introduce(each)
        self._apply_cuts()

    # -- making them

    def _namespace(self, name: str, exits: contextlib.ExitStack) -> None:
        create(name)
        exits.callback(delete, name)

    def _make(self, host: int, exits: contextlib.ExitStack) -> _Host:
        name, address = name_for(self._number, f"h{host}"), f"{_NETWORK}.{host + 1}"
        self._namespace(name, exits)
        ip_batch(
            [
                f"link add h{host} type veth peer name eth0 address {mac_of(host)} netns {name}",
                f"link set h{host} master br0 up",
            ],
            self._switch,
        )
        ip_batch(
            [
                "link set lo up",
                "link set eth0 up",
                f"addr add {address}/24 dev eth0",
                # Cuts come before the rule that finds our own addresses, which is the first by default.
                f"rule add pref {_LOCAL_PRIORITY} from all lookup local",
                "rule del pref 0",
            ],
            name,
        )
        thread = ThreadPoolExecutor(1, f"host-{host}", initializer=enter, initargs=(name,))
        exits.callback(thread.shutdown)
        thread.submit(_keep_to_cut_wires).result()
        return _Host(name, address, thread)

    def _introduce(self, host: int) -> None:
        """Tell a host where the others are. A cut must lose packets in silence, so nobody asks by ARP."""
        others = [(other, each) for other, each in enumerate(self._hosts) if other != host]
        lines = [
            f"neigh replace {each.address} lladdr {mac_of(other)} dev eth0 nud permanent"
            for other, each in others
        ]
        ip_batch([*lines, "route replace default dev eth0"], self._hosts[host].namespace)

    # -- cuts

    def _apply_cuts(self) -> None:
        for receiver, host in enumerate(self._hosts):
            wanted = {self._hosts[sender].address for sender, other in self._cuts if other == receiver}
            lines = [_rule("del", address) for address in sorted(host.silenced - wanted)]
            lines += [_rule("add", address) for address in sorted(wanted - host.silenced)]
            if lines:
                ip_batch(lines, host.namespace)
                host.silenced = wanted

    # -- a bad network

    def _probe_netem(self) -> bool:
        try:
            tc("qdisc", "add", "dev", "br0", "root", "netem", "delay", "1ms", inside=self._switch)
        except NamespaceError:
            return False  # The kernel was built without it.
        tc("qdisc", "del", "dev", "br0", "root", inside=self._switch)
        return True

    def _tell_kernel(self, host: int, impairment: Impairment) -> None:
        change = "replace" if impairment else "del"
        words = ["netem", *impairment.tc_arguments()] if impairment else []
        tc("qdisc", change, "dev", "eth0", "root", *words, inside=self._hosts[host].namespace)

    def _tell_relay(self, host: int, impairment: Impairment) -> None:
        if self._relay is None:
            self._relay = self._start_relay()
        stdin, stdout = _pipes(self._relay)
        stdin.write(json.dumps({"host": host, **asdict(impairment)}).encode() + b"\n")
        stdin.flush()
        if stdout.readline() != b"done\n":
            raise NamespaceError("the relay has ended")

    def _start_relay(self) -> subprocess.Popen[bytes]:
        ip_batch([f"link set h{host} nomaster" for host in range(self._count)], self._switch)
        command = [*exec_command(self._switch), sys.executable, "-m", "tests.netns.relay", str(self._count)]
        # A session of its own: Ctrl-C is for the tests, which then end it.
        relay = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
        )
        if _pipes(relay)[1].readline() != b"ready\n":
            raise NamespaceError("the relay did not start")
        return relay

    def _end_relay(self) -> None:
        """The bridge takes over again."""
        relay, self._relay = self._relay, None
        if relay is not None:
            for pipe in _pipes(relay):
                pipe.close()
            relay.wait(10)
            ip_batch([f"link set h{host} master br0" for host in range(self._count)], self._switch)


def _keep_to_cut_wires() -> None:
    """Switch off what would pass by the `ip rule`s of a cut. For a thread that is inside."""
    # Cuts name IPv4 addresses; and an open connection must not remember that its packets were welcome.
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    Path("/proc/sys/net/ipv4/ip_early_demux").write_text("0")


def _rule(change: str, address: str) -> str:
    return f"rule {change} pref {_CUT_PRIORITY} from {address} blackhole"


def _pipes(program: subprocess.Popen[bytes]) -> tuple[IO[bytes], IO[bytes]]:
    assert program.stdin is not None
    assert program.stdout is not None
    return program.stdin, program.stdout
