"""The past over HTTP: what reaches the mesh, what comes back, and how errors look."""

from __future__ import annotations

import httpx
import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import HistoryGoneError, NotFoundError
from tests.api.conftest import Served


def test_what_is_asked_about_the_past_reaches_the_mesh(served: Served, client: Client) -> None:
    assert list(client.diff("fleet/", "2h ago", page=7)) == []
    pages = list(client.restore("fleet/", "now", dry_run=True, ack="one", timeout=3))
    assert [page.at_ms for page in pages] == [1000, 1000]
    assert client.restore_version("fleet/a b", "v.1", ack="all").version == "again"
    assert served.mesh.calls == [
        ("diff", "fleet/", "2h ago", "now", 7, ""),
        ("diff", "fleet/", "1000", "2000", 7, "k"),  # The same moments as on the first page.
        ("restore", "fleet/", "now", True, 500, "", "one", 3.0),
        ("restore", "fleet/", "1000", True, 500, "k", "one", 3.0),
        ("restore_version", "fleet/a b", "v.1", "all", None),
    ]


def test_a_history_that_does_not_reach_back_is_410(
    served: Served, http: httpx.Client, client: Client
) -> None:
    http.put("/v1/data/fleet/k", content=b"1")
    answer = http.get("/v1/data/fleet/k", params={"at": "2h ago"})
    assert answer.status_code == 410
    assert answer.json()["error"]["code"] == "history_gone"
    with pytest.raises(HistoryGoneError):
        client.get("fleet/k", version="v.1")
    assert served.mesh.calls[1:] == [
        ("open_past", "fleet/k", "2h ago", None),
        ("open_past", "fleet/k", None, "v.1"),
    ]


def test_a_history_is_told_or_not_found(http: httpx.Client, client: Client) -> None:
    http.put("/v1/data/fleet/k", content=b"12345")
    found = client.history("fleet/k")
    assert (found.versions[0].state, found.versions[0].size, found.complete) == ("current", 5, False)
    with pytest.raises(NotFoundError):
        client.history("fleet/none")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/diff?prefix=a", None),
        ("GET", "/v1/diff?from=now&limit=0", None),
        ("GET", "/v1/diff?from=now&until=now", None),
        ("GET", "/v1/diff?from=now&prefix=a//b", None),
        ("GET", "/v1/data/k?when=now", None),
        ("POST", "/v1/restore", {"prefix": "a"}),
        ("POST", "/v1/restore", {"prefix": "a", "at": "now", "ack": "some"}),
        ("POST", "/v1/restore", {"prefix": "a", "at": 5}),
        ("POST", "/v1/history/k", {}),
        ("POST", "/v1/history/a//b", {"version": "v"}),
    ],
)
def test_what_is_asked_wrongly_is_refused(http: httpx.Client, method: str, path: str, body: object) -> None:
    answer = http.request(method, path, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] in ("usage", "invalid_key")


def test_readers_may_look_and_not_bring_back(served: Served) -> None:
    with served.http("reader") as http:
        assert http.get("/v1/diff?from=now").status_code == 200
        assert http.post("/v1/restore", json={"prefix": "", "at": "now"}).status_code == 403
        assert http.post("/v1/history/k", json={"version": "v"}).status_code == 403
