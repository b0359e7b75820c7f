"""Child programs of the tests: real nodes in processes of their own, ended by their pid."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

START_TIMEOUT_S = 30.0


class Program:
    """A child process that says things as JSON lines on its standard output."""

    def __init__(self, arguments: list[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._errors: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line)

    def line(self, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The next line it says; AssertionError with what it complained of if it ends instead."""
        line = self._lines.get(timeout=timeout_s)
        if not line:
            self.process.wait(10)
            errors = b"".join(self._errors).decode(errors="replace")
            raise AssertionError(f"exit {self.process.returncode}: {errors[-3000:]}")
        said: dict[str, Any] = json.loads(line)
        return said

    def waiting_lines(self) -> list[dict[str, Any]]:
        """Every whole line it said before it ended."""
        said = []
        while line := self._lines.get(timeout=10):
            if line.endswith(b"\n"):
                said.append(json.loads(line))
        return said

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def terminate(self, timeout_s: float = 20) -> int:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(timeout_s)

    def __enter__(self) -> Program:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()


def start_node(home: Path, *arguments: str) -> tuple[Program, dict[str, Any]]:
    """`bms start` on free ports; the program and its ready line."""
    command = ["-m", "bellande_mesh_sync", "start", "--home", str(home), "--listen", "127.0.0.1:0"]
    program = Program([*command, *arguments])
    try:
        return program, program.line()
    except BaseException:
        program.__exit__(None, None, None)
        raise


def until(condition: Any, timeout_s: float, what: str) -> None:
    """Ask again and again until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
