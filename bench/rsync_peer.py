"""An rsync daemon on loopback: not encrypted, and nothing is synced to the disk."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from bench.measure import Report
from bench.meshes import fresh_folder
from bench.peers import free_port, is_there, server
from demo.story import make_blob

LABEL = "rsync daemon (plaintext, no sync)"


class Rsync:
    """A source folder and the daemon that it is brought to."""

    def __init__(self, root: Path, port: int) -> None:
        self.source = root / "source"
        self.target = root / "target"
        self.port = port

    def bring(self) -> float:
        """Seconds to make the target like the source: scan, compare, transfer."""
        began = time.perf_counter()
        url = f"rsync://127.0.0.1:{self.port}/target/"
        subprocess.run(["rsync", "-a", "--delete", f"{self.source}/", url], check=True)
        return time.perf_counter() - began


@contextlib.contextmanager
def rsync() -> Iterator[Rsync]:
    with fresh_folder() as root:
        pair = Rsync(root, free_port())
        pair.source.mkdir()
        pair.target.mkdir()
        settings = root / "rsyncd.conf"
        settings.write_text(
            f"use chroot = no\nuid = {os.getuid()}\ngid = {os.getgid()}\npid file = {root}/pid\n"
            f"[target]\npath = {pair.target}\nread only = no\n",
            encoding="utf-8",
        )
        daemon = ["rsync", "--daemon", "--no-detach", f"--port={pair.port}", "--address=127.0.0.1"]
        with server([*daemon, f"--config={settings}"], pair.port):
            yield pair


def one_file(report: Report, runs: int, size_mib: int) -> list[float]:
    """Seconds for one new file, a run each; empty if there is no rsync."""
    if not is_there(report, "rsync"):
        return []
    values = []
    for _ in range(runs):
        with rsync() as pair:
            make_blob(pair.source / "blob.bin", size_mib)
            values.append(pair.bring())
    report.add(LABEL, "s", values, "peer")
    return values
