"""A mesh of real `bms start` processes, one on each host of a NetHosts, and what it knows and announces."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, TypeVar

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BellandeMeshError
from bellande_mesh_sync.home import Home
from bellande_mesh_sync.security.authority import Authority, new_member
from bellande_mesh_sync.security.identity import save_identity
from bellande_mesh_sync.values import NodeView
from tests.netns.announcements import Announcement, announcements_in
from tests.netns.hosts import NetHosts
from tools.processes import NodeProcess

DETECTOR = 'profile = "fast"'
"""The lines of node.toml that set how fast failures are found."""

PORT = 8000
CALM_SECONDS_MAX = 60.0
_POLL_SECONDS = 0.05
_Answer = TypeVar("_Answer")

_SETTINGS = """\
name = "{name}"
listen_address = "0.0.0.0:{port}"
bootstrap_nodes = [{bootstrap}]
sync_interval = 5
{detector}
[options]
enable_discovery = false
"""


class FleetNode:
    """One node: its home, its host, and its process once started."""

    def __init__(self, hosts: NetHosts, host: int, home: Path) -> None:
        self.name = home.name
        self.host = host
        self.home = home
        self.is_paused = False
        self._hosts = hosts
        self._client: Client | None = None
        listen = f"0.0.0.0:{PORT}"  # So that it goes on listening when the host's address changes.
        self.process = NodeProcess(home, listen=listen, launcher=hosts.prefix(host))

    @property
    def is_running(self) -> bool:
        return self.process.is_running and not self.is_paused

    @property
    def address(self) -> str:
        return f"{self._hosts.address(self.host)}:{PORT}"

    def settle(self, bootstrap: Iterable[str]) -> None:
        """Write node.toml: whom to call first when it starts the next time."""
        addresses = ", ".join(f'"{address}"' for address in bootstrap)
        text = _SETTINGS.format(name=self.name, port=PORT, bootstrap=addresses, detector=DETECTOR)
        Home(self.home).write_settings(text)

    def start(self) -> None:
        self.process.start()
        self._client = Client(self.process.http_url, self.process.admin_token())

    def ask(self, question: Callable[[Client], _Answer]) -> _Answer:
        """Ask this node over HTTP, on its host's loopback."""
        client = self._client
        assert client is not None, "not started"
        return self._hosts.call(self.host, question, client).result()

    def put(self, key: str, value: bytes) -> None:
        self.ask(lambda client: client.put(key, value))

    def pause(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        self.is_paused = True

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.is_paused = False

    def kill(self) -> None:
        """SIGKILL. The kernel closes its connections, as it does for any process that dies."""
        self.process.kill()
        self.is_paused = False

    def announced(self, since_s: float = 0.0) -> list[Announcement]:
        """What it has told its programs about members, from a time on."""
        return announcements_in(self.process.log, self.name, since_s)


class Fleet:
    """`count` nodes of one mesh, n0, n1 and so on, on the hosts of the same numbers.

    `hosts` may have more; each node calls the first two to get in, and no other way in is open to it.
    """

    def __init__(self, folder: Path, hosts: NetHosts, count: int) -> None:
        self.hosts = hosts
        authority = Authority.create("fleet")
        self.nodes = [self._make(folder / f"n{host}", host, authority) for host in range(count)]

    def _make(self, home: Path, host: int, authority: Authority) -> FleetNode:
        save_identity(new_member(authority, home.name, role="admin"), Home(home).identity_dir)
        node = FleetNode(self.hosts, host, home)
        node.settle([f"{self.hosts.address(first)}:{PORT}" for first in (0, 1)])
        return node

    def copy_of(self, node: FleetNode, host: int) -> FleetNode:
        """The same home once more, on another host: what cloning a disk does."""
        home = node.home.with_name(f"{node.name}-copy")
        shutil.copytree(node.home, home)
        return FleetNode(self.hosts, host, home)

    def __enter__(self) -> Self:
        try:
            self.start(self.nodes)
            self.wait_calm()
            self._check_announcements()
        except BaseException:  # Also Ctrl-C: no process may outlive the test.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process.is_running:
                node.kill()

    def _check_announcements(self) -> None:
        """A log that is read wrongly would be one without deaths."""
        for node in self.nodes:
            alive = {each.about for each in node.announced() if each.new_state == "alive"}
            assert alive == {other.name for other in self.nodes} - {node.name}, node.process.log.read_text()

    # -- the processes

    def start(self, nodes: Sequence[FleetNode]) -> None:
        with ThreadPoolExecutor(len(nodes)) as threads:
            list(threads.map(FleetNode.start, nodes))

    @property
    def running(self) -> list[FleetNode]:
        return [node for node in self.nodes if node.is_running]

    def mend(self) -> None:
        """Every wire whole, every node running, all of one mind."""
        self.hosts.heal()
        for node in self.nodes:
            self.hosts.netem_off(node.host)
            if node.is_paused:
                node.go_on()
        if ended := [node for node in self.nodes if not node.process.is_running]:
            self.start(ended)
        self.wait_calm()

    def wait_calm(self) -> float:
        return self.wait(self.is_calm, CALM_SECONDS_MAX, "one mesh, everybody alive and linked, one content")

    # -- what they know

    def ask_all(
        self, question: Callable[[Client], _Answer], nodes: Sequence[FleetNode] | None = None
    ) -> dict[str, _Answer]:
        """The answers by name, of the nodes that run; all are asked at once."""
        asked = self.running if nodes is None else nodes
        with ThreadPoolExecutor(len(asked)) as threads:
            answers = list(threads.map(lambda node: node.ask(question), asked))
        return {node.name: answer for node, answer in zip(asked, answers, strict=True)}

    def views(self, nodes: Sequence[FleetNode] | None = None) -> dict[str, dict[str, NodeView]]:
        """Every node's view of every other one, by their names."""
        found = self.ask_all(Client.nodes, nodes)
        return {
            name: {view.name: view for view in views if not view.is_local} for name, views in found.items()
        }

    def states_of(self, about: FleetNode) -> dict[str, str]:
        """The state in which each running node sees that one; empty where it was never heard of."""
        views = self.views([node for node in self.running if node is not about])
        return {name: seen[about.name].state if about.name in seen else "" for name, seen in views.items()}

    def is_one_mesh(self) -> bool:
        """Whether each node that runs sees each other one that runs alive."""
        names = {node.name for node in self.running}
        return all(
            names - {name} <= {other for other, view in seen.items() if view.state == "alive"}
            for name, seen in self.views().items()
        )

    def is_of_one_content(self) -> bool:
        """Whether the nodes that run hold the same keys and values."""
        digests = self.ask_all(Client.digest)
        return len({digest["digest"] for digest in digests.values()}) == 1

    def is_calm(self) -> bool:
        names = {node.name for node in self.running}
        is_linked = all(
            names - {name} <= {other for other, view in seen.items() if view.linked}
            for name, seen in self.views().items()
        )
        return is_linked and self.is_one_mesh() and self.is_of_one_content()

    def deaths(self, since_s: float) -> list[Announcement]:
        """Every death that any node has announced since, also those taken back."""
        told = [each for node in self.nodes for each in node.announced(since_s)]
        return [each for each in told if each.new_state == "dead"]

    def wait(self, condition: Callable[[], bool], seconds_max: float, what: str) -> float:
        """Until it holds; how many seconds that took. AssertionError with every view if it is too long."""
        began = time.monotonic()
        while not condition():
            took = time.monotonic() - began
            assert took < seconds_max, f"not within {seconds_max:g} s: {what}\n{self.picture()}"
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - began

    def picture(self) -> str:
        """Who sees whom how, a line for each running node."""
        lines = []
        for name, seen in sorted(self.views().items()):
            others = [
                f"{other}={view.state}{'' if view.linked else '(no link)'}"
                for other, view in sorted(seen.items())
            ]
            lines.append(f"{name}: {' '.join(others)}")
        return "\n".join(lines)

    # -- what they write

    @contextlib.contextmanager
    def writing(self, nodes: Sequence[FleetNode], space: str, pause_s: float = 0.1) -> Iterator[set[str]]:
        """Have each of these nodes write a key every `pause_s` until the block ends.

        Gives the set of keys whose write was acknowledged; it is whole when the block has ended.
        """
        written: set[str] = set()
        over = threading.Event()
        with ThreadPoolExecutor(len(nodes)) as threads:
            works = [threads.submit(_write_on, node, space, pause_s, over, written) for node in nodes]
            try:
                yield written
            finally:
                over.set()
                for work in works:
                    work.result()

    def wait_written(self, written: set[str], space: str, seconds_max: float) -> float:
        """Until each running node holds every one of these keys; how many seconds that took."""
        assert written, "nothing was written"

        def has_all() -> bool:
            keys = self.ask_all(lambda client: {entry.key for entry in client.list(f"{space}/")})
            return all(written <= found for found in keys.values())

        return self.wait(has_all, seconds_max, f"every write of {space} is everywhere")


def _write_on(node: FleetNode, space: str, pause_s: float, over: threading.Event, written: set[str]) -> None:
    number = 0
    while not over.wait(pause_s):
        number += 1
        key = f"{space}/{node.name}/{number}"
        with contextlib.suppress(BellandeMeshError):  # Not acknowledged, so nothing was promised.
            node.put(key, key.encode())
            written.add(key)
