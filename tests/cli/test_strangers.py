"""A server that is no honest node cannot make `bms export` write where it should not, or half a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from bellande_mesh_sync.cli.main import main
from bellande_mesh_sync.values import NodeView


def frame(key: str, value: bytes, digest: str | None = None) -> bytes:
    head = {"key": key, "size": len(value), "digest": digest or blake3(value).hexdigest()}
    return json.dumps(head).encode() + b"\n" + value


def end(count: int) -> bytes:
    return json.dumps({"end": True, "count": count}).encode() + b"\n"


@contextmanager
def serving(body: bytes, *, is_whole: bool) -> Iterator[str]:
    """A server that answers `body` to everything, and breaks off after it unless it is whole."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
            if is_whole:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "key", ["p/../evil", "p/../../evil", "/etc/evil", "p//etc/evil", "p/a\0b", "evil", "p/..", "p/.", "p/"]
)
def test_a_key_that_leads_out_of_the_folder_is_refused_and_the_rest_is_written(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = frame(key, b"evil") + frame("p/good", b"good") + end(2)
    with serving(body, is_whole=True) as api:
        assert main(["export", "p", str(tmp_path / "in" / "out"), "--api", api, "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert [failure["code"] for failure in summary["failures"]] == ["unsafe_path"]
    assert files_below(tmp_path) == {"in/out/good": b"good"}


def test_bytes_that_do_not_fit_their_digest_are_not_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = frame("p/bad", b"evil", blake3(b"good").hexdigest()) + frame("p/good", b"good") + end(2)
    with serving(body, is_whole=True) as api:
        assert main(["export", "p", str(tmp_path), "--api", api, "--json"]) == 1
    assert [f["code"] for f in json.loads(capsys.readouterr().out)["failures"]] == ["value_damaged"]
    assert files_below(tmp_path) == {"good": b"good"}


@pytest.mark.parametrize("is_whole", [False, True])
@pytest.mark.parametrize("cut", [3, 70, 100])
def test_an_export_that_breaks_off_is_an_error_and_leaves_whole_files_only(
    is_whole: bool, cut: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = frame("p/first", b"first")
    body = first + frame("p/second", b"second" * 100)[:-cut]
    with serving(body, is_whole=is_whole) as api:
        assert main(["export", "p", str(tmp_path), "--api", api, "--json"]) in (1, 3)
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err)["error"]["code"] in ("unreachable", "value_incomplete")
    assert files_below(tmp_path) == {"first": b"first"}


def test_what_a_server_says_cannot_change_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    node = NodeView(
        node="00" * 32,
        name="\x1b[2J",
        state="alive\n",
        addresses=(),
        role="\t",
        software="",
        is_local=False,
        linked=False,
        rtt_ms=None,
        last_heard_s=None,
        reason="",
    )
    with serving(msgspec.json.encode({"nodes": [node], "total": 1}), is_whole=True) as api:
        assert main(["nodes", "--api", api]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("\n") == 1
    assert out.split("\t")[:3] == ["\\x1b[2J", "00" * 32, "alive\\n"]
