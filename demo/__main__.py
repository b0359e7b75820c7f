"""`python -m demo`: run the story, say how it went, and stay up until Ctrl-C unless told otherwise."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from bellande_mesh_sync.errors import BellandeMeshError
from demo.screen import Screen
from demo.story import DemoError, Story
from tools.processes import ProcessError, all_stopped

FOLDER = Path(".demo")
DISK_BYTES_MIN = 2_000_000_000


def main() -> int:
    options = parse_options()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    FOLDER.mkdir(exist_ok=True)
    free = shutil.disk_usage(FOLDER).free
    if free < DISK_BYTES_MIN:
        print(f"demo: {DISK_BYTES_MIN / 1e9:.0f} GB of free disk are needed here, {free / 1e9:.1f} are left")
        return 1
    root = FOLDER.resolve() / f"run-{os.getpid()}"
    root.mkdir()
    try:
        return play(root, options)
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(root, ignore_errors=True)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", default=os.environ.get("DEMO_ONCE", "0") not in ("", "0")
    )
    parser.add_argument("--blob-mib", type=int, default=256, help="size of the large file (default: 256)")
    return parser.parse_args()


def play(root: Path, options: argparse.Namespace) -> int:
    screen = Screen(Console(highlight=False))
    story = Story(root, screen, blob_mib=options.blob_mib)
    with all_stopped(story.nodes):
        try:
            story.run()
        except (DemoError, ProcessError, BellandeMeshError) as error:
            screen.say(f"[bold red]FAILED[/bold red]: {error}")
            return 1
        seconds = [[title, f"{value:.1f}"] for title, value in story.seconds.items()]
        screen.table("How long it took", ["phase", "seconds"], [*seconds, ["total", total_of(story)]])
        screen.phase("[green]Every node holds the same digest.[/green]")
        if not options.once:
            stay_up(story, screen)
    return 0


def total_of(story: Story) -> str:
    return f"{sum(story.seconds.values()):.1f}"


def stay_up(story: Story, screen: Screen) -> None:
    screen.say("The mesh stays up until Ctrl-C. Look around from another terminal:")
    screen.say(f"  curl {story.nodes[0].http_url}/status")
    screen.say(f"  {Path(sys.executable).parent}/bms list demo/live/ --home {story.nodes[0].home}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        screen.say("stopping the nodes")


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
