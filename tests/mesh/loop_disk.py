"""A disk whose power can be cut: a file system in a file, of which only what reached the file is left.

Programs write to the file system's cache. What they sync, and what the kernel writes by itself, goes on to
the file; a copy of the file is the disk as a power cut at that moment leaves it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

SIZE_BYTES = 192 << 20
COPIES_MAX = 20
PROGRAMS = ("mkfs.ext4", "mount", "umount", "losetup", "cp", "cmp")
SYSTEM_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
"""Programs for root are often not on the PATH of a shell that is not a login."""


@cache
def what_is_missing() -> str:
    """Why there can be no such disk here; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "only root on Linux may mount a file system"
    for program in PROGRAMS:
        if shutil.which(program, path=SYSTEM_PATH) is None:
            return f"{program} is not installed"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with LoopDisk(new_image(Path(folder) / "probe"), Path(folder) / "mounted"):
                return ""
        except subprocess.CalledProcessError as error:
            return f"this system mounts no files: {error.stderr.decode(errors='replace').strip()}"


def new_image(image: Path) -> Path:
    """An empty file system in a new file."""
    with image.open("wb") as file:
        file.truncate(SIZE_BYTES)
    _run("mkfs.ext4", "-q", "-F", str(image))
    return image


class LoopDisk:
    """A file system in `image`, mounted at `place` while the block lasts."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def after_power_cut(self, copy: Path) -> Path:
        """The disk as it would be if the power went now, as a new image. Nobody may be writing.

        The kernel may: so it is copied again until a copy is what the file still is.
        """
        for _ in range(COPIES_MAX):
            _run("cp", "--sparse=always", str(self.image), str(copy))
            if _is_same(self.image, copy):
                return copy
        raise RuntimeError("the disk does not come to rest")

    def __enter__(self) -> Self:
        self.place.mkdir(exist_ok=True)
        _run("mount", "-o", "loop", str(self.image), str(self.place))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run("umount", str(self.place))


def _is_same(one: Path, other: Path) -> bool:
    done = subprocess.run(["cmp", "-s", str(one), str(other)], check=False)
    return done.returncode == 0


def _run(*command: str) -> None:
    environment = {**os.environ, "PATH": SYSTEM_PATH}
    subprocess.run(command, check=True, capture_output=True, env=environment)
