"""1,000,000 records of 100 B to an empty node, beside a full resync of Redis; and starting with them.

Node A is filled past the network. Each run starts A, starts B with nothing on its disk, and ends when B has
committed all; then both hold the same digest. Then B, full now, starts again.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from bellande_mesh_sync.client import Client
from bench import redis_peer
from bench.filling import fill_home, keys_of
from bench.measure import PeakMemory, Report, cpu_seconds, progress
from bench.meshes import fresh_folder, run_as_a_node, wait_for_records
from bench.peers import is_there, poll
from tools.processes import NodeProcess, all_stopped, join_mesh

RECORDS = 1_000_000
VALUE_BYTES = 100
SYNC_SECONDS_MAX = 600.0
REDIS_SHARE = 0.4
RESIDENT_MIB_MAX = 1024
START_SECONDS_MAX = 3.0
KEY_PART = len("bench/small/000")
"""So much of a key is the same for 10,000 of them."""


@dataclass(slots=True)
class Times:
    """A value for each run."""

    sync_s: list[float] = field(default_factory=list)
    start_s: list[float] = field(default_factory=list)
    sender_mib: list[float] = field(default_factory=list)
    receiver_mib: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    link_bytes: list[float] = field(default_factory=list)
    redis_s: list[float] = field(default_factory=list)


def run(runs: int) -> Report:
    report = Report("first_sync")
    times = Times()
    primary = redis_peer.FullPrimary(RECORDS, VALUE_BYTES) if is_there(report, "redis-server") else None
    with fresh_folder() as root:
        homes = filled_homes(root)
        for number in range(runs):
            one_run(homes, times)
            progress(f"first sync, run {number + 1} of {runs}: {RECORDS / times.sync_s[-1]:,.0f} records/s")
            if primary is not None:
                with primary.running():
                    times.redis_s.append(primary.resync())
    add_figures(report, times)
    return report


def add_figures(report: Report, times: Times) -> None:
    ours = [RECORDS / seconds for seconds in times.sync_s]
    theirs = [RECORDS / seconds for seconds in times.redis_s]
    report.add(f"{RECORDS:,} records of {VALUE_BYTES} B to an empty node", "records/s", ours)
    if theirs:
        report.add("Redis, full resync (memory, plaintext)", "records/s", theirs, "peer")
    report.add_ratio("  by Redis", ours, theirs, at_least=REDIS_SHARE)
    report.add("  resident at most, sender", "MiB", times.sender_mib, at_most=RESIDENT_MIB_MAX)
    report.add("  resident at most, receiver", "MiB", times.receiver_mib, at_most=RESIDENT_MIB_MAX)
    report.add("  CPU of both nodes", "us/record", [seconds / RECORDS * 1e6 for seconds in times.cpu_s])
    report.add(f"start with {RECORDS:,} records, until ready", "s", times.start_s, at_most=START_SECONDS_MAX)
    report.add("then in step: both ways on their link, TLS and all", "bytes", times.link_bytes)


def filled_homes(root: Path) -> list[Path]:
    """Two homes of one mesh; the first holds all the records."""
    nodes = join_mesh(root, ["node1", "node2"], mesh="bench")
    nodes[0].stop()
    progress(f"a home with {RECORDS:,} records")
    fill_home(nodes[0].home, RECORDS, VALUE_BYTES)
    return [node.home for node in nodes]


def one_run(homes: list[Path], times: Times) -> None:
    for folder in ("data", "chunks"):
        shutil.rmtree(homes[1] / folder, ignore_errors=True)
    sender = NodeProcess(homes[0])
    with all_stopped([sender]):
        times.start_s.append(start(sender))
        receiver = NodeProcess(homes[1], "--bootstrap", str(sender.ready["tcp"]))
        with all_stopped([receiver]):
            receiver.start()
            began = time.perf_counter()
            pids = [sender.pid, receiver.pid]
            peaks = [PeakMemory(pid) for pid in pids]
            cpu_before = cpu_seconds(pids)
            run_as_a_node(wait_for_records([receiver], RECORDS, SYNC_SECONDS_MAX))
            times.sync_s.append(time.perf_counter() - began)
            times.cpu_s.append(cpu_seconds(pids) - cpu_before)
            times.sender_mib.append(peaks[0].peak_mib())
            times.receiver_mib.append(peaks[1].peak_mib())
            if digests_of(sender) != digests_of(receiver):
                raise RuntimeError("the two nodes do not hold the same")
            receiver.stop()
            times.start_s.append(start(receiver))
            times.link_bytes.append(link_bytes(receiver))


def start(node: NodeProcess) -> float:
    """Seconds from the command to its ready line."""
    began = time.perf_counter()
    node.start()
    return time.perf_counter() - began


def digests_of(node: NodeProcess) -> list[object]:
    """Of all it holds, in parts: no single answer may take long."""
    parts = sorted({key[:KEY_PART] for key in keys_of(RECORDS)})
    with Client(node.http_url, node.admin_token()) as client:
        return [client.digest(part) for part in parts]


def link_bytes(node: NodeProcess) -> float:
    """All that crossed its one new link until the peer was found to be in step: both ways, encrypted."""
    with Client(node.http_url, node.admin_token()) as client:
        poll(lambda: len(client.stats().peers) == 1, START_SECONDS_MAX + 20)
        seen = [0.0, -1.0]

        def is_quiet() -> bool:
            (peer,) = client.stats().peers.values()
            seen.append(float(peer["bytes_in"] + peer["bytes_out"]))
            return seen[-1] == seen[-2] == seen[-3]

        poll(is_quiet, 20, every_s=0.1)
        return seen[-1]
