"""Values over HTTP: bodies, conditions, ranges, keys."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from bellande_mesh_sync.errors import AckTimeoutError

from .conftest import Served
from .memory_mesh import NODE

LARGE = bytes(range(256)) * 8192  # 2 MiB


def code_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "detail"}
    return str(error["code"])


def test_a_new_value_is_201_and_a_replaced_one_is_200(http: httpx.Client) -> None:
    first = http.put("/v1/data/a/b", content=b"one", headers={"content-type": "text/plain"})
    assert first.status_code == 201
    assert first.json()["nodes"] == [NODE]
    assert first.headers["etag"] == f'"{first.json()["version"]}"'
    assert http.put("/v1/data/a/b", content=b"two").status_code == 200


def test_a_value_comes_back_with_its_type_version_and_origin(http: httpx.Client) -> None:
    receipt = http.put("/v1/data/a/b", content=b"one", headers={"content-type": "text/html"}).json()
    for answer in (http.get("/v1/data/a/b"), http.head("/v1/data/a/b")):
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html"
        assert answer.headers["content-length"] == "3"
        assert answer.headers["etag"] == f'"{receipt["version"]}"'
        assert answer.headers["x-bms-author"] == NODE
        assert answer.headers["x-bms-siblings"] == "1"
        assert answer.headers["x-bms-context"] == "ctx"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert http.get("/v1/data/a/b").content == b"one"


@pytest.mark.parametrize("body", [b"", b"x", LARGE], ids=["empty", "one byte", "2 MiB"])
def test_values_of_any_size_survive_the_round_trip(http: httpx.Client, body: bytes) -> None:
    assert http.put("/v1/data/a", content=body).status_code == 201
    assert http.get("/v1/data/a").content == body


def test_a_body_of_unknown_length_is_streamed(http: httpx.Client) -> None:
    assert http.put("/v1/data/a", content=iter([b"one", b"two", LARGE])).status_code == 201
    assert http.get("/v1/data/a").content == b"onetwo" + LARGE


def test_options_of_a_write_reach_the_mesh(served: Served, http: httpx.Client) -> None:
    http.put("/v1/data/a?ack=quorum&timeout=2.5&context=seen", content=b"1")
    assert served.mesh.calls == [("put", "a", "quorum", 2.5, "seen", None)]


@pytest.mark.parametrize(
    ("query", "headers", "context"),
    [
        ("", {}, None),
        ("?context=", {}, ""),
        ("", {"x-bms-context": ""}, ""),
        ("?context=seen", {"x-bms-context": "seen"}, "seen"),
        ("", {"x-bms-context": "*"}, "*"),
    ],
)
def test_the_context_of_a_write_stands_in_the_query_or_in_a_header(
    served: Served, http: httpx.Client, query: str, headers: dict[str, str], context: str | None
) -> None:
    http.put(f"/v1/data/a{query}", content=b"1", headers=headers)
    assert served.mesh.calls == [("put", "a", None, None, context, None)]


def test_a_write_that_names_two_contexts_is_refused(served: Served, http: httpx.Client) -> None:
    answer = http.put("/v1/data/a?context=less", content=b"1", headers={"x-bms-context": "seen"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")
    assert not served.mesh.calls


def test_a_context_too_long_for_a_header_stands_as_a_star(served: Served, http: httpx.Client) -> None:
    http.put("/v1/data/a", content=b"1")
    value, entry = served.mesh.values["a"]
    served.mesh.values["a"] = (value, msgspec.structs.replace(entry, context="x" * 40_000))
    assert http.get("/v1/data/a").headers["x-bms-context"] == "*"


def test_a_number_is_added_to_a_counter(served: Served, http: httpx.Client) -> None:
    answer = http.post("/v1/counters/hits/a b?ack=one&timeout=3", json={"add": -4})
    assert answer.status_code == 200
    assert answer.json()["key"] == "hits/a b"
    assert answer.headers["etag"] == f'"{answer.json()["version"]}"'
    assert served.mesh.calls == [("add", "hits/a b", -4, "one", 3.0)]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"add": 1.5}', b'{"add": "1"}', b'{"add": true}', b'{"ad": 1}']
)
def test_what_is_no_number_is_not_added(served: Served, http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/counters/hits/a", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")
    assert not served.mesh.calls


@pytest.mark.parametrize(
    "query",
    [
        "ack=most",
        "timeout=0",
        "timeout=nan",
        "timeout=x",
        "akc=all",
        "ack=all&ack=one",
        "ack=%ff",
        "&".join(f"f{i}=1" for i in range(100)),
    ],
)
def test_a_wrong_option_is_refused_and_nothing_is_written(
    served: Served, http: httpx.Client, query: str
) -> None:
    answer = http.put(f"/v1/data/a?{query}", content=b"1")
    assert (answer.status_code, code_of(answer)) == (400, "usage")
    assert not served.mesh.values


def test_a_missed_acknowledgement_is_202_and_says_who_has_it(served: Served, http: httpx.Client) -> None:
    served.mesh.faults["put"] = AckTimeoutError(level="all", timeout_s=1.0, have=1, need=3, nodes=[NODE])
    answer = http.put("/v1/data/a?ack=all&timeout=1", content=b"1")
    assert (answer.status_code, code_of(answer)) == (202, "ack_timeout")
    assert answer.json()["error"]["detail"]["nodes"] == [NODE]


def test_a_delete_answers_its_receipt_and_the_key_is_gone(http: httpx.Client) -> None:
    http.put("/v1/data/a", content=b"1")
    assert http.delete("/v1/data/a").json()["key"] == "a"
    for answer in (http.get("/v1/data/a"), http.delete("/v1/data/a")):
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert http.head("/v1/data/a").status_code == 404


class TestConditions:
    def test_if_none_match_star_writes_only_a_key_that_is_not_there(self, http: httpx.Client) -> None:
        new = {"if-none-match": "*"}
        assert http.put("/v1/data/a", content=b"1", headers=new).status_code == 201
        second = http.put("/v1/data/a", content=b"2", headers=new)
        assert (second.status_code, code_of(second)) == (412, "precondition_failed")
        assert http.get("/v1/data/a").content == b"1"

    def test_if_match_replaces_only_that_version(self, http: httpx.Client) -> None:
        tag = http.put("/v1/data/a", content=b"1").headers["etag"]
        assert http.put("/v1/data/a", content=b"2", headers={"if-match": tag}).status_code == 200
        assert http.put("/v1/data/a", content=b"3", headers={"if-match": tag}).status_code == 412
        assert http.delete("/v1/data/a", headers={"if-match": tag}).status_code == 412
        assert http.get("/v1/data/a").content == b"2"

    @pytest.mark.parametrize("tags", ["*", '"x", {tag}', '"x",{tag}'])
    def test_if_match_takes_a_list_and_a_star(self, http: httpx.Client, tags: str) -> None:
        assert http.put("/v1/data/a", content=b"1", headers={"if-match": tags}).status_code == 412
        tag = http.put("/v1/data/a", content=b"1").headers["etag"]
        condition = {"if-match": tags.format(tag=tag)}
        assert http.put("/v1/data/a", content=b"2", headers=condition).status_code == 200

    @pytest.mark.parametrize("tags", ["", "nonsense", 'W/"x"'])
    def test_an_if_match_that_names_nothing_never_holds(self, http: httpx.Client, tags: str) -> None:
        http.put("/v1/data/a", content=b"1")
        assert http.put("/v1/data/a", content=b"2", headers={"if-match": tags}).status_code == 412

    def test_if_none_match_with_the_visible_version_refuses_a_write(self, http: httpx.Client) -> None:
        tag = http.put("/v1/data/a", content=b"1").headers["etag"]
        assert http.put("/v1/data/a", content=b"2", headers={"if-none-match": tag}).status_code == 412
        assert http.put("/v1/data/a", content=b"2", headers={"if-none-match": '"x"'}).status_code == 200

    @pytest.mark.parametrize("form", ["{tag}", "W/{tag}", '"x", {tag}', "*"])
    def test_a_reader_that_has_the_version_gets_304_without_a_body(
        self, http: httpx.Client, form: str
    ) -> None:
        tag = http.put("/v1/data/a", content=b"1").headers["etag"]
        condition = {"if-none-match": form.format(tag=tag)}
        for answer in (http.get("/v1/data/a", headers=condition), http.head("/v1/data/a", headers=condition)):
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == tag
        assert http.get("/v1/data/a", headers={"if-none-match": '"old"'}).content == b"1"

    def test_if_match_on_a_read_refuses_another_version(self, http: httpx.Client) -> None:
        tag = http.put("/v1/data/a", content=b"1").headers["etag"]
        assert http.get("/v1/data/a", headers={"if-match": tag}).status_code == 200
        assert http.get("/v1/data/a", headers={"if-match": '"old"'}).status_code == 412


class TestRanges:
    @pytest.mark.parametrize(
        ("header", "start", "end"),
        [
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            ("bytes=2097151-", len(LARGE) - 1, len(LARGE)),
            ("bytes=-3", len(LARGE) - 3, len(LARGE)),
            ("bytes=-99999999999", 0, len(LARGE)),
            ("bytes=1000000-9999999999", 1_000_000, len(LARGE)),
        ],
    )
    def test_one_range_is_answered_with_exactly_its_bytes(
        self, http: httpx.Client, header: str, start: int, end: int
    ) -> None:
        http.put("/v1/data/a", content=LARGE)
        answer = http.get("/v1/data/a", headers={"range": header})
        assert answer.status_code == 206
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"
        assert answer.content == LARGE[start:end]

    @pytest.mark.parametrize("header", ["bytes=2097152-", "bytes=9999999999-99999999999", "bytes=-0"])
    def test_a_range_outside_the_value_is_416(self, http: httpx.Client, header: str) -> None:
        http.put("/v1/data/a", content=LARGE)
        answer = http.get("/v1/data/a", headers={"range": header})
        assert (answer.status_code, code_of(answer)) == (416, "invalid_range")
        assert answer.headers["content-range"] == f"bytes */{len(LARGE)}"

    @pytest.mark.parametrize(
        "header",
        ["bytes=", "bytes=-", "bytes=5-4", "bytes=a-b", "lines=0-1", "bytes=0-1,4-5", "bytes=" + "9" * 99],
    )
    def test_a_range_that_is_malformed_or_multiple_counts_as_absent(
        self, http: httpx.Client, header: str
    ) -> None:
        http.put("/v1/data/a", content=b"0123456789")
        answer = http.get("/v1/data/a", headers={"range": header})
        assert (answer.status_code, answer.content) == (200, b"0123456789")

    def test_if_range_holds_only_for_the_version_named(self, http: httpx.Client) -> None:
        tag = http.put("/v1/data/a", content=b"0123456789").headers["etag"]
        same = http.get("/v1/data/a", headers={"range": "bytes=2-3", "if-range": tag})
        assert (same.status_code, same.content) == (206, b"23")
        other = http.get("/v1/data/a", headers={"range": "bytes=2-3", "if-range": '"old"'})
        assert (other.status_code, other.content) == (200, b"0123456789")


class TestKeys:
    @pytest.mark.parametrize(
        "path",
        [
            "",
            "a//b",
            "a/",
            "/a",
            "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
            "%2E%2E/x",
            "a/%2e/b",
            "a%00b",
            "a%0ab",
            "a%0a",
            "%0a",
            "%2Fetc%2Fpasswd",
            "a%ff",
            "%c0%ae%c0%ae/a",
            "A%CC%8A",
            "x" * 1025,
        ],
    )
    @pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
    def test_a_key_that_is_not_allowed_is_refused_by_every_method(
        self, served: Served, method: str, path: str
    ) -> None:
        head = f"{method} /v1/data/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        head += "authorization: Bearer admin-token\r\ncontent-length: 0\r\n\r\n"
        answer = served.raw(head.encode())
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        if method != "HEAD":
            assert b'"code":"invalid_key"' in answer
        assert not served.mesh.values

    @pytest.mark.parametrize(
        "key", ["a b", "100%", "a%2e", "a+b?c#d&e=f", "räksmörgås/日本/🚢", "a;b:c@d", "..."]
    )
    def test_any_allowed_key_works_when_it_is_percent_encoded(
        self, served: Served, http: httpx.Client, key: str
    ) -> None:
        with served.client() as client:
            client.put(key, b"1")
            assert client.get(key).data == b"1"
        assert list(served.mesh.values) == [key]
        assert [entry["key"] for entry in http.get("/v1/data").json()["entries"]] == [key]

    def test_a_key_is_decoded_exactly_once(self, served: Served, http: httpx.Client) -> None:
        http.put("/v1/data/a%252e%252e", content=b"1")
        assert list(served.mesh.values) == ["a%2e%2e"]


class TestListing:
    def test_pages_follow_each_other_by_cursor(self, http: httpx.Client) -> None:
        for i in range(5):
            http.put(f"/v1/data/a/{i}", content=b"1")
        http.put("/v1/data/b", content=b"1")
        first = http.get("/v1/data", params={"prefix": "a/", "limit": 3}).json()
        second = http.get("/v1/data", params={"prefix": "a/", "limit": 3, "cursor": first["cursor"]}).json()
        assert [e["key"] for e in first["entries"] + second["entries"]] == [f"a/{i}" for i in range(5)]
        assert second["cursor"] == ""

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=100000", "limit=x", "prefix=..%2F", "prefix=%00", "x=1"]
    )
    def test_wrong_questions_are_refused(self, http: httpx.Client, query: str) -> None:
        assert http.get(f"/v1/data?{query}").status_code == 400


@pytest.mark.parametrize(
    "header", [{"content-encoding": "gzip"}, {"content-range": "bytes 0-1/5"}], ids=["encoded", "partial"]
)
def test_a_body_that_is_not_the_value_itself_is_refused(http: httpx.Client, header: dict[str, str]) -> None:
    answer = http.put("/v1/data/a", content=b"1", headers=header)
    assert (answer.status_code, code_of(answer)) == (501, "unsupported")


def test_a_content_type_longer_than_255_characters_is_refused(http: httpx.Client) -> None:
    assert http.put("/v1/data/a", content=b"1", headers={"content-type": "x" * 256}).status_code == 400
