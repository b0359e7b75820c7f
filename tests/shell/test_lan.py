"""Two machines on one cable, without internet, DNS or DHCP: network namespaces joined by a veth pair."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

PATIENCE_S = 30.0

pytestmark = pytest.mark.skipif(
    shutil.which("ip") is None or os.geteuid() != 0, reason="network namespaces need root and iproute2"
)


class Machine:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def ip(self, *words: str) -> None:
        subprocess.run(["ip", "-n", self.namespace, *words], check=True, timeout=30)

    def wait_for_carrier(self) -> None:
        """The kernel says up to a second later that the cable is in."""
        give_up = time.monotonic() + PATIENCE_S
        show = ["ip", "-n", self.namespace, "-brief", "link", "show", "lan0"]
        while (
            " UP " not in subprocess.run(show, check=True, timeout=30, capture_output=True, text=True).stdout
        ):
            assert time.monotonic() < give_up, "lan0 does not come up"
            time.sleep(0.02)


class Node:
    """A process on a machine, and what it said."""

    def __init__(self, machine: Machine, host: str, port: int, mesh: bytes) -> None:
        self.id = secrets.token_bytes(32).hex()
        self.said: list[str] = []
        words = ["-m", "tests.shell.lan_node", host, str(port), mesh.hex(), self.id]
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", machine.namespace, sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.said.extend(line.strip() for line in self.process.stdout)

    def says(self, line: str) -> None:
        give_up = time.monotonic() + PATIENCE_S
        while line not in self.said:
            assert time.monotonic() < give_up, f"not said: {line}; but: {self.said}"
            time.sleep(0.02)

    def finds(self, other: Node, *addresses: str) -> None:
        self.says(" ".join((other.id, *addresses)))

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def running(machine: Machine, host: str, port: int, mesh: bytes) -> Iterator[Node]:
    node = Node(machine, host, port, mesh)
    try:
        node.says("started")
        yield node
    finally:
        node.stop()


@pytest.fixture
def cable() -> Iterator[tuple[Machine, Machine]]:
    """Two machines whose `lan0` are the two ends of a cable, 10.77.0.1 and 10.77.0.2."""
    names = [f"bms-{side}-{os.getpid()}" for side in "ab"]
    with contextlib.ExitStack() as exits:
        for name in names:
            made = subprocess.run(["ip", "netns", "add", name], check=False, timeout=30)
            if made.returncode != 0:
                pytest.skip("this machine allows no network namespaces")
            exits.callback(subprocess.run, ["ip", "netns", "del", name], check=False, timeout=30)
        first, second = map(Machine, names)
        far_end = ("peer", "name", "lan0", "netns", second.namespace)
        first.ip("link", "add", "lan0", "type", "veth", *far_end)
        for number, machine in enumerate((first, second), start=1):
            machine.ip("link", "set", "lo", "up")
            machine.ip("addr", "add", f"10.77.0.{number}/24", "dev", "lan0")
            machine.ip("addr", "add", f"fd77::{number}/64", "dev", "lan0", "nodad")
            machine.ip("link", "set", "lan0", "up")
        first.wait_for_carrier()
        second.wait_for_carrier()
        yield first, second


def test_machines_on_one_cable_find_each_other_wherever_they_move(cable: tuple[Machine, Machine]) -> None:
    first, second = cable
    mesh = secrets.token_bytes(32)
    with (
        running(second, "127.0.0.1", 8001, mesh) as hidden,
        running(first, "0.0.0.0", 8000, mesh) as alice,
        running(second, "::", 8000, mesh) as bob,
        running(second, "127.0.0.1", 8002, mesh) as beside,
    ):
        alice.finds(bob, "10.77.0.2:8000", "[fd77::2]:8000")
        bob.finds(alice, "10.77.0.1:8000")
        second.ip("addr", "del", "10.77.0.2/24", "dev", "lan0")
        second.ip("addr", "add", "10.77.0.3/24", "dev", "lan0")
        alice.finds(bob, "10.77.0.3:8000", "[fd77::2]:8000")
        hidden.finds(beside, "127.0.0.1:8002")
        beside.finds(hidden, "127.0.0.1:8001")
    for node in (alice, bob):
        assert not [line for line in node.said if line.startswith((hidden.id, beside.id))]
    assert {line.split()[0] for line in beside.said} == {"started", hidden.id}
    for node in (alice, bob, hidden, beside):
        assert not [line for line in node.said if "WARNING" in line or "ERROR" in line]


def test_a_machine_that_was_started_before_the_cable_was_plugged_in_is_found(
    cable: tuple[Machine, Machine],
) -> None:
    first, second = cable
    mesh = secrets.token_bytes(32)
    first.ip("link", "set", "lan0", "down")
    with (
        running(first, "0.0.0.0", 8000, mesh) as alice,
        running(first, "127.0.0.1", 8001, mesh) as beside,
        running(second, "0.0.0.0", 8000, mesh) as bob,
    ):
        alice.finds(beside, "127.0.0.1:8001")  # For want of a network, it looks around on its own machine.
        first.ip("link", "set", "lan0", "up")
        bob.finds(alice, "10.77.0.1:8000")
        alice.finds(bob, "10.77.0.2:8000")
