"""Everything but values: tokens, roles, errors, health, members, messages, joining, OpenAPI."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

import httpx
import pytest

from bellande_mesh_sync import errors as tree
from bellande_mesh_sync.api.app import OPERATIONS, create_app
from bellande_mesh_sync.api.auth import FAILURE_WINDOW_S, FAILURES_MAX, FailureCounter
from bellande_mesh_sync.api.errors import STATUS_OF, status_of
from bellande_mesh_sync.api.operations import OPEN, PathDoor
from bellande_mesh_sync.api.published import PUBLISHED
from bellande_mesh_sync.client_errors import classes_by_code
from bellande_mesh_sync.errors import BellandeMeshError, TooManyAttemptsError

from .conftest import Served
from .memory_mesh import NODE, MemoryMesh
from .test_data import code_of

NEED_A_TOKEN = [operation for operation in OPERATIONS if operation.role != OPEN]


def url_of(path: str) -> str:
    return re.sub(r"{[^}]*}", "x", path)


class TestTokens:
    @pytest.mark.parametrize("operation", NEED_A_TOKEN, ids=lambda o: f"{o.method} {o.path}")
    def test_nothing_but_the_open_routes_answers_without_a_token(
        self, served: Served, operation: Any
    ) -> None:
        with served.http(role="") as http:
            answer = http.request(operation.method, url_of(operation.path))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        if operation.method != "HEAD":
            assert code_of(answer) == "unauthorized"

    def test_the_open_routes_are_exactly_these(self) -> None:
        paths = {operation.path for operation in OPERATIONS if operation.role == OPEN}
        assert paths - set(PUBLISHED) == {"/status", "/healthz", "/readyz", "/join"}
        assert set(PUBLISHED) <= paths, "these have their token in the payload: see test_path.py"

    @pytest.mark.parametrize("path", ["/status", "/healthz", "/readyz"])
    def test_open_routes_answer_without_a_token(self, served: Served, path: str) -> None:
        with served.http(role="") as http:
            assert http.get(path).status_code == 200

    @pytest.mark.parametrize(
        "header", ["admin-token", "Basic admin-token", "Bearer", "Bearer wrong", "Bearer " + "x" * 5000]
    )
    def test_what_is_no_good_token_is_refused(self, served: Served, header: str) -> None:
        with served.http(role="") as http:
            assert http.get("/v1/stats", headers={"authorization": header}).status_code == 401

    def test_two_authorization_headers_are_refused(self, served: Served) -> None:
        answer = served.raw(
            b"GET /v1/stats HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
            b"authorization: Bearer admin-token\r\nauthorization: Bearer admin-token\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 401 ")

    def test_guessing_is_answered_429_while_a_right_token_still_works(self, served: Served) -> None:
        with served.http(role="") as http:
            codes = [http.get("/v1/stats", headers={"authorization": "Bearer no"}) for _ in range(25)]
        assert [answer.status_code for answer in codes] == [401] * FAILURES_MAX + [429] * (25 - FAILURES_MAX)
        assert code_of(codes[-1]) == "too_many_attempts"
        assert int(codes[-1].headers["retry-after"]) > 0
        with served.http() as http:
            assert http.get("/v1/stats").status_code == 200

    def test_failures_are_forgotten_after_a_while_and_their_table_is_bounded(self) -> None:
        now = [0.0]
        counter = FailureCounter(lambda: now[0])
        for _ in range(FAILURES_MAX):
            counter.add("a")
        with pytest.raises(TooManyAttemptsError):
            counter.add("a")
        now[0] = FAILURE_WINDOW_S
        counter.add("a")
        for address in range(10_000):
            counter.add(str(address))
        assert len(counter._failures) <= 4096

    @pytest.mark.parametrize(
        ("role", "allowed"),
        [
            ("observer", (200, 403, 403, 403)),
            ("reader", (200, 200, 403, 403)),
            ("writer", (200, 200, 201, 403)),
            ("admin", (200, 200, 201, 201)),
        ],
    )
    def test_each_role_may_do_its_part_and_no_more(
        self, served: Served, role: str, allowed: tuple[int, ...]
    ) -> None:
        with served.http(role) as http:
            answers = (
                http.get("/v1/stats"),
                http.get("/v1/data"),
                http.put("/v1/data/a", content=b"1"),
                http.post("/v1/invites", json={}),
            )
        assert tuple(answer.status_code for answer in answers) == allowed
        assert all(code_of(answer) == "forbidden" for answer in answers if answer.status_code == 403)


class TestErrors:
    def test_every_error_of_the_tree_has_a_status(self) -> None:
        for error_class in classes_by_code().values():
            assert 200 < status_of(error_class("told")) < 600
        assert set(STATUS_OF) <= set(classes_by_code().values())

    def test_each_code_names_one_class(self) -> None:
        classes = [c for c in vars(tree).values() if isinstance(c, type) and issubclass(c, BellandeMeshError)]
        assert len({c.code for c in classes}) == len(classes)

    @pytest.mark.parametrize(
        "path", ["/", "/nothing", "/status/", "/v1", "/v1/nodes/", "/v1/nodes/a/b", "/join/"]
    )
    def test_an_unknown_route_is_404_in_json(self, http: httpx.Client, path: str) -> None:
        answer = http.get(path)
        assert (answer.status_code, code_of(answer)) == (404, "not_found")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("POST", "/status", "GET"),
            ("POST", "/v1/data/a", "DELETE, GET, HEAD, PUT"),
            ("PATCH", "/v1/data", "GET"),
            ("GET", "/v1/import", "POST"),
            ("HEAD", "/v1/watch", "GET"),
            ("OPTIONS", "/v1/stats", "GET"),
        ],
    )
    def test_a_wrong_method_is_405_with_the_right_ones(
        self, http: httpx.Client, method: str, path: str, allowed: str
    ) -> None:
        answer = http.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == allowed
        if method != "HEAD":
            assert code_of(answer) == "method_not_allowed"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"\xff"',
            b'{"to":1,"text":"x"}',
            b'{"to":"*"}',
            b'{"to":"*","text":"a","body_base64":"YQ=="}',
            b'{"to":"*","body_base64":"%%"}',
            b'{"to":"*","text":"a","more":1}',
            b'{"to":"*","text":NaN}',
            b'{"to":"*","text":"\\ud800"}',
            b'{"to":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            b'{"more":' + b"[" * 100_000 + b"]" * 100_000 + b',"to":"*"}',
            b'{"to":' + b"9" * 400_000 + b"}",
        ],
        ids=range(15),
    )
    def test_a_body_that_is_not_the_json_expected_is_400(self, http: httpx.Client, body: bytes) -> None:
        answer = http.post("/v1/messages", content=body)
        assert (answer.status_code, code_of(answer)) == (400, "usage")

    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_json_body_above_1_mib_is_413(self, http: httpx.Client, chunked: bool) -> None:
        body = b'{"to":"*","text":"' + b"x" * (1 << 20) + b'"}'
        answer = http.post("/v1/messages", content=iter([body]) if chunked else body)
        assert (answer.status_code, code_of(answer)) == (413, "body_too_large")

    def test_a_fault_of_ours_is_500_with_an_incident_that_the_log_explains(
        self, served: Served, http: httpx.Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        served.mesh.faults["stats"] = ZeroDivisionError("secret detail")
        with caplog.at_level(logging.ERROR):
            answer = http.get("/v1/stats")
        assert (answer.status_code, code_of(answer)) == (500, "internal")
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text
        incident = answer.json()["error"]["detail"]["incident"]
        assert incident in caplog.text
        assert "secret detail" in caplog.text

    def test_an_error_whose_facts_are_no_json_is_told_all_the_same(
        self, served: Served, http: httpx.Client
    ) -> None:
        served.mesh.faults["stats"] = tree.DiskFullError(path=b"\xff", more={1: object()})
        answer = http.get("/v1/stats")
        assert (answer.status_code, code_of(answer)) == (507, "disk_full")


class TestSystem:
    def test_status_tells_the_node(self, http: httpx.Client) -> None:
        assert http.get("/status").json()["node"] == NODE

    def test_health_names_the_check_that_fails(self, served: Served, http: httpx.Client) -> None:
        assert http.get("/healthz").json() == {"ok": True, "checks": {"disk": {"ok": True, "detail": "fine"}}}
        served.mesh.checks["disk"] = {"ok": False, "detail": "full"}
        for path in ("/healthz", "/readyz"):
            answer = http.get(path)
            assert answer.status_code == 503
            assert answer.json()["checks"]["disk"] == {"ok": False, "detail": "full"}

    def test_a_node_that_does_not_run_is_healthy_and_not_ready(
        self, served: Served, http: httpx.Client
    ) -> None:
        served.mesh.running = False
        assert http.get("/healthz").status_code == 200
        answer = http.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["checks"]["running"]["ok"] is False

    def test_the_digest_follows_the_data(self, http: httpx.Client) -> None:
        http.put("/v1/data/a/1", content=b"one")
        http.put("/v1/data/b/1", content=b"two")
        whole, part = http.get("/v1/digest").json(), http.get("/v1/digest", params={"prefix": "a/"}).json()
        assert (whole["records"], whole["bytes"], part["records"]) == (2, 6, 1)
        http.put("/v1/data/a/1", content=b"uno")
        assert http.get("/v1/digest").json()["digest"] != whole["digest"]

    def test_head_is_answered_like_get_without_the_body(self, http: httpx.Client) -> None:
        answer = http.head("/v1/stats")
        assert (answer.status_code, answer.content) == (200, b"")


class TestNodes:
    def test_members_come_in_pages_and_by_state(self, http: httpx.Client) -> None:
        page = http.get("/v1/nodes", params={"offset": 1, "limit": 1}).json()
        assert (page["total"], page["offset"], len(page["nodes"])) == (3, 1, 1)
        dead = http.get("/v1/nodes", params={"state": "dead"}).json()
        assert [node["name"] for node in dead["nodes"]] == ["twin"]
        assert http.get("/v1/nodes?state=undead").status_code == 400

    @pytest.mark.parametrize("name", [NODE, NODE.upper(), "abab", "alone"])
    def test_a_member_is_found_by_id_start_of_id_and_name(self, http: httpx.Client, name: str) -> None:
        assert http.get(f"/v1/nodes/{name}").json()["node"] == NODE

    @pytest.mark.parametrize(("name", "status"), [("ab", 404), ("nobody", 404), ("cdcd", 400), ("%ff", 400)])
    def test_a_name_that_fits_none_or_many_is_refused(
        self, http: httpx.Client, name: str, status: int
    ) -> None:
        assert http.get(f"/v1/nodes/{name}").status_code == status


class TestMessages:
    def test_text_and_base64_reach_a_node_by_name(self, served: Served, http: httpx.Client) -> None:
        assert http.post("/v1/messages", json={"to": "twin", "text": "hé"}).json() == {"sent": 1}
        body = {"to": "cdcdcd", "body_base64": "AP8=", "topic": "t", "reliable": True}
        assert http.post("/v1/messages", json={**body, "to": "cd" * 32}).json() == {"sent": 1}
        twin = "cd" * 32
        assert served.mesh.calls == [
            ("send", twin, "hé".encode(), "", False),
            ("send", twin, b"\x00\xff", "t", True),
        ]

    def test_a_star_reaches_every_member(self, served: Served, http: httpx.Client) -> None:
        assert http.post("/v1/messages", json={"to": "*", "text": "x", "topic": "t"}).json() == {"sent": 2}
        reliable = http.post("/v1/messages", json={"to": "*", "text": "x", "reliable": True})
        assert (reliable.status_code, code_of(reliable)) == (501, "unsupported")
        assert served.mesh.calls == [("broadcast", b"x", "t")]

    def test_a_topic_takes_the_raw_body(self, served: Served, http: httpx.Client) -> None:
        assert http.post("/v1/topics/alerts/fire%20north", content=b"\x00\x01").json() == {"sent": 3}
        assert served.mesh.calls == [("publish", "alerts/fire north", b"\x00\x01")]
        assert http.post("/v1/topics/%ff", content=b"").status_code == 400


class TestJoining:
    def test_an_admin_makes_an_invite(self, http: httpx.Client) -> None:
        answer = http.post("/v1/invites", json={"role": "reader", "expires_s": 60, "uses": 2})
        assert (answer.status_code, answer.json()) == (201, {"token": "token:reader:60:2"})
        assert answer.headers["cache-control"] == "no-store"

    @pytest.mark.parametrize(
        "wish", [{"role": "king"}, {"uses": 0}, {"expires_s": -1}, {"uses": 1.5}, {"x": 1}]
    )
    def test_a_wrong_wish_is_refused(self, http: httpx.Client, wish: dict[str, Any]) -> None:
        assert http.post("/v1/invites", json=wish).status_code == 400

    def test_join_is_refused_over_plain_http_even_when_a_header_says_otherwise(
        self, served: Served, http: httpx.Client
    ) -> None:
        body = {"token_id": "a", "proof": "b", "csr": "c", "name": "d"}
        answer = http.post("/join", json=body, headers={"x-forwarded-proto": "https"})
        assert (answer.status_code, code_of(answer)) == (403, "forbidden")
        assert "HTTPS" in answer.json()["error"]["message"]
        assert not served.mesh.calls


class TestOpenApi:
    @pytest.fixture
    def document(self, http: httpx.Client) -> dict[str, Any]:
        answer: dict[str, Any] = http.get("/openapi.json").json()
        return answer

    def test_it_describes_exactly_the_routes_of_the_application(self, document: dict[str, Any]) -> None:
        routes = create_app(MemoryMesh()).routes
        served = set()
        for route in routes:
            assert isinstance(route.app, PathDoor)  # type: ignore[attr-defined]
            path = re.sub(r":\w+}", "}", route.path)  # type: ignore[attr-defined]
            served |= {(path, method.lower()) for method in route.app.operations}  # type: ignore[attr-defined]
        described = {(path, method) for path, item in document["paths"].items() for method in item}
        assert described == served

    def test_every_reference_leads_to_a_schema(self, document: dict[str, Any]) -> None:
        references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document))
        assert {"Entry", "Receipt", "Status", "ErrorBody"} <= set(references)
        assert set(references) <= set(document["components"]["schemas"])

    def test_every_operation_is_explained_and_says_who_may(self, document: dict[str, Any]) -> None:
        names = []
        for item in document["paths"].values():
            for described in item.values():
                names.append(described["operationId"])
                assert described["summary"]
                assert described["description"]
                assert described.get("security") == [] or described["x-role"]
        assert len(set(names)) == len(names)

    def test_every_path_parameter_is_declared(self, document: dict[str, Any]) -> None:
        for path, item in document["paths"].items():
            for described in item.values():
                declared = {p["name"] for p in described["parameters"] if p["in"] == "path"}
                assert declared == set(re.findall(r"{(\w+)}", path))
