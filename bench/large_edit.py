"""A 1 GiB file, then 1 MB inserted in its middle, then 1 % of it overwritten: seconds, and bytes that moved.

Beside rsync and Syncthing, which are given the same file and the same insertion.
"""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.measure import Report, progress
from bench.meshes import embedded, fresh_folder, joined_homes, run_as_a_node
from bench.peers import is_there
from bench.rsync_peer import LABEL, rsync
from bench.syncthing_peer import syncthings
from demo.story import make_blob

SIZE_MIB = 1024
INSERTED_BYTES = 1_000_000
STRETCHES = 10
"""The overwritten percent lies in so many places."""
PUT_SECONDS_MAX = 600.0
NEW_SHARE = 0.35
INSERT_SHARE = 0.7
EDIT_BYTES_SHARE = 0.05


@dataclass(slots=True)
class Steps:
    """A value for each run: seconds, and shares of the file's size."""

    new_s: list[float] = field(default_factory=list)
    insert_s: list[float] = field(default_factory=list)
    edit_s: list[float] = field(default_factory=list)
    insert_share: list[float] = field(default_factory=list)
    edit_share: list[float] = field(default_factory=list)


class Bringing(Protocol):
    source: Path
    target: Path

    def bring(self) -> float: ...


def run(runs: int) -> Report:
    report = Report("large_edit")
    has_rsync, has_syncthing = is_there(report, "rsync"), is_there(report, "syncthing")
    ours, by_rsync, by_syncthing = Steps(), Steps(), Steps()
    for number in range(runs):
        run_as_a_node(one_run(ours))
        if has_rsync:
            with rsync() as pair:
                bring(pair, by_rsync)
        if has_syncthing:
            with syncthings() as both:
                bring(both, by_syncthing)
        progress(f"large edit, run {number + 1} of {runs}: {ours.insert_s[-1]:.2f} s for the insertion")
    add_figures(report, ours, by_rsync, by_syncthing)
    return report


def add_figures(report: Report, ours: Steps, by_rsync: Steps, by_syncthing: Steps) -> None:
    report.add(f"{SIZE_MIB:,} MiB file to the second node's disk", "s", ours.new_s)
    _add_peer(report, LABEL, by_rsync.new_s)
    _add_peer(report, "Syncthing", by_syncthing.new_s)
    report.add_ratio("  by Syncthing", ours.new_s, by_syncthing.new_s, at_most=NEW_SHARE)
    report.add("1 MB inserted in its middle", "s", ours.insert_s)
    _add_peer(report, LABEL, by_rsync.insert_s)
    _add_peer(report, "Syncthing", by_syncthing.insert_s)
    report.add_ratio("  by rsync", ours.insert_s, by_rsync.insert_s, at_most=INSERT_SHARE)
    report.add("  new on the receiver's disk, by the file's size", "x", ours.insert_share)
    report.add(f"1 % of it overwritten, in {STRETCHES} places", "s", ours.edit_s)
    new_bytes = "  new on the receiver's disk, by the file's size"
    report.add(new_bytes, "x", ours.edit_share, at_most=EDIT_BYTES_SHARE)


def _add_peer(report: Report, name: str, values: list[float]) -> None:
    if values:
        report.add(f"  {name}", "s", values, "peer")


async def one_run(steps: Steps) -> None:
    with fresh_folder() as root, joined_homes(root, 2) as nodes:
        blob, receiver = root / "blob.bin", nodes[1].home / "chunks"
        async with embedded(nodes[0].home, nodes[1:]) as mesh:

            async def put() -> tuple[float, float]:
                before, began = size_of(receiver), time.perf_counter()
                # ack=all: the receiver has the record and every chunk of it on its disk when this returns.
                await mesh.put_file("bench/large/blob.bin", blob, ack="all", timeout=PUT_SECONDS_MAX)
                seconds = time.perf_counter() - began
                return seconds, (size_of(receiver) - before) / (SIZE_MIB << 20)

            make_blob(blob, SIZE_MIB)
            os.sync()  # The input's own way to the disk is not what is measured.
            steps.new_s.append((await put())[0])
            for change, seconds, shares in (
                (insert, steps.insert_s, steps.insert_share),
                (overwrite, steps.edit_s, steps.edit_share),
            ):
                change(blob)
                os.sync()
                took, share = await put()
                seconds.append(took)
                shares.append(share)


def bring(peer: Bringing, steps: Steps) -> None:
    """The same by another program, and a look at whether it has done it."""
    blob = peer.source / "blob.bin"
    for change, seconds in ((_new, steps.new_s), (insert, steps.insert_s)):
        change(blob)
        os.sync()
        seconds.append(peer.bring())
        if (peer.target / blob.name).stat().st_size != blob.stat().st_size:
            raise RuntimeError(f"{type(peer).__name__} was not done when it said so")


def _new(blob: Path) -> None:
    make_blob(blob, SIZE_MIB)


def insert(blob: Path) -> None:
    """New bytes near the middle, at a place and of a length that no block size divides."""
    whole = blob.read_bytes()
    middle = len(whole) // 2 + 12_345
    with blob.open("wb") as file:
        for piece in (whole[:middle], os.urandom(INSERTED_BYTES), whole[middle:]):
            file.write(piece)


def overwrite(blob: Path) -> None:
    """A percent of it, in a few stretches anywhere."""
    size = blob.stat().st_size
    rng = random.Random(5)
    with blob.open("r+b") as file:
        for _ in range(STRETCHES):
            file.seek(rng.randrange(size - size // (100 * STRETCHES)))
            file.write(os.urandom(size // (100 * STRETCHES)))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
