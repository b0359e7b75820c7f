"""Conflicts over HTTP: the listing, the siblings, the choice, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from bellande_mesh_sync.client import Client
from bellande_mesh_sync.errors import ConflictError, HistoryGoneError, UsageError

from .conftest import Served
from .memory_mesh import NODE

VERSION = f"{NODE}.{'00' * 8}.1"
JSON = {"content-type": "application/json"}


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, str(answer.json()["error"]["code"])


def last_call(served: Served) -> tuple[Any, ...]:
    return served.mesh.calls[-1]


def test_conflicts_are_listed_page_by_page(http: httpx.Client, client: Client) -> None:
    for number in range(5):
        http.put(f"/v1/data/a/{number}", content=b"1")
    page = http.get("/v1/conflicts?prefix=a/&limit=2").json()
    assert [found["key"] for found in page["conflicts"]] == ["a/0", "a/1"]
    assert page["conflicts"][0]["siblings"] == 2
    assert page["cursor"] == "a/1"
    assert [found.key for found in client.conflicts("a/", page=2)] == [f"a/{number}" for number in range(5)]


def test_the_siblings_of_a_key_tell_what_is_not_known_as_null(http: httpx.Client, client: Client) -> None:
    http.put("/v1/data/a/b%20c", content=b"1")
    told = http.get("/v1/conflicts/a/b%20c").json()
    assert (told["key"], told["context"]) == ("a/b c", "ctx")
    (view,) = told["siblings"]
    assert (view["version"], view["arrived_ms"], view["ahead_ms_min"]) == (VERSION, 7, None)
    assert client.siblings("a/b c").siblings[0].ahead_ms_max == -7
    assert refusal(http.get("/v1/conflicts/none")) == (404, "not_found")


def test_a_version_is_chosen_by_json(served: Served, http: httpx.Client) -> None:
    answer = http.post("/v1/conflicts/a/b?ack=all&timeout=3", json={"version": VERSION, "context": "seen"})
    assert answer.status_code == 200
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert last_call(served) == ("resolve", "a/b", VERSION, None, None, "seen", "all", 3.0)
    http.post("/v1/conflicts/a", json={"version": VERSION}, headers={"x-bms-context": "head"})
    assert last_call(served)[5] == "head"


def test_any_other_body_is_the_new_value(served: Served, http: httpx.Client) -> None:
    answer = http.post("/v1/conflicts/a?context=seen", content=b"new", headers={"content-type": "text/x"})
    assert answer.status_code == 200
    assert last_call(served) == ("resolve", "a", None, b"new", "text/x", "seen", None, None)
    http.post("/v1/conflicts/a?new=true", content=b'{"version": 3}', headers=JSON)
    assert last_call(served)[2:5] == (None, b'{"version": 3}', "application/json")
    http.post("/v1/conflicts/a", content=iter([b"x" * 300_000, b"y"]), headers={"content-type": "text/x"})
    assert last_call(served)[3] == b"x" * 300_000 + b"y"


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("a", b"", JSON),
        ("a", b"{", JSON),
        ("a", b"{}", JSON),
        ("a", b'{"version": 3}', JSON),
        ("a", b'{"version": "v", "else": 1}', JSON),
        ("a?context=x", b'{"version": "v", "context": "y"}', JSON),
        ("a?context=x", b"1", {"x-bms-context": "y"}),
        ("a?new=perhaps", b"1", {}),
        ("a?version=v", b"1", {}),
        ("a?ack=most", b"1", {}),
    ],
)
def test_a_wrong_choice_is_refused(
    served: Served, http: httpx.Client, path: str, body: bytes, headers: dict[str, str]
) -> None:
    assert refusal(http.post(f"/v1/conflicts/{path}", content=body, headers=headers)) == (400, "usage")
    assert served.mesh.calls == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "prefix=a&prefix=b", "page=2"])
def test_a_wrong_listing_is_refused(http: httpx.Client, query: str) -> None:
    assert refusal(http.get(f"/v1/conflicts?{query}")) == (400, "usage")


def test_a_wrong_key_is_refused(http: httpx.Client) -> None:
    assert refusal(http.get("/v1/conflicts?prefix=a//b")) == (400, "invalid_key")
    assert refusal(http.get("/v1/conflicts/a//b")) == (400, "invalid_key")
    assert refusal(http.post("/v1/conflicts/..", content=b"1")) == (404, "not_found")  # The path is `/v1/`.
    assert refusal(http.post("/v1/conflicts/%2e%2e/a", content=b"1")) == (400, "invalid_key")


def test_what_somebody_else_settled_is_412(served: Served, http: httpx.Client, client: Client) -> None:
    served.mesh.faults["resolve"] = ConflictError("it was settled", key="a", version=VERSION)
    answer = http.post("/v1/conflicts/a", json={"version": VERSION})
    assert refusal(answer) == (412, "precondition_failed")
    with pytest.raises(ConflictError, match="it was settled"):
        client.resolve("a", VERSION)


def test_settling_needs_a_writer_and_looking_a_reader(served: Served) -> None:
    with served.http("reader") as http:
        assert http.get("/v1/conflicts").status_code == 200
        assert refusal(http.post("/v1/conflicts/a", content=b"1")) == (403, "forbidden")
    with served.http("observer") as http:
        assert refusal(http.get("/v1/conflicts")) == (403, "forbidden")
        assert refusal(http.get("/v1/conflicts/a")) == (403, "forbidden")


def test_the_client_settles_by_version_or_by_value(served: Served, client: Client) -> None:
    client.resolve("a", VERSION, context="seen", ack="one")
    assert last_call(served)[2:7] == (VERSION, None, None, "seen", "one")
    client.resolve("a", data="text", content_type="application/json", context="seen")
    assert last_call(served)[2:6] == (None, b"text", "application/json", "seen")
    client.resolve("a", data=iter([b"1", b"2"]), size=2)
    assert last_call(served)[3] == b"12"
    for both in ({}, {"version": VERSION, "data": b"x"}):
        with pytest.raises(UsageError):
            client.resolve("a", **both)  # type: ignore[arg-type]


def test_a_version_may_be_read(http: httpx.Client, client: Client) -> None:
    http.put("/v1/data/a", content=b"one")
    assert http.get(f"/v1/data/a?version={VERSION}").content == b"one"
    ranged = http.get(f"/v1/data/a?version={VERSION}", headers={"range": "bytes=1-"})
    assert (ranged.status_code, ranged.content) == (206, b"ne")
    assert http.head(f"/v1/data/a?version={VERSION}").headers["etag"] == f'"{VERSION}"'
    assert refusal(http.get("/v1/data/a?version=other")) == (410, "history_gone")
    assert refusal(http.get("/v1/data/a?versoin=x")) == (400, "usage")
    assert client.get("a", version=VERSION).data == b"one"
    assert client.head("a", version=VERSION).version == VERSION
    for read in (client.get, client.head):
        with pytest.raises(HistoryGoneError):
            read("a", version="other")


def test_the_context_of_a_write_may_come_as_the_header_that_reads_answer_with(
    served: Served, http: httpx.Client
) -> None:
    http.put("/v1/data/a", content=b"1", headers={"x-bms-context": "seen"})
    assert last_call(served) == ("put", "a", None, None, "seen", None)
    http.put("/v1/data/a?context=seen", content=b"1", headers={"x-bms-context": "seen"})
    assert last_call(served)[4] == "seen"
    answer = http.put("/v1/data/a?context=x", content=b"1", headers={"x-bms-context": "y"})
    assert refusal(answer) == (400, "usage")


def test_the_document_names_both_bodies_of_a_choice(http: httpx.Client) -> None:
    body = http.get("/openapi.json").json()["paths"]["/v1/conflicts/{key}"]["post"]["requestBody"]
    assert set(body["content"]) == {"application/json", "application/octet-stream"}
