"""Network namespaces of this test run: made, entered, and removed, also those of runs that died.

A namespace's name tells which process made it: its pid and when that process started, so that a pid
that was given out again is not taken for the old one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_NAME = re.compile(r"bms-test-(?P<pid>\d+)-(?P<started>\d+)-\d+-\w+")
_FOLDER = Path("/var/run/netns")
_CLONE_NEWNET = 0x40000000
_COMMAND_SECONDS_MAX = 20.0
_END_SECONDS_MAX = 5.0
_SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Programs for root are often not on the PATH of a shell that is not a login."""


class NamespaceError(Exception):
    """`ip` or `tc` refused; the text holds what it said."""


@cache
def what_is_missing() -> str:
    """Why no namespace can be made here; empty if one can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ("ip", "tc"):
        if shutil.which(program, path=_SYSTEM_PATH) is None:
            return f"{program} (of iproute2) is not installed"
    name = name_for(0, "probe")
    try:
        create(name)
        delete(name)
    except NamespaceError as error:
        return f"this system makes no network namespaces: {error}"
    return ""


def ip(*arguments: str, inside: str = "") -> str:
    """Run `ip`, in a namespace if one is named; what it printed. Raises NamespaceError."""
    return _run("ip", *_into(inside), *arguments)


def ip_batch(lines: Iterable[str], inside: str) -> None:
    """Run many `ip` commands in one process. Raises NamespaceError at the first that fails."""
    _run("ip", *_into(inside), "-batch", "-", given="".join(f"{line}\n" for line in lines))


def tc(*arguments: str, inside: str) -> str:
    """Run `tc` in a namespace. Raises NamespaceError."""
    return _run("tc", *_into(inside), *arguments)


def exec_command(name: str) -> tuple[str, ...]:
    """What to put before a command so that it runs in the namespace, with the pid it is started with."""
    return (_program("ip"), "netns", "exec", name)


def enter(name: str) -> None:
    """Move the calling thread, and no other, into the namespace: its new sockets belong there."""
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12.
    fd = os.open(_FOLDER / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise NamespaceError(f"{name} cannot be entered: {os.strerror(code)}")
    finally:
        os.close(fd)


def name_for(fleet: int, host: str) -> str:
    return f"bms-test-{os.getpid()}-{_started(os.getpid())}-{fleet}-{host}"


def create(name: str) -> None:
    ip("netns", "add", name)


def delete(name: str) -> None:
    """End what still runs inside, by pid, and remove the namespace with all its devices."""
    for pid in _pids(name):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_SECONDS_MAX
    while _pids(name) and time.monotonic() < deadline:
        time.sleep(0.02)
    ip("netns", "del", name)


def sweep() -> list[str]:
    """Remove the namespaces of test runs that are no more; their names."""
    removed = []
    for name in _all_names():
        match = _NAME.fullmatch(name)
        if match is not None and _started(int(match["pid"])) != match["started"]:
            try:
                delete(name)
            except NamespaceError:
                if name in _all_names():
                    raise
                continue  # Another run that has just begun was quicker.
            removed.append(name)
    return removed


def _all_names() -> list[str]:
    return sorted(path.name for path in _FOLDER.iterdir()) if _FOLDER.exists() else []


def _pids(name: str) -> list[int]:
    """The processes inside, without this one, of which a thread may be there."""
    return [pid for pid in map(int, ip("netns", "pids", name).split()) if pid != os.getpid()]


def _started(pid: int) -> str:
    """When a process started, in clock ticks since the machine did; empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The name stands in brackets and may hold anything; the start is field 22, and field 3 follows it.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else fields[18]


def _into(inside: str) -> tuple[str, ...]:
    return ("-n", inside) if inside else ()


@cache
def _program(name: str) -> str:
    found = shutil.which(name, path=_SYSTEM_PATH)
    if found is None:
        raise NamespaceError(f"{name} is not installed")
    return found


def _run(program: str, *arguments: str, given: str = "") -> str:
    command = [_program(program), *arguments]
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=_COMMAND_SECONDS_MAX, check=False
    )
    if done.returncode != 0:
        raise NamespaceError(f"{' '.join([program, *arguments])}: {done.stderr.strip()}")
    return done.stdout
