"""One 1 GiB file, from `put_file` on one node to committed on the other, and the memory that took."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench import floors, rsync_peer
from bench.measure import PeakMemory, Report, cpu_seconds, progress
from bench.meshes import embedded, fresh_folder, joined_homes, run_as_a_node
from demo.story import make_blob
from tools.processes import NodeProcess

SIZE_MIB = 1024
RISE_MIB_MAX = 128
PUT_SECONDS_MAX = 600.0


def run(runs: int) -> Report:
    report = Report("large_file")
    results = []
    for number in range(runs):
        results.append(one_run())
        progress(f"large file, run {number + 1} of {runs}: {results[-1]['seconds']:.2f} s")
    seconds = [result["seconds"] for result in results]
    report.add("1 GiB file to the second node's disk", "s", seconds)
    report.add("the same", "MB/s", [SIZE_MIB * 2**20 / 1e6 / value for value in seconds])
    bar = f"at most {RISE_MIB_MAX}"
    report.add("peak memory rise, sender", "MiB", [result["sender_rise_mib"] for result in results], bar)
    report.add("peak memory rise, receiver", "MiB", [result["receiver_rise_mib"] for result in results], bar)
    report.add("CPU of both nodes", "s", [result["cpu_seconds"] for result in results])
    floors.tls_throughput(report, runs)
    rsync_peer.one_file(report, runs, SIZE_MIB)
    return report


def one_run() -> dict[str, float]:
    with fresh_folder() as root, joined_homes(root, 2) as nodes:
        blob = root / "blob.bin"
        make_blob(blob, SIZE_MIB)
        os.sync()  # The input's own way to the disk is not what is measured.
        receiver = nodes[1]
        # The sender has a process of its own, so that its memory is not this one's.
        command = [
            sys.executable,
            "-m",
            "bench.large_file",
            str(nodes[0].home),
            str(receiver.ready["tcp"]),
            str(blob),
        ]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sender:
            try:
                return watch(sender, receiver)
            finally:
                sender.kill()


def watch(sender: subprocess.Popen[str], receiver: NodeProcess) -> dict[str, float]:
    assert sender.stdin is not None
    assert sender.stdout is not None
    if sender.stdout.readline() != "linked\n":
        raise RuntimeError("the sending node did not come up; see its messages above")
    pids = [sender.pid, receiver.pid]
    peaks = [PeakMemory(pid) for pid in pids]
    cpu_before = cpu_seconds(pids)
    sender.stdin.write("go\n")
    sender.stdin.flush()
    result = json.loads(sender.stdout.readline())
    return {
        "seconds": result["seconds"],
        "sender_rise_mib": peaks[0].rise_mib(),
        "receiver_rise_mib": peaks[1].rise_mib(),
        "cpu_seconds": cpu_seconds(pids) - cpu_before,
    }


# -- the sending node's process ----------------------------------------------------------------


async def send(home: Path, receiver: str, blob: Path) -> None:
    other = NodeProcess(Path("unused"))
    other.ready = {"tcp": receiver}
    async with embedded(home, [other]) as mesh:
        print("linked", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.perf_counter()
        # ack=all: the receiver has the record and every chunk of it on its disk when this returns.
        await mesh.put_file("bench/large/blob.bin", blob, ack="all", timeout=PUT_SECONDS_MAX)
        print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # Stay until we have been measured.


if __name__ == "__main__":
    run_as_a_node(send(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
