"""`POST /v1/path/plan`: a path, or lines as it becomes shorter; bounds; and who leaves ends it."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from bellande_mesh_sync.api import planning
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BusyError, InvalidSceneError, NoPathError
from bellande_mesh_sync.plan_wish import PlanWish
from bellande_mesh_sync.values import Path

from .conftest import Served, wait_until
from .test_data import code_of

WALL = {"position": [4.0, 0.0], "dimensions": [2.0, 8.0]}
SCENE: dict[str, Any] = {"start": [1, 1], "goal": [9, 1], "environment": [10, 10], "obstacles": [WALL]}


def test_the_answer_is_the_path(served: Served) -> None:
    with served.http("reader") as http:
        answer = http.post("/v1/path/plan", json={**SCENE, "time_limit": 0.1})
    assert answer.status_code == 200
    path = answer.json()
    assert (path["points"][0], path["points"][-1]) == ([1.0, 1.0], [9.0, 1.0])
    assert path["cost"] > 16


def test_the_client_hears_of_each_shorter_path(client: Client) -> None:
    told: list[Path] = []
    path = client.plan(PlanWish(**{**SCENE, "time_limit": 0.5}), on_progress=told.append)
    assert told
    assert path.cost <= told[-1].cost


def test_errors_come_with_their_code_and_facts(served: Served, client: Client) -> None:
    with pytest.raises(InvalidSceneError, match="the scene's start"):
        client.plan(PlanWish(**{**SCENE, "start": [5, 5]}))
    closed = {**SCENE, "obstacles": [{"position": [4, 0], "dimensions": [2, 10]}], "samples": 200}
    with pytest.raises(NoPathError) as raised:
        client.plan(PlanWish(**closed))
    assert raised.value.samples == 200
    with served.http() as http:
        assert (http.post("/v1/path/plan", json=closed).status_code) == 422


@pytest.mark.parametrize("change", [{"time_limit": 61}, {"time_limit": 0}, {"algorithm": "x"}, {"more": 1}])
def test_a_wish_that_makes_no_sense_is_refused(served: Served, change: dict[str, Any]) -> None:
    with served.http() as http:
        answer = http.post("/v1/path/plan", json={**SCENE, **change})
    assert (answer.status_code, code_of(answer)) == (400, "usage")


def test_a_third_search_at_once_is_refused_and_who_leaves_ends_theirs(served: Served) -> None:
    body = json.dumps({**SCENE, "time_limit": 60}).encode()
    request = (
        b"POST /v1/path/plan?progress=true HTTP/1.1\r\nhost: x\r\nauthorization: Bearer reader-token\r\n"
    )
    request += b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    connections = [served.connect() for _ in range(planning.AT_ONCE_MAX)]
    for connection in connections:
        connection.sendall(request)
        assert b"200 OK" in connection.recv(65536)
    with served.client() as client, pytest.raises(BusyError):
        client.plan(PlanWish(**SCENE))
    for connection in connections:
        connection.close()

    def is_free() -> bool:
        if planning._under_way.acquire(blocking=False):
            planning._under_way.release()
            return True
        return False

    wait_until(is_free)


def test_the_loop_goes_on_while_a_search_runs(served: Served, client: Client) -> None:
    done = threading.Event()

    def search() -> None:
        client.plan(PlanWish(**{**SCENE, "time_limit": 1.0}))
        done.set()

    thread = threading.Thread(target=search)
    thread.start()
    answers = 0
    with served.http() as http:
        while not done.is_set():
            assert http.get("/status").status_code == 200
            answers += 1
    thread.join()
    assert answers > 5
