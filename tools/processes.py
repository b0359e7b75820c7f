"""Real nodes as child processes: start, watch and end `bms`, each by its own pid.

The demo, the benchmarks and the tests of the documentation run their meshes with this.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 15.0
LOG_TAIL_LINES = 25

BMS = (sys.executable, "-m", "bellande_mesh_sync")
"""The `bms` of this interpreter, whatever is on the PATH."""


class ProcessError(Exception):
    """A `bms` command failed, or a node did not come up; the text holds the end of what it printed."""


def bms(*arguments: str, home: Path, timeout: float = 60.0) -> str:
    """Run a `bms` command to its end and return its standard output."""
    command = [*BMS, *arguments, "--home", str(home)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise ProcessError(f"bms {arguments[0]} ended with exit code {done.returncode}: {said}")
    return done.stdout


class NodeProcess:
    """One `bms start`: its home, its addresses and its pid.

    The child gets a session of its own, so that Ctrl-C in a terminal reaches only the parent, which
    then stops its nodes in order.

    Args:
        arguments: more options of `bms start`.
        launcher: what stands before the command; it has to become the command, with its pid.
    """

    def __init__(
        self, home: Path, *arguments: str, listen: str = "127.0.0.1:0", launcher: Sequence[str] = ()
    ) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        self.ready: dict[str, Any] = {}
        self._command = [*launcher, *BMS, "start", "--home", str(home), "--listen", listen, *arguments]
        self._child: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    @property
    def http_url(self) -> str:
        return f"http://{self.ready['http']}"

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def admin_token(self) -> str:
        return (self.home / "admin.token").read_text(encoding="ascii").strip()

    def start(self) -> Self:
        """Start the process and wait for its ready line. Raises ProcessError."""
        assert not self.is_running, "already started"
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        first_line: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(self._child, first_line), daemon=True).start()
        try:
            line = first_line.get(timeout=READY_SECONDS_MAX)
            self.ready = json.loads(line)
        except (queue.Empty, ValueError) as error:
            self.kill()
            raise ProcessError(f"{self.home.name} did not become ready; {self._last_words()}") from error
        return self

    @property
    def exit_code(self) -> int | None:
        """Of a node that has ended; None while it runs."""
        return None if self._child is None else self._child.poll()

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that takes too long. Returns the exit code."""
        self._end(signal.SIGTERM)
        return self._child.returncode if self._child is not None else None

    def _end(self, how: signal.Signals) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.send_signal(how)
        try:
            child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return f"the end of {self.log}:\n" + "\n".join(lines) if lines else "it printed nothing"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _read_lines(child: subprocess.Popen[str], first_line: queue.SimpleQueue[str]) -> None:
    """Hand over the first line and read on, so that a full pipe never stops the node."""
    assert child.stdout is not None
    with child.stdout as lines:
        first_line.put(lines.readline())
        for _ in lines:
            pass


@contextlib.contextmanager
def all_stopped(nodes: list[NodeProcess]) -> Iterator[list[NodeProcess]]:
    """End every node of the list on the way out, whatever happened: politely and together first."""
    try:
        yield nodes
    finally:
        for node in nodes:
            if node.is_running:
                os.kill(node.pid, signal.SIGTERM)
        for node in nodes:
            node.stop()


def join_mesh(root: Path, names: list[str], *, mesh: str) -> list[NodeProcess]:
    """Found a mesh with `bms init`, `invite` and `join`, one home per name under `root`.

    Returns the nodes with the first one running (it has to answer the others' join) and the rest
    ready to be started.
    """
    homes = [root / name for name in names]
    nodes = [NodeProcess(home) for home in homes]
    bms("init", "--mesh", mesh, "--name", names[0], home=homes[0])
    try:
        nodes[0].start()
        for name, home in zip(names[1:], homes[1:], strict=True):
            token = bms("invite", home=homes[0]).strip()
            bms("join", token, "--name", name, home=home)
    except BaseException:
        nodes[0].stop()
        raise
    return nodes
