"""What we are measured beside: other people's programs, run on loopback where they are installed."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.measure import Report

START_SECONDS_MAX = 20.0
LOOK_SECONDS = 0.02


def is_there(report: Report, program: str) -> bool:
    """Whether a peer's program is installed; the report says so if not."""
    if shutil.which(program) is not None:
        return True
    report.skipped.append(f"{program}: not installed")
    return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(command: Sequence[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a peer's server until the block ends; its pid, once it listens."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        poll(lambda: _answers(port), START_SECONDS_MAX)
        yield child.pid
    finally:
        child.terminate()
        try:
            child.wait(START_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def poll(question: Callable[[], bool], seconds_max: float, every_s: float = LOOK_SECONDS) -> None:
    """Ask until the answer is yes. Raises TimeoutError."""
    deadline = time.monotonic() + seconds_max
    while not question():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a peer was not that far after {seconds_max:.0f} s")
        threading.Event().wait(every_s)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True
