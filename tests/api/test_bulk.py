"""Import and export of many values in one request."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.api.framing import LINE_BYTES_MAX, FrameBuffer, FrameHead, encode_head
from bellande_mesh_sync.client import Client, ImportItem
from bellande_mesh_sync.errors import (
    BusyError,
    DecodeError,
    DiskFullError,
    IncompleteValueError,
    InvalidKeyError,
    LimitExceededError,
    UnreachableError,
)

from .conftest import Served
from .test_data import code_of


def frame(key: str, value: bytes, **more: Any) -> bytes:
    return json.dumps({"key": key, "size": len(value), **more}).encode() + b"\n" + value


def end(count: int) -> bytes:
    return b'{"end":true,"count":%d}\n' % count


def post(http: httpx.Client, body: bytes) -> list[dict[str, Any]]:
    answer = http.post("/v1/import", content=body)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


class TestImport:
    def test_each_value_gets_its_line_in_order(self, served: Served, http: httpx.Client) -> None:
        body = frame("a", b"1") + frame("../b", b"22") + frame("c", b"", content_type="text/plain") + end(3)
        lines = post(http, body)
        assert [line.get("key") for line in lines] == ["a", "../b", "c", None]
        assert lines[0]["version"]
        assert lines[1]["error"]["code"] == "invalid_key"
        assert lines[3] == {"end": True, "written": 2, "failed": 1}
        assert served.mesh.values["c"][1].content_type == "text/plain"
        assert set(served.mesh.values) == {"a", "c"}

    def test_small_values_are_committed_in_piles_and_large_ones_streamed(
        self, served: Served, http: httpx.Client
    ) -> None:
        large = bytes(600_000)
        body = b"".join(frame(f"s/{i}", b"x" * 100) for i in range(600))
        body += frame("large", large) + frame("last", b"1") + end(602)
        lines = post(http, body)
        assert lines[-1] == {"end": True, "written": 602, "failed": 0}
        piles = [call[1] for call in served.mesh.calls if call[0] == "put_many"]
        assert piles == [256, 256, 88, 1]
        assert served.mesh.values["large"][0] == large

    def test_a_value_that_fails_does_not_stop_the_others(self, served: Served, http: httpx.Client) -> None:
        served.mesh.faults["put_stream"] = DiskFullError(path="/x")
        lines = post(http, frame("a", bytes(500_000)) + frame("b", b"1") + end(2))
        assert lines[0]["error"]["code"] == "disk_full"
        assert lines[1]["key"] == "b"

    def test_a_failing_pile_fails_for_each_of_its_keys(self, served: Served, http: httpx.Client) -> None:
        served.mesh.faults["put_many"] = BusyError(what="the disk queue", limit=1)
        lines = post(
            http, frame("a", b"1") + frame("b", b"1") + frame("c", b"1", content_type="x/y") + end(3)
        )
        assert [line.get("error", {}).get("code") for line in lines] == ["busy", "busy", "busy", None]

    def test_the_second_write_of_a_key_wins(self, served: Served, http: httpx.Client) -> None:
        post(http, frame("a", b"1", content_type="x/y") + frame("a", b"2") + end(2))
        assert served.mesh.values["a"][0] == b"2"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"", "value_incomplete"),
            (frame("a", b"1"), "value_incomplete"),
            (frame("a", b"123")[:-1], "value_incomplete"),
            (frame("a", bytes(500_000))[:-1], "value_incomplete"),
            (frame("a", b"1") + end(2), "value_incomplete"),
            (b"nonsense\n", "usage"),
            (b'{"key":"a","size":-1}\n', "usage"),
            (b'{"key":"a","size":99999999999999999999}\n', "usage"),
            (b'{"size":1}\nx', "usage"),
            (b'{"key":"a","error":{"code":"x","message":"y"}}\n' + end(1), "usage"),
            (b"x" * 100_000, "usage"),
            (b"[" * 10_000 + b"\n", "usage"),
        ],
        ids=range(12),
    )
    def test_a_body_that_breaks_off_or_is_no_frames_is_one_error(
        self, served: Served, http: httpx.Client, body: bytes, code: str
    ) -> None:
        answer = http.post("/v1/import", content=body)
        assert (answer.status_code, code_of(answer)) == (400, code)
        assert set(served.mesh.values) <= {"a"}

    def test_more_than_10000_values_are_refused(self, http: httpx.Client) -> None:
        body = b"".join(frame(f"{i}", b"") for i in range(10_001)) + end(10_001)
        assert code_of(http.post("/v1/import", content=body)) == "usage"


class TestExport:
    def test_an_export_can_be_imported_as_it_stands(self, served: Served, http: httpx.Client) -> None:
        values = {"a/1": b"one", "a/2": b"", "a/3": bytes(range(256)) * 4000, "b": b"\n{}\n"}
        for key, value in values.items():
            http.put(f"/v1/data/{key}", content=value, headers={"content-type": f"x/{key[0]}"})
        exported = http.get("/v1/export").content
        served.mesh.values.clear()
        assert post(http, exported)[-1]["written"] == 4
        assert {key: data for key, (data, _) in served.mesh.values.items()} == values
        assert served.mesh.values["b"][1].content_type == "x/b"

    def test_a_key_that_cannot_be_read_is_told_in_its_place(self, served: Served, client: Client) -> None:
        client.put("a", b"1")
        served.mesh.faults["open_value"] = BusyError(what="the disk", limit=1)
        (item,) = client.export_items()
        assert isinstance(item.error, BusyError)
        assert (item.key, b"".join(item.pieces)) == ("a", b"")

    def test_a_value_that_fails_midway_cuts_the_export(self, served: Served, client: Client) -> None:
        client.put("a", bytes(2_000_000))
        served.mesh.fail_reads_after = 1_000_000
        with pytest.raises((UnreachableError, IncompleteValueError)):
            [b"".join(item.pieces) for item in client.export_items()]


class TestClientSide:
    def test_files_and_bytes_go_over_in_several_requests(
        self, served: Served, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("bellande_mesh_sync.client_transfers.IMPORT_COUNT_MAX", 10)
        large = tmp_path / "large"
        large.write_bytes(bytes(3_000_000))
        items = [ImportItem(f"k/{i:03}", b"x" * i, "text/plain" if i % 2 else "") for i in range(25)]
        items += [ImportItem("large", large), ImportItem("a//b", b"1")]
        passed: list[int] = []
        results = list(client.import_items(iter(items), progress=passed.append))
        assert [result.key for result in results] == [item.key for item in items]
        assert isinstance(results[-1].error, InvalidKeyError)
        assert all(result.receipt for result in results[:-1])
        assert sum(passed) > 3_000_000
        exported = {item.key: b"".join(item.pieces) for item in client.export_items()}
        assert exported == {key: data for key, (data, _) in served.mesh.values.items()}
        assert len(exported) == 26

    def test_items_whose_bytes_are_not_read_are_skipped(self, client: Client) -> None:
        for i in range(3):
            client.put(f"{i}", bytes(400_000))
        assert [item.key for item in client.export_items()] == ["0", "1", "2"]

    def test_importing_nothing_asks_nothing(self, served: Served, client: Client) -> None:
        served.stop()
        assert list(client.import_items([])) == []


class TestFraming:
    @given(
        st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=300)), max_size=8),
        st.integers(1, 100),
    )
    def test_frames_split_anywhere_give_the_same_values(
        self, items: list[tuple[str, bytes]], step: int
    ) -> None:
        body = b"".join(encode_head(FrameHead(key=k, size=len(v))) + v for k, v in items) + end(len(items))
        pieces = [body[start : start + step] for start in range(0, len(body), step)]
        buffer, found = FrameBuffer(), []
        supply = iter(pieces)
        while True:
            while (head := buffer.take_head()) is None:
                buffer.feed(next(supply))
            if head.end:
                break
            value = b""
            while len(value) < head.size:
                if not buffer.waiting:
                    buffer.feed(next(supply))
                value += buffer.take(head.size - len(value))
            found.append((head.key, value))
        assert found == items
        assert not buffer.waiting
        assert next(supply, None) is None

    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_head_or_a_decode_error(self, line: bytes) -> None:
        buffer = FrameBuffer()
        buffer.feed(line + b"\n")
        with contextlib.suppress(DecodeError):
            buffer.take_head()

    def test_a_line_without_an_end_is_refused_before_it_grows(self) -> None:
        buffer = FrameBuffer()
        buffer.feed(b"x" * LINE_BYTES_MAX)
        assert buffer.take_head() is None
        buffer.feed(b"x")
        with pytest.raises(LimitExceededError):
            buffer.take_head()


class TestConditions:
    def test_a_condition_that_does_not_hold_fails_its_own_value_only(
        self, served: Served, http: httpx.Client
    ) -> None:
        post(http, frame("taken", b"old") + end(1))
        body = frame("a", b"1", if_match="") + frame("taken", b"2", if_match="") + frame("b", b"3") + end(3)
        lines = post(http, body)
        assert [line.get("error", {}).get("code") for line in lines] == [
            None,
            "precondition_failed",
            None,
            None,
        ]
        assert lines[-1] == {"end": True, "written": 2, "failed": 1}
        assert served.mesh.values["taken"][0] == b"old"

    def test_a_context_reaches_the_mesh(self, served: Served, http: httpx.Client) -> None:
        post(http, frame("k", b"1", context="ctx") + frame("l", bytes(300_000), context="large") + end(2))
        puts = {call[1]: call[4] for call in served.mesh.calls if call[0] == "put"}
        assert puts == {"k": "ctx", "l": "large"}

    def test_the_client_sends_them(self, client: Client, served: Served) -> None:
        items = [ImportItem("k", b"1", if_match=""), ImportItem("k2", b"2", context="c")]
        assert [result.error for result in client.import_items(items)] == [None, None]
        again = next(iter(client.import_items([ImportItem("k", b"1", if_match="")])))
        assert again.error is not None
        assert again.error.code == "precondition_failed"
