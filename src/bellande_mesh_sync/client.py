"""A client of a node's HTTP API, for programs that are not nodes themselves, and for the command line.

    with Client("http://127.0.0.1:8001", token) as client:
        client.put("fleet/plans/dock", b"berth 4", ack="quorum")
        print(client.get("fleet/plans/dock").data)

Blocking; one Client may be used by several threads. Every error the node answers is raised as the
same class that a node in this process would raise; a node that does not answer is UnreachableError.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar
from urllib.parse import quote

import msgspec

from bellande_mesh_sync.client_certificates import CertificateCalls
from bellande_mesh_sync.client_conflicts import ConflictCalls
from bellande_mesh_sync.client_errors import checked_url, error_in, translated, translated_pieces
from bellande_mesh_sync.client_history import HistoryClient
from bellande_mesh_sync.client_placement import PlacementClient
from bellande_mesh_sync.client_planning import PlanningCalls
from bellande_mesh_sync.client_revocations import RevocationClient
from bellande_mesh_sync.client_transfers import (
    ExportItem,
    ExportReader,
    ImportItem,
    ImportResult,
    Peekable,
    Progress,
    Source,
    body_of,
    checked,
    condition,
    entry_of,
    import_body,
    lines,
    path_of,
    pieces_of,
    query_of,
    replaced,
    result_of,
    sized,
    verified,
)
from bellande_mesh_sync.errors import UnreachableError, UsageError, damaged_key
from bellande_mesh_sync.keys import check_key, check_prefix
from bellande_mesh_sync.values import (
    Change,
    Entry,
    Explanation,
    Listing,
    NodeView,
    Receipt,
    Stats,
    Status,
    SweepReport,
    Topology,
    Value,
    VerifyProgress,
    VerifyReport,
)

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Client", "ExportItem", "ImportItem", "ImportResult", "Progress", "Source"]

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 30.0
"""Beyond the time a call itself may take. A watch hears from its node every 15 s."""

OCTETS: Final = "application/octet-stream"

Answered = TypeVar("Answered")


class Client(
    PlacementClient, ConflictCalls, HistoryClient, PlanningCalls, CertificateCalls, RevocationClient
):  # fmt: skip
    """Talks to one node.

    Args:
        api_url: `http://HOST:PORT` or `https://HOST:PORT`.
        token: an API token; may be empty for `status` and `health`.
        verify: for https: an ssl.SSLContext that trusts the mesh's authority, or False for no check.
    """

    def __init__(self, api_url: str, token: str = "", *, verify: ssl.SSLContext | bool = True) -> None:
        import httpx  # 0.1 s that only programs which really call a node should pay

        self.api_url = checked_url(api_url)
        headers = {"accept-encoding": "identity", "user-agent": "bellande-mesh-sync"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        with translated(self.api_url):
            self._http = httpx.Client(
                base_url=self.api_url,
                headers=headers,
                verify=verify,
                # A proxy or a .netrc from the environment is meant for the web, not for a mesh.
                trust_env=False,
                follow_redirects=False,
                timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the node ------------------------------------------------------------------------------

    def status(self) -> Status:
        return self._get("/status", Status)

    def health(self, *, ready: bool = False) -> dict[str, Any]:
        """`{"ok": bool, "checks": {name: {"ok", "detail"}}}`; with `ready`, whether it takes requests."""
        with translated(self.api_url):
            answer = self._http.get("/readyz" if ready else "/healthz")
        if answer.status_code not in (200, 503):
            raise error_in(answer.content, answer.status_code)
        return msgspec.json.decode(answer.content, type=dict[str, Any])

    def stats(self) -> Stats:
        return self._get("/v1/stats", Stats)

    def digest(self, prefix: str = "") -> dict[str, Any]:
        """`{"records", "bytes", "digest"}` over all keys and values under `prefix`."""
        return self._get("/v1/digest", dict[str, Any], prefix=check_prefix(prefix))

    def verify(
        self,
        *,
        deep: bool = False,
        bytes_per_s: float | None = None,
        repair_timeout: float | None = None,
        on_progress: Callable[[VerifyProgress], object] | None = None,
    ) -> VerifyReport:
        """Let the node read all it holds again, and have what is damaged repaired. As `Mesh.verify`."""
        wanted = query_of(deep=str(deep).lower(), bytes_per_s=bytes_per_s, repair_timeout=repair_timeout)
        with self._stream("POST", "/v1/verify", params=wanted) as answer:
            for line in lines(answer.iter_raw()):
                told = msgspec.json.decode(line, type=dict[str, Any])
                if told["event"] == "done":
                    return msgspec.convert(told["report"], VerifyReport)
                if told["event"] == "error":
                    raise error_in(told)
                if on_progress is not None:
                    on_progress(msgspec.convert(told["progress"], VerifyProgress))
        raise UnreachableError(address=self.api_url, reason="the node ended before its verification did")

    def sweep(self, *, grace: float | None = None) -> SweepReport:
        """Let the node remove what nothing refers to from its disk. As `Mesh.cleanup_data`."""
        with self._stream("POST", "/v1/sweep", params=query_of(grace=grace)) as answer:
            for line in lines(answer.iter_raw()):
                told = msgspec.json.decode(line, type=dict[str, Any])
                if told["event"] == "done":
                    return msgspec.convert(told["report"], SweepReport)
                if told["event"] == "error":
                    raise error_in(told)
        raise UnreachableError(address=self.api_url, reason="the node ended before its sweep did")

    def nodes(self, state: str | None = None) -> list[NodeView]:
        """All members, or those in one state."""
        found: list[NodeView] = []
        while True:
            answer = self._get("/v1/nodes", dict[str, Any], state=state or "", offset=len(found))
            page = msgspec.convert(answer["nodes"], list[NodeView])
            found += page
            if not page or len(found) >= answer["total"]:
                return found

    def node(self, name: str) -> NodeView:
        """One member, by its id, the unique start of one, or its name."""
        return self._get(f"/v1/nodes/{quote(name, safe='')}", NodeView)

    def nearest(self, point: str, count: int = 20) -> list[NodeView]:
        """The live members nearest to a node id, or to any other text, by XOR distance."""
        answer = self._get(f"/v1/nodes/nearest/{quote(point, safe='')}", dict[str, Any], count=count)
        return msgspec.convert(answer["nodes"], list[NodeView])

    def topology(self, timeout: float = 2.0) -> Topology:
        """Who sees whom, as told by every member that answers within this many seconds."""
        answer = self._send("GET", "/v1/topology", timeout=timeout, params={"timeout": timeout})
        return msgspec.json.decode(answer.content, type=Topology)

    def why(self, name: str) -> Explanation:
        """The evidence behind the node's verdict on a member."""
        return self._get(f"/v1/nodes/{quote(name, safe='')}/why", Explanation)

    # -- changing members; all of these need an admin's token ------------------------------------

    def register(self, address: str, timeout: float = 10.0) -> NodeView:
        """Tell the node where a member is reached; returns once it is linked and proven."""
        wish = {"address": address, "timeout": timeout}
        return self._post("/v1/nodes", NodeView, timeout=timeout, json=wish)

    def remove(self, name: str) -> str:
        """Say that a member that is down will not come back; its id."""
        answer = self._send("DELETE", f"/v1/nodes/{quote(name, safe='')}")
        return str(msgspec.json.decode(answer.content)["removed"][0])

    def update(
        self, *, labels: dict[str, str] | None = None, capacity: int | None = None, zone: str | None = None
    ) -> NodeView:
        """Change what the node says of itself, until it stops. What is None stays."""
        given = {"labels": labels, "capacity": capacity, "zone": zone}
        change = {name: value for name, value in given.items() if value is not None}
        answer = self._send("PATCH", "/v1/nodes/self", json=change)
        return msgspec.json.decode(answer.content, type=NodeView)

    def cleanup(self, older_than_s: float | None = None) -> list[str]:
        """Remove every member dead for longer than this, by default `node_timeout`; their ids."""
        return self._post("/v1/nodes/cleanup", dict[str, list[str]], json={"older_than_s": older_than_s})[
            "removed"
        ]

    def restore_nodes(self, timeout: float = 5.0) -> list[NodeView]:
        """Try all known members without a link again now; those that answered in time."""
        wish = {"timeout": timeout}
        answer = self._post("/v1/nodes/restore", dict[str, Any], timeout=timeout, json=wish)
        return msgspec.convert(answer["nodes"], list[NodeView])

    def announce(self) -> None:
        """Let the node say who it is to all members again."""
        self._send("POST", "/v1/nodes/announce")

    def set_max_connections(self, count: int) -> None:
        """At most this many links from now on, until the node stops."""
        self._send("PUT", "/v1/max-connections", json={"count": count})

    def sleep(self, for_s: float) -> None:
        """Let the node fall silent as planned; the others raise no alarm."""
        self._send("POST", "/v1/sleep", json={"for_s": for_s})

    def wake(self) -> bool:
        """End a planned sleep; whether there was one."""
        return self._post("/v1/wake", dict[str, bool])["done"]

    def invite(
        self,
        *,
        role: str = "writer",
        expires_s: int = 3600,
        uses: int = 1,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """A join token. Needs an admin's token."""
        wish = {"role": role, "expires_s": expires_s, "uses": uses, "labels": dict(labels or {})}
        return str(self._post("/v1/invites", dict[str, Any], json=wish)["token"])

    # -- values --------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        value: Source,
        *,
        content_type: str = OCTETS,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
        size: int | None = None,
        progress: Progress | None = None,
    ) -> Receipt:
        """Write a value: bytes, text, an open binary file (from where it stands), or pieces.

        `size` is for files and pieces: the node then refuses a value that breaks off. `if_match` is
        the version to replace, "" for a key that must not exist. `context` is from an Entry: just what its
        reader saw is replaced; "" replaces nothing.
        """
        body, known = body_of(value)
        size = known if known is not None else size
        headers = {"content-type": content_type, **condition(if_match)}
        if size is not None:
            headers["content-length"] = str(size)
        content: bytes | Iterable[bytes] = body
        if not isinstance(body, bytes) or progress is not None:
            pieces = pieces_of(body, progress)
            content = pieces if size is None else sized(key, pieces, size)
        answer = self._write("PUT", key, ack, timeout, context, headers=headers, content=content)
        return msgspec.json.decode(answer.content, type=Receipt)

    def put_file(self, key: str, path: str | os.PathLike[str], **options: Any) -> Receipt:
        """Write a file's bytes; `options` as for `put`."""
        with open(path, "rb") as file:
            return self.put(key, file, size=os.fstat(file.fileno()).st_size, **options)

    def delete(
        self,
        key: str,
        *,
        ack: str | None = None,
        timeout: float | None = None,
        context: str | None = None,
        if_match: str | None = None,
    ) -> Receipt:
        answer = self._write("DELETE", key, ack, timeout, context, headers=condition(if_match))
        return msgspec.json.decode(answer.content, type=Receipt)

    def add(
        self, key: str, amount: int = 1, *, ack: str | None = None, timeout: float | None = None
    ) -> Receipt:
        """Change a counter by `amount`, also below 0; the key's space must be one of counters."""
        path = f"/v1/counters/{quote(check_key(key), safe='/')}"
        params = query_of(ack=ack, timeout=timeout)
        return self._post(path, Receipt, timeout=timeout, params=params, json={"add": amount})

    def head(self, key: str, *, version: str | None = None) -> Entry:
        """The visible version, or another one of the siblings, without its bytes."""
        params = query_of(version=version)
        with translated(self.api_url):
            answer = self._http.head(path_of(key), params=params)
        if answer.status_code != 200:
            # An answer to HEAD has no body; a GET of no bytes tells why.
            with self._stream("GET", path_of(key), params=params) as told:
                return entry_of(key, told.headers)
        return entry_of(key, answer.headers)

    def get(self, key: str, *, at: str | None = None, version: str | None = None) -> Value:
        """The whole value, or that of a moment or a version, verified. For large ones: `get_file`, `open`."""
        with self.open(key, at=at, version=version) as (entry, pieces):
            data = b"".join(pieces)
        return Value(data, entry.version, entry.author, entry.content_type, entry)

    @contextlib.contextmanager
    def open(
        self,
        key: str,
        start: int = 0,
        end: int | None = None,
        *,
        at: str | None = None,
        version: str | None = None,
    ) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """The entry and the pieces of a value, or of its bytes from `start` up to `end`.

        Of the visible value, or of the sibling of this version.

        A whole value is verified: the last piece raises IncompleteValueError if a byte is missing or
        wrong. `entry.size` is the whole value's size. With `at` (a time) the value of then, with `version`
        that one; always whole.
        """
        headers = {}
        if start or end is not None:
            if start < 0 or (end is not None and end <= start):
                raise UsageError(reason=f"bytes {start} up to {end} are no range")
            headers["range"] = f"bytes={start}-{'' if end is None else end - 1}"
        params = query_of(at=at, version=version)
        with self._stream("GET", path_of(key), headers=headers, params=params) as answer:
            entry = entry_of(key, answer.headers)
            pieces = checked(key, answer.iter_raw(), int(answer.headers["content-length"]))
            yield entry, pieces if answer.status_code == 206 else verified(entry, pieces)

    def get_file(self, key: str, path: str | os.PathLike[str], *, progress: Progress | None = None) -> Entry:
        """Write the value to a file, which appears whole and verified, or not at all.

        Something that is no regular file (a pipe, a device) is written to as the bytes come.
        """
        target = Path(path)
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                return self.get_into(key, file, progress=progress)
        with replaced(target) as file:
            return self.get_into(key, file, progress=progress)

    def get_into(self, key: str, file: BinaryIO, *, progress: Progress | None = None) -> Entry:
        """Write the value's bytes to an open file. On an error what was written may be partial."""
        with self.open(key) as (entry, pieces):
            for piece in pieces:
                file.write(piece)
                if progress is not None:
                    progress(len(piece))
        return entry

    def list_page(self, prefix: str = "", *, limit: int = 1000, cursor: str = "") -> Listing:
        return self._get("/v1/data", Listing, prefix=check_prefix(prefix), limit=limit, cursor=cursor)

    def list(self, prefix: str = "", *, page: int = 1000) -> Iterator[Entry]:
        """Every key under `prefix`, in order, asked for page by page.

        CorruptStoreError at the end if the node has keys there that it cannot read.
        """
        cursor = ""
        damaged: list[str] = []
        while True:
            listing = self.list_page(prefix, limit=page, cursor=cursor)
            yield from listing.entries
            damaged += listing.damaged
            cursor = listing.cursor
            if not cursor:
                break
        if damaged:
            raise damaged_key(damaged[0])

    def watch(
        self,
        prefix: str = "",
        *,
        cursor: str | None = None,
        on_ready: Callable[[], object] | None = None,
        on_cursor: Callable[[str], object] | None = None,
    ) -> Iterator[Change]:
        """Changes as they happen, without end.

        Args:
            cursor: go on from where another watch was, as `Mesh.watch` does; "": from the beginning.
            on_ready: called when nothing is missed any more.
            on_cursor: told from where to go on, once all changes up to there have been given.
        """
        wanted = {"prefix": check_prefix(prefix), **({} if cursor is None else {"cursor": cursor})}
        with self._stream("GET", "/v1/watch", params=wanted) as answer:
            for line in lines(answer.iter_raw()):
                told = msgspec.json.decode(line, type=dict[str, Any])
                if told["event"] == "change":
                    yield msgspec.convert(told["change"], Change)
                elif told["event"] == "error":
                    raise error_in(told)
                elif told["event"] == "watching" and on_ready is not None:
                    on_ready()
                elif told["event"] == "cursor" and on_cursor is not None:
                    on_cursor(told["cursor"])

    # -- many values ---------------------------------------------------------------------------

    def import_items(
        self,
        items: Iterable[ImportItem],
        *,
        ack: str | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Iterator[ImportResult]:
        """Write many values, small ones committed together; tells what became of each, in order.

        A refused value does not stop the others. If the connection breaks, or a large file gets
        shorter while it is sent, an error is raised: what was told before is written, the rest may
        be sent again.
        """
        rest = Peekable(iter(items))
        headers = {"content-type": "application/vnd.bellande.frames"}
        while not rest.is_done():
            answer = self._send(
                "POST",
                "/v1/import",
                timeout=timeout,
                params=query_of(ack=ack, timeout=timeout),
                headers=headers,
                content=pieces_of(import_body(rest), progress),
            )
            for line in answer.content.splitlines()[:-1]:
                yield result_of(msgspec.json.decode(line, type=dict[str, Any]))

    def export_items(self, prefix: str = "") -> Iterator[ExportItem]:
        """Every value under `prefix`, with its bytes, in the order of keys, in one request."""
        with self._stream("GET", "/v1/export", params={"prefix": check_prefix(prefix)}) as answer:
            frames = ExportReader(translated_pieces(self.api_url, answer.iter_raw()))
            while (head := frames.next_head()) is not None:
                yield ExportItem(head, frames.value())

    # -- messages ------------------------------------------------------------------------------

    def send(self, to: str, body: bytes | str, *, topic: str = "", reliable: bool = False) -> int:
        """Send to a node (id, unique start of one, or name), or to `*`; returns to how many it went."""
        import base64

        content = (
            {"text": body} if isinstance(body, str) else {"body_base64": base64.b64encode(body).decode()}
        )
        message = {"to": to, **content, "topic": topic, "reliable": reliable}
        return int(self._post("/v1/messages", dict[str, Any], json=message)["sent"])

    def broadcast(self, body: bytes | str, *, topic: str = "") -> int:
        return self.send("*", body, topic=topic)

    def publish(self, topic: str, body: bytes | str) -> int:
        """Publish on a topic; returns to how many nodes it went."""
        content = body.encode() if isinstance(body, str) else body
        path = f"/v1/topics/{quote(topic, safe='/')}"
        return int(self._post(path, dict[str, Any], content=content)["sent"])

    # -- requests ------------------------------------------------------------------------------

    def _get(self, path: str, wanted: type[Answered], **params: Any) -> Answered:
        answer = self._send("GET", path, params=params)
        return msgspec.json.decode(answer.content, type=wanted)

    def _post(self, path: str, wanted: type[Answered], **options: Any) -> Answered:
        return msgspec.json.decode(self._send("POST", path, **options).content, type=wanted)

    def _write(
        self,
        method: str,
        key: str,
        ack: str | None,
        timeout: float | None,
        context: str | None,
        **options: Any,
    ) -> httpx.Response:
        params = query_of(ack=ack, timeout=timeout)
        headers = {**options.pop("headers"), **({} if context is None else {"x-bms-context": context})}
        return self._send(method, path_of(key), timeout=timeout, params=params, headers=headers, **options)

    def _send(
        self, method: str, path: str, *, timeout: float | None = None, **options: Any
    ) -> httpx.Response:
        """A whole answer of a request that went well."""
        with self._stream(method, path, timeout=timeout, **options) as answer:
            answer.read()
        return answer

    @contextlib.contextmanager
    def _stream(
        self, method: str, path: str, *, timeout: float | None = None, **options: Any
    ) -> Iterator[httpx.Response]:
        import httpx

        limit = httpx.Timeout(ANSWER_TIMEOUT_S + (timeout or 0), connect=CONNECT_TIMEOUT_S)
        with (
            translated(self.api_url),
            self._http.stream(method, path, timeout=limit, **options) as answer,
        ):
            # 202 is an answer of its own kind: the write is kept, and the error says what is missing.
            if answer.status_code >= 300 or answer.status_code == 202:
                raise error_in(answer.read(), answer.status_code)
            yield answer
