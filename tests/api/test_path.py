"""The search path over HTTP: questions, and the compatible doors."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import httpx
import pytest

from bellande_mesh_sync.api import published
from bellande_mesh_sync.api.app import openapi_document
from bellande_mesh_sync.api.auth import FAILURES_MAX, FailureCounter
from bellande_mesh_sync.api.paths import WAITING_MAX, Desk
from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import BusyError, DimensionMismatchError, NotFoundError
from bellande_mesh_sync.search_path import limit, step

from .conftest import Served
from .test_data import code_of

OPEN = {"auth": {"authorization_key": "bellande_web_api_opensource"}}
STEP = {"node0": [0, 0, 0], "node1": [100, 100, 100], "limit": 75, "dimensions": 3}
PARTICLE = {"x": 0, "y": 0, "heading": 0, "weight": 1.0}
WORLD = {"width": 10.0, "height": 10.0, "markers": [[1.0, 1.0]]}
IMPORTANCE: dict[str, Any] = {
    "node": {"coords": [5.0, 5.0, 5.0], "segment": 1},
    "nodes": [{"coords": [4.0, 4.0, 4.0], "segment": 1}, {"coords": [6.0, 6.0, 6.0], "segment": 1}],
    "important_nodes": {
        "1": [{"coords": [4.0, 4.0, 4.0], "segment": 1}],
        "2": [{"coords": [15.0, 15.0, 15.0], "segment": 2}],
    },
    "adjacent_segments": {"1": [2], "2": [1]},
    "grid_steps": [10.0, 10.0, 10.0],
    "min_segment_coverage": 0.5,
}
LIMIT: dict[str, Any] = {
    "node0": [0, 0, 0],
    "node1": [100, 100, 100],
    "environment": [1000, 1000, 1000],
    "size": [10, 10, 10],
    "goal": [200, 200, 200],
    "obstacles": [{"position": [50, 50, 50], "dimensions": [20, 20, 20]}],
    "search_radius": 50,
    "sample_points": 20,
}
MOTION: dict[str, Any] = {
    "particle_state": [0, 0, 0, 1.0],
    "previous_pose": [0, 0, 0],
    "current_pose": [100, 100, 90],
    "noise_params": {"trans_sigma": 0.1, "rot_sigma": 0.1, "head_sigma": 0.1},
    "search_radius": 50,
    "sample_points": 20,
}


def ask(http: httpx.Client, path: str, payload: dict[str, Any]) -> Any:
    answer = http.post(path, json={**payload, **OPEN})
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestQuestions:
    def test_a_question_is_answered(self, http: httpx.Client) -> None:
        question = {"node0": [[0, 0], [10, 10]], "node1": [30, 40], "limit": 25}
        found = http.post("/v1/path/step", json=question)
        assert found.headers["content-type"] == "application/json"
        assert found.json() == {"next_step": step(**question).tolist()}  # type: ignore[arg-type]

    def test_the_client_asks_and_hears_of_errors(self, client: Client) -> None:
        question = {"node0": [0, 0], "node1": [30, 40], "limit": 25}
        assert client.ask_path("step", json.dumps(question).encode()) == {"next_step": [15, 20]}
        with pytest.raises(DimensionMismatchError, match="node1 has 1 dimensions"):
            client.ask_path("step", json.dumps({**question, "node1": [1]}).encode())
        with pytest.raises(NotFoundError):
            client.ask_path("a/b", b"{}")

    def test_an_unknown_algorithm_is_no_route(self, http: httpx.Client) -> None:
        assert http.post("/v1/path/fly", json={}).status_code == 404

    def test_errors_have_their_status_and_code(self, http: httpx.Client) -> None:
        wrong = http.post("/v1/path/step", json={"node0": [0], "node1": [0, 1], "limit": 1})
        assert (wrong.status_code, code_of(wrong)) == (400, "dimension_mismatch")
        assert wrong.json()["error"]["detail"] == {"what": "node1", "have": 2, "need": 1}
        large = http.post(
            "/v1/path/tree", json={"root": [0] * 99, "limit": 1, "environment": [1] * 99, "count": 5000}
        )
        assert (large.status_code, code_of(large)) == (413, "question_too_large")
        body = http.post("/v1/path/step", content=b" " * (1024 * 1024 + 1))
        assert (body.status_code, code_of(body)) == (413, "body_too_large")

    def test_a_reader_may_ask_and_an_observer_may_not(self, served: Served) -> None:
        question = {"node0": [0], "node1": [1], "limit": 1}
        for role, status in (("observer", 403), ("reader", 200)):
            with served.http(role) as http:
                assert http.post("/v1/path/step", json=question).status_code == status

    def test_each_operation_has_its_own_name(self) -> None:
        paths = openapi_document()["paths"]
        names = [each["operationId"] for path in paths.values() for each in path.values()]
        assert len(names) == len(set(names))
        assert {"ask_step", "ask_segment", "published_bellande_step_bellande_step_nd"} <= set(names)


class TestDesk:
    def test_so_many_wait_and_no_more_and_places_come_free(self) -> None:
        async def main() -> None:
            desk, hold = Desk(), threading.Event()
            waiting = [asyncio.ensure_future(desk.ask(hold.wait)) for _ in range(WAITING_MAX)]
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await desk.ask(hold.wait)
            waiting[0].cancel()  # Its caller left; the thread is still at it.
            await asyncio.sleep(0)
            with pytest.raises(BusyError):
                await desk.ask(hold.wait)
            hold.set()
            assert all(await asyncio.gather(*waiting[1:]))
            assert await desk.ask(lambda: 5) == 5

        asyncio.run(main())


class TestPublishedDoors:
    def test_step(self, http: httpx.Client) -> None:
        for name in ("bellande_step_nd", "bellande_step"):
            found = ask(http, f"/api/Bellande_Step/{name}", STEP)
            assert found == {"next_step": [43.30127018922194] * 3}

    def test_limit(self, http: httpx.Client) -> None:
        found = ask(http, "/api/Bellande_Limit/bellande_limit", LIMIT)
        assert found == {"limit": float(limit(**LIMIT))}
        assert found["limit"] == 6.9282032302755105

    def test_node_importance(self, http: httpx.Client) -> None:
        found = ask(http, "/api/Bellande_Node_Importance/node_importance", IMPORTANCE)
        assert found["importance_score"] == pytest.approx(0.15)
        assert found["segment_coverage"] == 1
        assert found["node_attributes"]["connector"] is True
        assert set(found) >= {"coverage_metrics", "execution_time_ms"}

    def test_particle(self, http: httpx.Client) -> None:
        turns = {"rotation1": 45.0, "translation": 1.0, "rotation2": -45.0}
        moved = ask(http, "/api/Bellande_Particle/move", {"particle": PARTICLE, **turns})["particle"]
        assert moved == pytest.approx({"x": 0.70710678, "y": 0.70710678, "heading": 0, "weight": 1})
        seen = ask(http, "/api/Bellande_Particle/read_markers", {"particle": PARTICLE, "world": WORLD})
        assert seen["markers"] == [pytest.approx({"distance": 1.41421356, "bearing": 45, "x": 1, "y": 1})]
        payload = {"count": 10, "world": WORLD}
        made = [ask(http, "/api/Bellande_Particle/create_random", payload)["particles"] for _ in range(2)]
        assert len(made[0]) == 10
        assert made[0] != made[1], "random unless a seed is given"
        assert all(0 <= each["x"] <= 10 and each["weight"] == 0.1 for each in made[0])
        same = [ask(http, "/api/Bellande_Particle/create_random", {**payload, "seed": 1}) for _ in range(2)]
        assert same[0] == same[1]

    def test_probability(self, http: httpx.Client) -> None:
        payload = {"mu_func": "i * 0.5", "sigma_func": "1 + i * 0.1", "x": [1, 2, 3], "dimensions": 3}
        found = ask(http, "/api/Bellande_Probability/bellande_probability", payload)
        assert found["probability_values"] == [pytest.approx(0.0028710189102664455)]
        assert len(found["confidence_intervals"]) == 3
        full = {"auth": {"full_authorization_key": "reader-token"}}
        again = http.post(
            "/api/Bellande_Probability/bellande_probability_full_auth", json={**payload, **full}
        )
        assert again.json()["probability_values"] == found["probability_values"]
        wrong = http.post(
            "/api/Bellande_Probability/bellande_probability", json={**payload, **OPEN, "dimensions": 2}
        )
        assert (wrong.status_code, code_of(wrong)) == (400, "dimension_mismatch")

    def test_motion_probability(self, http: httpx.Client) -> None:
        found = ask(http, "/api/Bellande_Motion_Probability/bellande_motion_probability", MOTION)
        assert found["odometry"] == pytest.approx(
            {"rotation1": 45, "translation": 141.42135623731, "rotation2": 45}
        )
        assert found["probability"] == 0
        assert found["log_probability"] < -1000

    def test_tree_and_segment(self, http: httpx.Client) -> None:
        tree = ask(
            http, "/api/Bellande_Tree/bellande_tree", {"root": [0, 0], "limit": 1, "targets": [[0, 4]]}
        )
        assert tree == {"points": [[0, 0], [0, 1]], "parents": [0, 0], "costs": [0, 1]}
        payload = {"environment": [800, 600], "counts": [1, 6], "points": [[50, 550]]}
        assert ask(http, "/api/Bellande_Segment/bellande_segment", payload)["segments"] == [5]

    def test_fields_that_are_not_known_are_passed_over(self, http: httpx.Client) -> None:
        assert "next_step" in ask(http, "/api/Bellande_Step/bellande_step_nd", {**STEP, "more": 1})


class TestWhoMayPassTheDoors:
    PATH = "/api/Bellande_Step/bellande_step_nd"

    def post(self, served: Served, key: Any) -> httpx.Response:
        with served.http(role="") as http:
            return http.post(self.PATH, json={**STEP, "auth": {"authorization_key": key}})

    def test_a_token_of_a_reader_passes_and_others_do_not(self, served: Served) -> None:
        assert self.post(served, "reader-token").status_code == 200
        low = self.post(served, "observer-token")
        assert (low.status_code, code_of(low)) == (403, "forbidden")
        for wrong in ("nobody", "", "x" * 5000):
            answer = self.post(served, wrong)
            assert (answer.status_code, code_of(answer)) == (401, "unauthorized")
        with served.http(role="") as http:
            assert http.post(self.PATH, json=STEP).status_code == 401

    def test_the_open_key_is_for_this_machine_alone(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.post(served, published.OPEN_KEY).status_code == 200
        # As if the call came from another machine.
        monkeypatch.setattr(published, "is_loopback", lambda address: False)
        refused = self.post(served, published.OPEN_KEY)
        assert (refused.status_code, code_of(refused)) == (401, "unauthorized")
        assert "own machine" in refused.json()["error"]["message"]
        assert self.post(served, "reader-token").status_code == 200

    def test_the_open_key_is_not_for_web_pages(self, served: Served) -> None:
        with served.http(role="") as http:
            answer = http.post(self.PATH, json={**STEP, **OPEN}, headers={"origin": "https://example.org"})
        assert (answer.status_code, code_of(answer)) == (401, "unauthorized")

    def test_guessing_gets_slow_answers(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(published, "_failures", FailureCounter())
        codes = [self.post(served, "guess").status_code for _ in range(FAILURES_MAX + 1)]
        assert codes == [401] * FAILURES_MAX + [429]
        assert self.post(served, "reader-token").status_code == 200

    def test_the_key_is_asked_for_before_the_payload_is_looked_at(self, served: Served) -> None:
        with served.http(role="") as http:
            assert http.post(self.PATH, json={"auth": {"authorization_key": "no"}}).status_code == 401
            wrong = http.post(self.PATH, json=OPEN)
            assert (wrong.status_code, code_of(wrong)) == (400, "usage")
            for body in (b"", b"[]", b"{", json.dumps("x").encode()):
                assert http.post(self.PATH, content=body).status_code == 400
