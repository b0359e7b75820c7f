"""Nothing acknowledged is lost when the power goes, at any moment, under full write load.

What was not synced is gone with it: the disk is a file system in a file (see loop_disk.py).
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.mesh.loop_disk import LoopDisk, new_image, what_is_missing
from tests.mesh.programs import Program
from tests.mesh.test_kill import WRITER, assert_holds

pytestmark = pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing())


def test_a_cut_takes_what_was_not_synced_and_nothing_else(tmp_path: Path) -> None:
    with LoopDisk(new_image(tmp_path / "before"), tmp_path / "disk") as disk:
        (disk.place / "unsynced").write_text("lost")
        with (disk.place / "synced").open("w") as file:
            file.write("kept")
            file.flush()
            os.fsync(file.fileno())
        (disk.place / "later").write_text("lost")
        after = disk.after_power_cut(tmp_path / "after")
    with LoopDisk(after, tmp_path / "disk") as disk:
        assert (disk.place / "synced").read_text() == "kept"
        for name in ("unsynced", "later"):
            path = disk.place / name
            assert not path.exists() or path.read_text() == ""


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("cuts", [8, pytest.param(60, marks=pytest.mark.soak)])
def test_no_acknowledged_write_is_lost_when_the_power_goes(tmp_path: Path, cuts: int) -> None:
    chance = random.Random(20_261_124)
    acked: set[str] = set()
    images = [new_image(tmp_path / "image0"), tmp_path / "image1"]
    for number in range(cuts):
        now, after = images[number % 2], images[(number + 1) % 2]
        with LoopDisk(now, tmp_path / "disk") as disk:
            with Program([WRITER, str(disk.place / "home"), str(number)]) as writer:
                assert writer.line()["event"] == "ready"
                # The random moment is the point here, not a wait for something to have happened.
                time.sleep(chance.uniform(0.0, 0.6))
                stop(writer.process.pid)
                disk.after_power_cut(after)
                writer.kill()
                said = [line for line in writer.waiting_lines() if line["event"] != "linked"]
            assert all(line["event"] == "acked" for line in said), said
            acked.update(key for line in said for key in line["keys"])
    assert len(acked) > 20 * cuts
    with LoopDisk(images[cuts % 2], tmp_path / "disk") as disk:
        assert_holds(disk.place / "home", acked)


def stop(pid: int) -> None:
    """Let the process stand still, in the middle of whatever it does."""
    os.kill(pid, signal.SIGSTOP)
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"it ended by itself: {status}"
