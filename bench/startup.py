"""What is there before any work: the command line's start, a node's start, and an idle node's memory."""

from __future__ import annotations

import sys
import threading
import time

from bench.measure import Report, resident_mib, timed
from bench.meshes import fresh_folder
from tools.processes import BMS, NodeProcess, bms

SETTLE_SECONDS = 3.0


def run(runs: int) -> Report:
    report = Report("startup")
    plain = [timed([sys.executable, "-c", "pass"]) for _ in range(runs)]
    helped = [timed([*BMS, "--help"]) for _ in range(runs)]
    report.add("python -c pass", "ms", [value * 1e3 for value in plain], "floor")
    report.add("bms --help", "ms", [value * 1e3 for value in helped], "at most 150 above the floor")
    ready, resident = zip(*(one_start() for _ in range(runs)), strict=True)
    report.add("bms start to ready, empty home", "s", ready, "at most 1")
    report.add("idle node, resident", "MiB", resident, "at most 60")
    return report


def one_start() -> tuple[float, float]:
    with fresh_folder() as root:
        home = root / "node1"
        bms("init", home=home)
        node = NodeProcess(home)
        began = time.perf_counter()
        with node:
            ready = time.perf_counter() - began
            threading.Event().wait(SETTLE_SECONDS)  # Idle is a state one has to wait for.
            return ready, resident_mib(node.pid)
