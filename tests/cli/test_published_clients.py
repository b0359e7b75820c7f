"""The published Python clients work against a node of ours when their address is changed.

They are installed into a throw-away folder, and run in a process of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bellande_mesh_sync.home import Home

CLIENTS = (
    "bellande_limit==0.1.2",
    "bellande_motion_probability==0.1.0",
    "bellande_node_importance==0.1.0",
    "bellande_particle==0.0.2",
)
INSTALL_SECONDS_MAX = 240

# Their address is a constant of theirs, so it is changed where they call it.
RUN = """
import runpy, sys
import requests

base, module, *arguments = sys.argv[1:]
post = requests.post

def post_to_the_node(url, **settings):
    path = url.removeprefix("https://bellande-robotics-sensors-research-innovation-center.org")
    assert path != url, url
    return post(base + path, **settings)

requests.post = post_to_the_node
sys.argv = [module, *arguments]
runpy.run_module(module, run_name="__main__")
"""


@pytest.fixture(scope="session")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "clients"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--retries", "0", "--timeout", "15"]
    into = ["install", "--quiet", "--target", str(folder)]
    for what in (["--no-deps", *CLIENTS], ["requests"]):
        try:
            done = subprocess.run(
                [*pip, *into, *what], capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{what[-1]} was not installed within {INSTALL_SECONDS_MAX} s")
        if done.returncode != 0:
            pytest.skip(f"{what[-1]} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture
def run(clients: Path, shared_home: Path) -> Any:
    address = (Home(shared_home).running() or {})["http"]

    def run(module: str, *arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-c", RUN, f"http://{address}", module, *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PYTHONPATH": str(clients)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.timeout(2 * INSTALL_SECONDS_MAX + 120)
def test_the_published_clients_work_against_a_node_of_ours(run: Any) -> None:
    found = run(
        "bellande_limit.bellande_limit_api",
        *("--node0", "[0,0,0]", "--node1", "[100,100,100]", "--environment", "[1000,1000,1000]"),
        *("--size", "[10,10,10]", "--goal", "[200,200,200]"),
        *("--obstacles", '[{"position": [5,5,5], "dimensions": [2,2,2]}]'),
    )
    assert found == {"limit": 3.4121400909106887}

    found = run(
        "bellande_node_importance.bellande_node_importance_api",
        *("--node", '{"coords": [5,5,5], "segment": 1}', "--nodes", '[{"coords": [4,4,4], "segment": 1}]'),
        *("--important-nodes", '{"1": [{"coords": [4,4,4], "segment": 1}]}'),
        *("--adjacent-segments", '{"1": [2], "2": [1]}', "--grid-steps", "[10,10,10]"),
    )
    assert 0 <= found["importance_score"] <= 1

    module = "bellande_particle.bellande_particle_api"
    turns = ("--rotation1", "45", "--translation", "1", "--rotation2", "-45")
    found = run(module, "move", "--particle-state", "[0,0,0,1]", *turns)
    assert found["particle"]["x"] == pytest.approx(0.70710678)
    world = '{"width": 10, "height": 10, "markers": [[1, 1]]}'
    found = run(module, "read-markers", "--particle-state", "[0,0,0]", "--world", world)
    assert found["markers"][0]["bearing"] == pytest.approx(45)
    assert len(run(module, "create-random", "--count", "7", "--world", world)["particles"]) == 7

    found = run(
        "bellande_motion_probability.bellande_motion_probability_api",
        *(
            "--particle-state",
            "[100,100,90,1]",
            "--previous-pose",
            "[0,0,0]",
            "--current-pose",
            "[100,100,90]",
        ),
    )
    assert found["probability"] > 1
