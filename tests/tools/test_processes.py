"""Nodes as child processes: they come up, and whatever happens they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.processes import NodeProcess, ProcessError, all_stopped, bms, join_mesh


@pytest.fixture
def home(tmp_path: Path) -> Path:
    bms("init", "--name", "alone", home=tmp_path / "alone")
    return tmp_path / "alone"


def test_a_node_says_where_it_listens_and_stops_cleanly(home: Path) -> None:
    with NodeProcess(home) as node:
        assert node.is_running
        assert node.http_url.startswith("http://127.0.0.1:")
        assert node.admin_token()
    assert node.stop() == 0


def test_nodes_end_when_the_work_with_them_fails(home: Path) -> None:
    def fail_with_a_node(node: NodeProcess) -> None:
        with all_stopped([node]):
            node.start()
            raise ZeroDivisionError

    node = NodeProcess(home)
    with pytest.raises(ZeroDivisionError):
        fail_with_a_node(node)
    assert not node.is_running


def test_a_node_that_cannot_start_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "nobody")
    with pytest.raises(ProcessError, match="not_a_member"):
        node.start()
    assert not node.is_running


def test_a_killed_node_starts_again_in_the_same_home(home: Path) -> None:
    with NodeProcess(home) as node:
        first = node.pid
        node.kill()
        assert not node.is_running
        node.start()
        assert node.pid != first


def test_a_command_that_fails_is_an_error_with_its_sentence(home: Path) -> None:
    with pytest.raises(ProcessError, match="already_a_member"):
        bms("init", home=home)


def test_a_mesh_is_joined_with_one_invitation_each(tmp_path: Path) -> None:
    nodes = join_mesh(tmp_path, ["one", "two"], mesh="pair")
    with all_stopped(nodes):
        assert [node.is_running for node in nodes] == [True, False]
        nodes[1].start()
        assert nodes[1].ready["node"] != nodes[0].ready["node"]
