"""Figures with their spread, what a process used, and the machine they were taken on."""

from __future__ import annotations

import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table: a value per run."""

    name: str
    unit: str
    values: list[float]
    note: str = ""
    at_most: float | None = None
    """The goal: no value is above it."""
    at_least: float | None = None
    """The goal: no value is below it. For a ratio, either goal is one for the median."""
    is_ratio: bool = False
    """Ours by a peer's, both measured in the same run, so that the machine's moods count for both."""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        values = [self.median] if self.is_ratio else self.values
        if self.at_most is not None:
            return max(values) <= self.at_most
        return None if self.at_least is None else min(values) >= self.at_least

    @property
    def remark(self) -> str:
        """What stands beside the figure: its goal and whether that is reached, or the note."""
        if self.is_met is None:
            return self.note
        bound = f"at most {short(self.at_most)}" if self.at_most is not None else ""
        bound = bound or f"at least {short(self.at_least or 0.0)}"
        return f"{bound}: {'ok' if self.is_met else 'NOT MET'}"

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> str:
        return f"{short(min(self.values))} .. {short(max(self.values))}"


def busy_cores() -> float:
    """Cores that anybody keeps busy while this process waits a moment."""
    return psutil.cpu_percent(interval=0.5) / 100 * (os.cpu_count() or 1)


@dataclass(slots=True)
class Report:
    """What one benchmark found. `skipped` holds a reason for each peer that was not measured."""

    benchmark: str
    figures: list[Figure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    busy_cores: float = field(default_factory=busy_cores)
    """What other programs used just before: a figure taken beside them says little."""

    def add(
        self, name: str, unit: str, values: Sequence[float], note: str = "", at_most: float | None = None
    ) -> None:
        self.figures.append(Figure(name, unit, list(values), note, at_most))

    def add_ratio(
        self, name: str, ours: Sequence[float], theirs: Sequence[float], *,
        at_most: float | None = None, at_least: float | None = None,
    ) -> None:  # fmt: skip
        """Ours by theirs, run by run. Nothing is added where the peer was not measured."""
        if theirs:
            ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
            self.figures.append(Figure(name, "x", ratios, "", at_most, at_least, is_ratio=True))

    def save(self, machine: dict[str, str]) -> Path:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.benchmark}.json"
        rows = [
            {**asdict(figure), "median": figure.median, "is_met": figure.is_met} for figure in self.figures
        ]
        document = {
            "benchmark": self.benchmark,
            "machine": machine,
            "busy_cores_before": self.busy_cores,
            "rows": rows,
            "skipped": self.skipped,
        }
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        return path


def short(value: float) -> str:
    """Three significant digits, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which this share of them lies."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes so far."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(time_.user + time_.system for time_ in times)


class PeakMemory:
    """How far a process's resident memory rises above where it was, in MiB.

    Linux keeps the high-water mark itself, so no peak falls between two samples.
    """

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        # "5" resets the high-water mark (proc(5), clear_refs).
        Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
        self._before_kib = self._read("VmRSS")

    def rise_mib(self) -> float:
        return (self._read("VmHWM") - self._before_kib) / 1024

    def peak_mib(self) -> float:
        return self._read("VmHWM") / 1024

    def _read(self, name: str) -> int:
        for line in self._status.read_text(encoding="ascii").splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise ValueError(f"{self._status} has no {name}")


def resident_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def machine() -> dict[str, str]:
    """What a reader needs to place the figures."""
    packages = ("bellande-mesh-sync", "msgspec", "cryptography", "blake3", "uvloop")
    return {
        "cores": str(os.cpu_count()),
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def timed(command: Sequence[str]) -> float:
    """Seconds from starting a command to its end."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def progress(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)
