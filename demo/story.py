"""The demo's plot, phase by phase."""

from __future__ import annotations

import os
import random
import shutil
import sysconfig
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from blake3 import blake3

from bellande_mesh_sync.client import Client
from demo.screen import Holding, Meter, Screen, megabytes
from demo.writer import Writer
from tools.processes import NodeProcess, bms, join_mesh

NAMES = ["node1", "node2", "node3"]
FOLDER_PREFIX = "demo/stdlib"
BLOB_KEY = "demo/big/blob.bin"
LIVE_PREFIX = "demo/live"

POLL_SECONDS = 0.25
CONVERGE_SECONDS_MAX = 120.0
BEFORE_KILL_SECONDS = 2.0
OUTAGE_SECONDS = 4.0
AFTER_RESTART_SECONDS = 2.0
SAMPLE_READS = 40
PIECE_BYTES = 1 << 20

# Not what a reader of the library is after, and not the same on every machine.
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "site-packages", "dist-packages", "config-*", "*.a")


class DemoError(Exception):
    """The mesh did not do what it promises; the text says what was missing."""


class Story:
    """Runs the phases in order and keeps what the closing table needs."""

    def __init__(self, root: Path, screen: Screen, *, blob_mib: int) -> None:
        self.nodes: list[NodeProcess] = []
        self.seconds: dict[str, float] = {}
        self._root = root
        self._screen = screen
        self._blob_mib = blob_mib
        self._folder_bytes = 0
        self._clients: dict[str, Client] = {}
        self._promised: dict[str, str] = {}

    def run(self) -> None:
        self._phase("found the mesh", self._found)
        self._phase("fill and converge", self._fill)
        self._phase("lose a node and catch up", self._lose_a_node)
        self._phase("compare everything", self._compare)

    def _phase(self, title: str, act: Callable[[], None]) -> None:
        self._screen.phase(f"{len(self.seconds) + 1}. {title}")
        began = time.monotonic()
        act()
        self.seconds[title] = time.monotonic() - began

    # -- 1

    def _found(self) -> None:
        self.nodes += join_mesh(self._root, NAMES, mesh="demo")
        for node in self.nodes[1:]:
            node.start()
        for name in NAMES:
            self._connect(name)
        self._wait_until("every node sees three members", self._all_see_all, 30.0)
        for name, node in zip(NAMES, self.nodes, strict=True):
            self._screen.say(
                f"{name}: pid {node.pid}, mesh on {node.ready['tcp']} (TLS 1.3), {node.http_url}"
            )

    def _connect(self, name: str) -> None:
        """Talk to this node from now on; it may have come back on another port."""
        node = self.nodes[NAMES.index(name)]
        self._clients[name] = Client(node.http_url, node.admin_token())

    def _all_see_all(self) -> bool:
        return all(client.status().members.get("alive", 0) == len(NAMES) for client in self._clients.values())

    # -- 2

    def _fill(self) -> None:
        folder, blob = self._root / "stdlib", self._root / "blob.bin"
        shutil.copytree(sysconfig.get_path("stdlib"), folder, ignore=_LEFT_OUT, ignore_dangling_symlinks=True)
        make_blob(blob, self._blob_mib)
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        self._folder_bytes = sum(sizes)
        self._screen.say(
            f"{NAMES[0]} takes in Python's standard library ({len(sizes):,} files, {megabytes(sum(sizes))})"
            f" and one file of {self._blob_mib} MiB"
        )
        home = self.nodes[0].home
        feeder = Feeder(
            lambda: bms(
                "import", str(folder), "--as", FOLDER_PREFIX, home=home, timeout=CONVERGE_SECONDS_MAX
            ),
            lambda: bms("put", BLOB_KEY, "--file", str(blob), home=home, timeout=CONVERGE_SECONDS_MAX),
        )
        feeder.start()
        self._converge(lambda: feeder.is_done)
        feeder.raise_error()
        if self._holdings()[NAMES[0]].records < len(sizes) + 1:  # type: ignore[union-attr]
            raise DemoError(f"{NAMES[0]} holds fewer records than there were files")

    # -- 3

    def _lose_a_node(self) -> None:
        name, victim = NAMES[2], self.nodes[2]
        with self._meter() as meter, Writer(self._clients[NAMES[0]], LIVE_PREFIX) as writer:
            self._watch(meter, BEFORE_KILL_SECONDS)
            before = len(writer.promised)
            victim.kill()
            self._screen.say(f"{name} was killed (SIGKILL); {NAMES[0]} goes on writing")
            self._watch(meter, OUTAGE_SECONDS)
            missed = len(writer.promised) - before
            victim.start()
            self._connect(name)
            self._screen.say(f"{name} is back as pid {victim.pid}; it missed {missed:,} acknowledged writes")
            self._watch(meter, AFTER_RESTART_SECONDS)
        if writer.errors:
            raise DemoError(f"a write was not acknowledged: {writer.errors[0]}") from writer.errors[0]
        if not missed:
            raise DemoError("nothing was acknowledged while a node was down")
        began = time.monotonic()
        self._wait_until("all nodes hold the same", lambda: all_equal(self._holdings()), CONVERGE_SECONDS_MAX)
        self._screen.say(
            f"all equal {time.monotonic() - began:.1f} s after the last of {len(writer.promised):,} writes"
        )
        self._promised = writer.promised

    # -- 4

    def _compare(self) -> None:
        blob = digest_of_file(self._root / "blob.bin")
        for name, client in self._clients.items():
            held = {entry.key: entry.digest for entry in client.list(LIVE_PREFIX + "/")}
            lost = [key for key, digest in self._promised.items() if held.get(key) != digest]
            if lost:
                raise DemoError(f"{name} lacks {len(lost)} acknowledged writes, {lost[0]} among them")
            for key in random.Random(2).sample(
                sorted(self._promised), min(SAMPLE_READS, len(self._promised))
            ):
                if blake3(client.get(key).data).hexdigest() != self._promised[key]:
                    raise DemoError(f"{name} holds other bytes under {key}")
            if digest_of_pieces(client, BLOB_KEY) != blob:
                raise DemoError(f"{name} holds other bytes under {BLOB_KEY}")
        self._screen.say(f"all {len(self._promised):,} acknowledged writes are on all {len(NAMES)} nodes")
        self._screen.say("the large file read back from each node is the same as the one put in")
        holdings = self._holdings()
        self._show_tables(holdings)
        if not all_equal(holdings):
            raise DemoError("the digests differ")

    def _show_tables(self, holdings: dict[str, Holding | None]) -> None:
        rows = [
            [name, f"{h.records:,}", f"{h.size_bytes:,}", h.digest[:32]] for name, h in holdings.items() if h
        ]
        self._screen.table("What each node holds", ["node", "records", "bytes", "digest"], rows)

    # -- looking

    def _holdings(self) -> dict[str, Holding | None]:
        result: dict[str, Holding | None] = {}
        for (name, client), node in zip(self._clients.items(), self.nodes, strict=True):
            result[name] = _holding(client) if node.is_running else None
        return result

    def _meter(self) -> AbstractContextManager[Meter]:
        return self._screen.meter(NAMES, self._folder_bytes + (self._blob_mib << 20))

    def _converge(self, is_fed: Callable[[], bool]) -> None:
        """Show progress until `is_fed()` and all nodes hold the same."""
        with self._meter() as meter:

            def is_equal() -> bool:
                fed = is_fed()  # Asked first: what is equal before the end may differ after it.
                holdings = self._holdings()
                meter.show(holdings)
                return fed and all_equal(holdings)

            self._wait_until("all nodes hold the same", is_equal, CONVERGE_SECONDS_MAX)

    def _watch(self, meter: Meter, seconds: float) -> None:
        """Show progress for so long. The outage is timed on purpose: its length is part of the plot."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            meter.show(self._holdings())
            time.sleep(POLL_SECONDS)

    def _wait_until(self, what: str, question: Callable[[], bool], seconds_max: float) -> None:
        deadline = time.monotonic() + seconds_max
        while not question():
            if time.monotonic() > deadline:
                raise DemoError(f"after {seconds_max:.0f} s still not: {what}")
            time.sleep(POLL_SECONDS)


class Feeder(threading.Thread):
    """Does its jobs one after the other, and keeps the error if one fails."""

    def __init__(self, *jobs: Callable[[], object]) -> None:
        super().__init__(name="feeder", daemon=True)
        self._jobs = jobs
        self._error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        self.raise_error()
        return not self.is_alive()

    def run(self) -> None:
        try:
            for job in self._jobs:
                job()
        except Exception as error:  # noqa: BLE001 - whatever it is, the main thread raises it
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _holding(client: Client) -> Holding:
    answer = client.digest()
    return Holding(answer["records"], answer["bytes"], answer["digest"])


def all_equal(holdings: dict[str, Holding | None]) -> bool:
    return None not in holdings.values() and len(set(holdings.values())) == 1


def make_blob(path: Path, size_mib: int) -> None:
    """The same incompressible bytes on every machine."""
    rng = random.Random(256)
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(rng.randbytes(PIECE_BYTES))


def digest_of_file(path: Path) -> str:
    hasher = blake3()
    hasher.update_mmap(os.fspath(path))
    return hasher.hexdigest()


def digest_of_pieces(client: Client, key: str) -> str:
    hasher = blake3()
    with client.open(key) as (_, pieces):
        for piece in pieces:
            hasher.update(piece)
    return hasher.hexdigest()
