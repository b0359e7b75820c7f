"""Routes about members: what they ask of the mesh, who may, and what the client makes of the answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import StillMemberError, UnreachableError

from .conftest import Served
from .memory_mesh import NODE
from .test_data import code_of

TWIN = "cd" * 32


def test_the_client_gets_what_the_mesh_answers(served: Served, client: Client) -> None:
    assert [view.name for view in client.nearest("fleet/plans/dock #1", 2)] == ["alone", "other"]
    topology = client.topology(0.5)
    assert (topology.sights[0].route, topology.sights[0].loss, len(topology.nodes)) == ("direct", 0.25, 3)
    explained = client.why("twin")
    assert (explained.node, explained.own_health, explained.findings[0].what) == (TWIN, 1, "no_answer")
    assert client.node("self").node == NODE
    assert client.register("10.0.0.7:8000", 3).node == TWIN
    assert client.remove("twin") == TWIN
    assert client.update(labels={}, zone="hall").node == NODE
    assert client.cleanup() == [TWIN]
    assert client.cleanup(60) == [TWIN]
    assert [view.node for view in client.restore_nodes(1)] == [TWIN]
    client.announce()
    client.set_max_connections(7)
    client.sleep(600)
    assert client.wake() is False
    assert served.mesh.calls == [
        ("nearest", "fleet/plans/dock #1", 2),
        ("topology", 0.5),
        ("register", "10.0.0.7:8000", 3),
        ("remove", TWIN),
        ("update", {}, None, "hall"),
        ("cleanup", None),
        ("cleanup", 60),
        ("restore", 1),
        ("announce",),
        ("max_connections", 7),
        ("sleep", 600),
        ("wake",),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/nodes", {}),
        ("POST", "/v1/nodes", {"address": "a:1", "timeout": 0}),
        ("POST", "/v1/nodes", {"address": "a:1", "timeout": 1e9}),
        ("PATCH", "/v1/nodes/self", {"name": "other"}),
        ("PATCH", "/v1/nodes/self", {"labels": {"a": 1}}),
        ("POST", "/v1/nodes/cleanup", {"older_than_s": -1}),
        ("PUT", "/v1/max-connections", {"count": 0}),
        ("POST", "/v1/sleep", {}),
        ("POST", "/v1/sleep", {"for_s": 1e12}),
        ("GET", "/v1/topology?timeout=0", None),
        ("GET", "/v1/nodes/nearest/x?count=0", None),
        ("GET", "/v1/nodes/nearest/x?count=1001", None),
    ],
)
def test_a_wrong_wish_is_refused_and_nothing_is_done(
    served: Served, http: httpx.Client, method: str, path: str, body: Any
) -> None:
    answer = http.request(method, path, json=body)
    assert (answer.status_code, code_of(answer)) == (400, "usage")
    assert served.mesh.calls == []


def test_only_an_admin_changes_members_and_an_observer_may_look(served: Served) -> None:
    with served.http("writer") as http:
        assert http.delete("/v1/nodes/twin").status_code == 403
        assert http.patch("/v1/nodes/self", json={"zone": "x"}).status_code == 403
        for path in ("sleep", "wake", "nodes", "nodes/cleanup", "nodes/restore", "nodes/announce"):
            assert http.post(f"/v1/{path}", json={}).status_code == 403
        assert http.put("/v1/max-connections", json={"count": 1}).status_code == 403
    with served.http("observer") as http:
        for path in ("topology", "nodes/twin/why", "nodes/self", "nodes/nearest/x"):
            assert http.get(f"/v1/{path}").status_code == 200


def test_a_member_that_is_no_member_or_not_down_is_not_removed(served: Served, http: httpx.Client) -> None:
    answer = http.delete("/v1/nodes/nobody")
    assert (answer.status_code, code_of(answer)) == (404, "not_found")
    served.mesh.faults["remove_node"] = StillMemberError(node=TWIN, state="alive")
    answer = http.delete("/v1/nodes/twin")
    assert (answer.status_code, code_of(answer)) == (409, "still_member")


def test_nobody_at_the_address_is_told_as_such(served: Served, client: Client) -> None:
    served.mesh.faults["register_node"] = UnreachableError(address="a:1", reason="no answer")
    with pytest.raises(UnreachableError, match="a:1"):
        client.register("a:1")


def test_names_with_slashes_are_found_by_all_routes(http: httpx.Client) -> None:
    assert http.get("/v1/nodes/a%2Fwhy/why").status_code == 404
    assert http.get("/v1/nodes/twin/what").status_code == 404
