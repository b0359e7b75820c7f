"""A node's home: the folder with its settings, identity, records and lock.

Layout: node.toml, identity/, data/, chunks/, admin.token, node.lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bellande_mesh_sync.config_file import (
    default_node_file,
    load_node_file,
    settings_of_text,
    with_bootstrap,
    with_labels,
)
from bellande_mesh_sync.config_model import Config, MeshOptions
from bellande_mesh_sync.errors import ConfigError, HomeInUseError
from bellande_mesh_sync.files import make_private_dir, read_private, write_atomic

_APP = "bellande-mesh-sync"
_TOKEN_BYTES = 32
_RUN_INFO_BYTES_MAX = 64 * 1024


class HomeLock:
    """The hold on a home. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def update(self, **facts: Any) -> None:
        """Tell the command line what runs here: `node`, `tcp`, `http`, `https`; `pid` is always there."""
        content = json.dumps({"pid": os.getpid(), **facts}).encode()
        # In place, not by rename: the lock hangs on this very inode. A reader that meets a half-written
        # text reads again.
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, content, 0)

    def release(self) -> None:
        """Let the home go. Calling it again does nothing."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.ftruncate(fd, 0)
            os.close(fd)

    def __enter__(self) -> HomeLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Home:
    """Paths and small files of one home. Making the object touches nothing on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()

    @classmethod
    def default(cls) -> Home:
        """BMS_HOME, else the platform's folder for a user's data."""
        given = os.environ.get("BMS_HOME")
        if given:
            return cls(given)
        import platformdirs

        return cls(platformdirs.user_data_dir(_APP))

    @staticmethod
    def dev_path() -> Path:
        """Where this user's dev nodes share their throwaway authority."""
        import platformdirs

        return Path(platformdirs.user_data_dir(_APP)) / "dev"

    @property
    def settings_path(self) -> Path:
        return self.path / "node.toml"

    @property
    def identity_dir(self) -> Path:
        return self.path / "identity"

    @property
    def data_dir(self) -> Path:
        return self.path / "data"

    @property
    def chunks_dir(self) -> Path:
        return self.path / "chunks"

    @property
    def lock_path(self) -> Path:
        return self.path / "node.lock"

    @property
    def admin_token_path(self) -> Path:
        return self.path / "admin.token"

    def create(self) -> None:
        """Make the folder and those for records; ConfigError names the path that stands in the way."""
        for folder in (self.path, self.data_dir, self.chunks_dir):
            make_private_dir(folder)
        self.check()

    def check(self) -> None:
        """Raise ConfigError unless the home can be used: folders are folders, and can be written."""
        for folder in (self.path, self.identity_dir, self.data_dir, self.chunks_dir):
            if not folder.exists():
                continue
            if not folder.is_dir():
                raise ConfigError(field="home", reason=f"{folder} is not a folder")
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                raise ConfigError(field="home", reason=f"{folder} cannot be written by this user")

    def lock(self) -> HomeLock:
        """Hold the home for this process.

        Raises:
            HomeInUseError: another node holds it; it names that node's pid.
            ConfigError: the home cannot be made or written.
        """
        self.create()
        try:
            fd = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(field="home", reason=f"{self.lock_path}: {error.strerror}") from None
        try:
            _lock_soon(fd)
        except OSError as error:
            pid = _read_run_info(fd).get("pid", "unknown")
            os.close(fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                reason = f"{self.lock_path} cannot be locked: {error.strerror}"
                raise ConfigError(field="home", reason=reason) from None
            raise HomeInUseError(home=str(self.path), pid=pid) from None
        lock = HomeLock(fd)
        lock.update()
        return lock

    def running(self) -> dict[str, Any] | None:
        """What the node that holds this home wrote about itself; None if none does.

        Between taking the lock and listening it is just `pid`.
        """
        try:
            fd = os.open(self.lock_path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            # A shared lock for a moment: two readers never take each other for a node.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return _read_soon(fd)
        else:
            return None  # What stands in the file was left by a node that is gone.
        finally:
            os.close(fd)

    def admin_token(self) -> str:
        """The token of this home's owner, made at first use. Others who can read it are refused."""
        existing = self._read_admin_token()
        if existing is not None:
            return existing
        import secrets

        make_private_dir(self.path)
        with contextlib.suppress(FileExistsError):
            # Two commands at once agree on the first one's token.
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            write_atomic(self.admin_token_path, token.encode() + b"\n", exclusive=True)
        token_now = self._read_admin_token()
        assert token_now is not None, "it was just written"
        return token_now

    def load_settings(self) -> tuple[Config, MeshOptions]:
        """What node.toml says; all defaults if there is none. ConfigError with the line or the setting."""
        if not self.settings_path.exists():
            return Config(), MeshOptions()
        return load_node_file(self.settings_path)

    def write_settings(self, text: str | None = None, *, name: str = "") -> None:
        """Write node.toml: `text`, checked first, else the commented defaults."""
        text = default_node_file(name=name) if text is None else text
        settings_of_text(text, str(self.settings_path))  # Never leave behind what cannot be read again.
        make_private_dir(self.path)
        write_atomic(self.settings_path, text.encode(), mode=0o644)

    def remember_bootstrap(
        self, addresses: Sequence[str], *, name: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        """Put the members to call first, and labels, into node.toml: a new one, or one without any yet."""
        labels = labels or {}
        if not self.settings_path.exists():
            make_private_dir(self.path)
            text = default_node_file(name=name, bootstrap_nodes=addresses, labels=labels)
            write_atomic(self.settings_path, text.encode(), mode=0o644)
            return
        config, _ = self.load_settings()
        before = text = self.settings_path.read_text("utf-8")
        # At the very top, where no table has begun; the rest stays as its author left it.
        if labels and not config.labels:
            text = with_labels(text, labels)
        if addresses and not config.bootstrap_nodes:
            text = with_bootstrap(text, addresses)
        if text != before:
            write_atomic(self.settings_path, text.encode(), mode=0o644)

    def _read_admin_token(self) -> str | None:
        try:
            return read_private(self.admin_token_path).decode().strip() or None
        except FileNotFoundError:
            return None


def _lock_soon(fd: int) -> None:
    """Take the lock; try again for a moment, for a command that asks `running` holds it just as long."""
    for pause_s in (0.01, 0.02, 0.05, 0.1):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(pause_s)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read_soon(fd: int) -> dict[str, Any] | None:
    """The run info of a lock that is held; read again if it was just being written."""
    for _ in range(10):
        facts = _read_run_info(fd)
        if facts:
            return facts
        time.sleep(0.01)
    return None


def _read_run_info(fd: int) -> dict[str, Any]:
    try:
        facts = json.loads(os.pread(fd, _RUN_INFO_BYTES_MAX, 0))
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}
