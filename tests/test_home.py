"""A home belongs to one node at a time, and says plainly what stands in the way."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bellande_mesh_sync.errors import ConfigError, HomeInUseError, IdentityError
from bellande_mesh_sync.files import write_atomic
from bellande_mesh_sync.home import Home

HOLD = """
import sys, time
from bellande_mesh_sync.home import Home
lock = Home(sys.argv[1]).lock()
lock.update(node="ab", tcp="127.0.0.1:8000", http="127.0.0.1:8001", https="")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def _holder(home: Home) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_node_is_refused_with_the_pid_of_the_first(home: Home) -> None:
    with _holder(home) as process:
        with pytest.raises(HomeInUseError) as caught:
            home.lock()
        assert caught.value.pid == process.pid
        assert str(home.path) in str(caught.value)
        process.kill()


def test_what_runs_can_be_read_while_it_runs_and_only_then(home: Home) -> None:
    assert home.running() is None
    with _holder(home) as process:
        assert home.running() == {
            "pid": process.pid,
            "node": "ab",
            "tcp": "127.0.0.1:8000",
            "http": "127.0.0.1:8001",
            "https": "",
        }
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert home.lock_path.read_text(), "it had no time to clear it"
    assert home.running() is None


def test_a_home_whose_node_was_killed_can_be_taken(home: Home) -> None:
    with _holder(home) as process:
        process.kill()
    with home.lock():
        assert home.running() == {"pid": os.getpid()}


def test_a_home_let_go_can_be_taken_again(home: Home) -> None:
    first = home.lock()
    with pytest.raises(HomeInUseError):
        home.lock()
    first.release()
    first.release()
    with home.lock():
        pass
    assert home.running() is None


def test_asking_what_runs_never_keeps_a_node_from_starting(home: Home) -> None:
    home.create()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            home.running()

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        try:
            for _ in range(20):
                home.lock().release()
        finally:
            stop.set()
        for future in asking:
            future.result()


def test_run_info_grows_and_shrinks_without_leftovers(home: Home) -> None:
    with home.lock() as lock:
        lock.update(node="a" * 1000)
        lock.update(node="b")
        assert home.running() == {"pid": os.getpid(), "node": "b"}


def test_the_admin_token_is_made_once_and_is_for_this_user_only(home: Home) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: home.admin_token(), range(8)))
    assert len(tokens) == 1
    assert len(tokens.pop()) >= 43
    assert stat.S_IMODE(home.admin_token_path.stat().st_mode) == 0o600
    assert [path.name for path in home.path.iterdir()] == ["admin.token"]


def test_an_admin_token_that_others_can_read_is_refused(home: Home) -> None:
    home.admin_token()
    home.admin_token_path.chmod(0o644)
    with pytest.raises(IdentityError, match=r"admin\.token.*0644.*chmod 600"):
        home.admin_token()


@pytest.mark.parametrize("name", ["", "data", "chunks"])
def test_a_file_where_a_folder_must_be_is_named(home: Home, name: str) -> None:
    path = home.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    with pytest.raises(ConfigError, match=f"{path} is not a folder"):
        home.lock()


def test_a_folder_that_cannot_be_made_is_named(home: Home) -> None:
    home.path.write_text("")
    with pytest.raises(ConfigError, match="home"):
        Home(home.path / "deeper").lock()


def test_a_folder_that_cannot_be_written_is_named_even_if_we_are_root(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.create()
    monkeypatch.setattr(os, "access", lambda path, mode: path != home.data_dir)
    with pytest.raises(ConfigError, match=f"{home.data_dir} cannot be written"):
        home.lock()


def test_bms_home_chooses_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BMS_HOME", str(tmp_path / "chosen"))
    assert Home.default().path == tmp_path / "chosen"
    monkeypatch.delenv("BMS_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert Home.default().path == tmp_path / "bellande-mesh-sync"


def test_looking_at_a_home_makes_nothing(home: Home) -> None:
    home.check()
    home.running()
    home.load_settings()
    assert not home.path.exists()


def test_settings_that_cannot_be_read_again_are_not_written(home: Home) -> None:
    with pytest.raises(ConfigError, match="listen_adress"):
        home.write_settings('listen_adress = "127.0.0.1:1"\n')
    assert not home.settings_path.exists()


def test_written_settings_are_read_back(home: Home) -> None:
    home.write_settings(name='dock "7"')
    assert home.load_settings()[0].name == 'dock "7"'


def test_members_to_call_first_replace_an_empty_list_and_nothing_else(home: Home) -> None:
    home.write_settings('# mine\nbootstrap_nodes = []\n\n[spaces.fleet]\nack = "one"\n')
    home.remember_bootstrap(["10.0.0.1:8000"])
    config, _ = home.load_settings()
    assert config.bootstrap_nodes == ("10.0.0.1:8000",)
    assert config.spaces["fleet"].ack == "one"
    home.remember_bootstrap(["10.0.0.2:8000"])
    assert home.load_settings()[0].bootstrap_nodes == ("10.0.0.1:8000",), "what a person chose stays"


def test_labels_are_written_where_there_are_none(home: Home) -> None:
    home.remember_bootstrap(["10.0.0.1:8000"], name="crane", labels={"site": "a", 'the "best"': "b=c"})
    assert home.load_settings()[0].labels == {"site": "a", 'the "best"': "b=c"}
    home.write_settings('# mine\nlabels = {}\n\n[spaces.fleet]\nack = "one"\n')
    home.remember_bootstrap(["10.0.0.1:8000"], labels={"site": "a"})
    config, _ = home.load_settings()
    assert (config.labels, config.bootstrap_nodes) == ({"site": "a"}, ("10.0.0.1:8000",))
    assert config.spaces["fleet"].ack == "one"
    home.remember_bootstrap([], labels={"site": "b"})
    assert home.load_settings()[0].labels == {"site": "a"}, "what a person chose stays"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="Input/output"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path], "no leftovers"


def test_an_exclusive_write_leaves_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"first", exclusive=True)
    with pytest.raises(FileExistsError):
        write_atomic(path, b"second", exclusive=True)
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
