"""`make soak`: simulated meshes over new seeds, real ones for longer, more examples, until time is up.

The simulations get one process for each core and half of the time, each under another hash seed.
Then come the long tests of real processes in network namespaces, once; then the tests that draw
their inputs run again and again with many more examples.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time

SIMULATION_SHARE = 1 / 2
NAMESPACES_SHARE = 1 / 4
"""Of half an hour that is time enough for all of them."""
PROCESSES_MAX = 4
SEEDS_PER_PROCESS = 1_000_000
GRACE_SECONDS = 600.0
"""A seed that has begun is finished: only one that hangs is cut off, and that is a failure."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument(
        "--start", type=int, default=int(time.time()), help="the first seed; default: the time"
    )
    options = parser.parse_args()
    seconds = options.minutes * 60
    failed = simulate(options.start, seconds * SIMULATION_SHARE)
    failed += live_long(seconds * NAMESPACES_SHARE)
    failed += draw_more(options.start, seconds * (1 - SIMULATION_SHARE - NAMESPACES_SHARE))
    print(f"\nsoak: {', '.join(failed) if failed else 'nothing failed'}; first seed {options.start}")
    return 1 if failed else 0


def simulate(start: int, seconds: float) -> list[str]:
    """Run simulations side by side; the names of those that broke a promise."""
    count = min(os.cpu_count() or 1, PROCESSES_MAX)
    print(f"soak: {count} simulations for {seconds / 60:.1f} minutes", flush=True)
    children = []
    for number in range(count):
        first = start + number * SEEDS_PER_PROCESS
        command = [sys.executable, "-m", "bellande_mesh_sync.sim", "--keep-going", "--start", str(first)]
        command += ["--seeds", str(SEEDS_PER_PROCESS), "--time-limit", f"{seconds:.0f}"]
        command += ["--minutes", "10", "--nodes", "3-16", "--minimize"]
        # Another hash seed for each: nothing may hang on the order in which a set is walked.
        children.append(subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": str(number)}))
    failed = []
    for number, child in enumerate(children):
        try:
            code = child.wait(timeout=seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if code != 0:
            failed.append(f"simulation {number} (exit code {code})")
    return failed


def live_long(seconds: float) -> list[str]:
    """Run the long tests of real processes; what is still under way when time is up is cut off."""
    print(f"soak: processes in network namespaces for {seconds / 60:.1f} minutes", flush=True)
    # One failure ends the run: being cut off would hide it.
    child = subprocess.Popen([sys.executable, "-m", "pytest", "-m", "soak", "-x", "-rs"])
    try:
        code = child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)  # It ends its nodes and removes its namespaces.
        child.wait(GRACE_SECONDS)
        return []
    return [f"processes in network namespaces (exit code {code})"] if code != 0 else []


def draw_more(seed: int, seconds: float) -> list[str]:
    """Run the tests that draw their inputs, with another seed each round, until time is up."""
    deadline = time.monotonic() + seconds
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "soak"}
    rounds = 0
    while (left := deadline - time.monotonic()) > 0:
        print(f"soak: property tests, {left / 60:.1f} minutes left", flush=True)
        command = [sys.executable, "-m", "pytest", "-m", "hypothesis", "-o", "timeout=3600"]
        command.append(f"--hypothesis-seed={seed + rounds}")
        try:
            code = subprocess.run(command, env=environment, timeout=left, check=False).returncode
        except subprocess.TimeoutExpired:
            break
        rounds += 1
        if code != 0:
            return [f"property tests (--hypothesis-seed={seed + rounds - 1})"]
    return []


if __name__ == "__main__":
    sys.exit(main())
