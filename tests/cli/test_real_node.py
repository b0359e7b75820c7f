"""`bms start`, as processes: how a node becomes ready, is told things, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.home import Home
from tests.cli.conftest import COMMAND, Bms
from tests.mesh.programs import Program, start_node, until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    assert main(["init", "--home", str(path), "--name", "crane-1"]) == 0
    return path


@pytest.fixture
def bms(home: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> Bms:
    return Bms(home, capsysbinary)


def start_that_fails(home: Path, *arguments: str) -> str:
    """What a start says that ends with exit 1 and nothing on standard output."""
    command = [*COMMAND, "--home", str(home), "start", "--listen", "127.0.0.1:0", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "Traceback" not in ran.stderr
    return ran.stderr


def test_the_first_line_says_where_the_node_listens_and_sigterm_ends_it_cleanly(home: Path) -> None:
    program, ready = start_node(home)
    with program:
        assert set(ready) == {"event", "node", "tcp", "http", "https"}
        assert ready["event"] == "ready"
        for name in ("tcp", "http", "https"):
            host, _, port = ready[name].rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        running = Home(home).running()
        assert running is not None
        assert running["pid"] == program.process.pid
        assert running["http"] == ready["http"]
        assert program.terminate() == 0
        assert program.waiting_lines() == []
    assert Home(home).running() is None


def test_ctrl_c_ends_it_cleanly_and_what_was_put_is_still_there(home: Path, bms: Bms) -> None:
    program, _ = start_node(home)
    with program:
        assert bms("put", "a/k", "v").code == 0
        os.kill(program.process.pid, signal.SIGINT)
        assert program.process.wait(20) == 0
    program, _ = start_node(home)
    with program:
        assert bms("get", "a/k").out == b"v"


def test_a_second_ctrl_c_does_not_wait(home: Path) -> None:
    program, _ = start_node(home)
    with program:
        os.kill(program.process.pid, signal.SIGSTOP)  # Both arrive before it can finish the first.
        os.kill(program.process.pid, signal.SIGINT)
        os.kill(program.process.pid, signal.SIGCONT)
        for _ in range(200):
            if program.process.poll() is not None:
                break
            os.kill(program.process.pid, signal.SIGINT)
        assert program.process.wait(20) in (0, -signal.SIGINT)


def test_sigterm_during_the_start_ends_it_cleanly(home: Path) -> None:
    with Program(
        ["-m", "bellande_mesh_sync", "start", "--home", str(home), "--listen", "127.0.0.1:0"]
    ) as program:
        until(lambda: Home(home).running() is not None, 30, "it takes the home's lock")
        assert program.terminate() == 0


def test_sighup_reads_the_settings_again_and_a_broken_file_stops_nothing(home: Path, bms: Bms) -> None:
    program, _ = start_node(home)
    with program:

        def says(text: str) -> bool:
            return any(text in line.decode() for line in program._errors)

        good = (home / "node.toml").read_text()
        (home / "node.toml").write_text("listen_address = [\n")
        os.kill(program.process.pid, signal.SIGHUP)
        until(lambda: says("not reloaded"), 10, "it tells of the broken file")
        assert bms("status").code == 0
        (home / "node.toml").write_text(good.replace("# sync_interval = 30", "sync_interval = 7"))
        os.kill(program.process.pid, signal.SIGHUP)
        until(lambda: says("sync_interval_s"), 10, "it names what has changed")
        assert program.terminate() == 0


def test_a_second_node_on_the_home_is_refused(home: Path) -> None:
    program, _ = start_node(home)
    with program:
        said = start_that_fails(home)
        assert "home_in_use" in said
        assert str(program.process.pid) in said


def test_a_port_that_is_taken_is_named(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = start_that_fails(home, "--listen", address, "--http-port", "0", "--https-port", "0")
    assert "port_in_use" in said
    assert address in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\nlisten_address = ?\n", "line 2"),
        ("listen_adress = 'x:1'\n", "did you mean listen_address?"),
        ("sync_interval = -1\n", "sync_interval"),
        ("[options]\nmax_connections = 0\n", "options.max_connections"),
    ],
)
def test_a_broken_settings_file_is_explained(text: str, words: str, home: Path) -> None:
    (home / "node.toml").write_text(text)
    said = start_that_fails(home)
    assert "config_invalid" in said
    assert words in said
    assert "node.toml" in said


def test_a_damaged_database_is_explained(home: Path) -> None:
    program, _ = start_node(home)
    with program:
        program.terminate()
    databases = [path for path in (home / "data").rglob("*") if path.is_file()]
    assert databases
    for path in databases:
        path.write_bytes(b"this is not a database\n" * 1000)
    assert "corrupt_store" in start_that_fails(home)


def test_options_win_over_the_settings_file(home: Path) -> None:
    (home / "node.toml").write_text(
        'listen_address = "127.0.0.1:1"\nhttp_port = 1\nhttps_port = 1\n[options]\ntcp_port = 1\n'
    )
    program, ready = start_node(home, "--http-port", "-1", "--https-port", "0")
    with program:
        assert ready["http"] == ""
        assert not ready["tcp"].endswith(":1")
        assert not ready["https"].endswith(":1")


def test_a_node_without_http_says_so_to_other_commands(home: Path, bms: Bms) -> None:
    program, _ = start_node(home, "--http-port", "-1")
    with program:
        assert bms("status", "--json").error == "unreachable"


def test_a_dev_node_needs_no_identity_and_stays_on_this_machine(tmp_path: Path) -> None:
    program, _ = start_node(tmp_path / "dev", "--dev")
    with program:
        assert program.terminate() == 0
    assert "loopback" in start_that_fails(tmp_path / "dev", "--dev", "--listen", "0.0.0.0:0")


def test_a_node_that_was_invited_joins_and_both_hold_the_same(home: Path, bms: Bms, tmp_path: Path) -> None:
    second_home = tmp_path / "second"
    program, first = start_node(home)
    with program:
        token = bms("invite", "--label", "site=a").text.strip()
        joined = bms("join", token, "--name", "crane-2", "--json", home=second_home)
        assert joined.json["name"] == "crane-2"
        assert joined.json["role"] == "writer"
        assert bms("join", token, "--json", home=tmp_path / "third").error == "token_used"
        config, _ = Home(second_home).load_settings()
        assert config.bootstrap_nodes == (first["tcp"],)
        other, second = start_node(second_home)
        with other:
            put = bms("put", "a/k", "v", "--ack", "all", "--timeout", "30", "--json")
            until(
                lambda: bms("get", "a/k", home=second_home).out == b"v",
                30,
                "the value reaches the second node",
            )
            put = bms("put", "a/k2", "v", "--ack", "all", "--timeout", "30", "--json")
            assert sorted(put.json["nodes"]) == sorted([first["node"], second["node"]])
            states = {node["name"]: node["state"] for node in bms("nodes", "--json").json["nodes"]}
            assert states == {"crane-1": "alive", "crane-2": "alive"}
            labels = {node["name"]: node["labels"] for node in bms("nodes", "--json").json["nodes"]}
            assert labels == {"crane-1": {}, "crane-2": {"site": "a"}}
            listed = bms("certs", "--json").json["certificates"]
            assert [each["of"] for each in listed] == ["this node", "authority", "peer"]
            certificate = str(second_home / "identity" / "node.crt")
            assert bms("certs", "--check", certificate, "--json").json["ok"] is True
            wrong = bms("certs", "--check", str(second_home / "identity" / "authority.crt"))
            assert (wrong.code, "not a node's" in wrong.text) == (1, True)
            assert bms("send", "crane-2", "hello").code == 0
            assert bms("send", second["node"][:8], "hello").code == 0
            assert bms("broadcast", "hello", "--json").json["nodes"] == 1
        # The other one is gone now, so not everybody can confirm.
        assert bms("put", "a/k3", "v", "--ack", "all", "--timeout", "0.3").code == 7
