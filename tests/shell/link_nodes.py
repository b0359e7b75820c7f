"""Small nodes made of links alone, and peers that misbehave on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import msgspec
import uvloop

from bellande_mesh_sync.core.events import DialFailed, LinkClosed, LinkOpened, Received
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.messages import Hello, Message
from bellande_mesh_sync.security.authority import Authority, new_member
from bellande_mesh_sync.security.identity import Identity
from bellande_mesh_sync.shell.links import LinkConfig, LinkEvent, Links
from bellande_mesh_sync.shell.tls import client_context
from bellande_mesh_sync.wire.codec import to_message
from bellande_mesh_sync.wire.frames import FrameReader, encode_frames

Found = TypeVar("Found")

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
PATIENCE_S = 20.0

AUTHORITY = Authority.create("harbour")
ALICE = new_member(AUTHORITY, "alice", role="admin")
BOB = new_member(AUTHORITY, "bob", role="writer")
CAROL = new_member(AUTHORITY, "carol", role="writer")
STRANGER = new_member(Authority.create("elsewhere"), "mallory", role="admin")


def run(loop_name: str, test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in debug mode; fail for whatever the loop complains of, and for tasks left behind."""
    complaints: list[dict[str, Any]] = []

    async def guarded() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 60  # Debug mode reports it; shared machines are slow at times.
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        async with asyncio.timeout(60):
            await test()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left

    with asyncio.Runner(loop_factory=LOOPS[loop_name], debug=True) as runner:
        runner.run(guarded())
        gc.collect()  # An unclosed transport says so now, while its loop can be named.
    assert not complaints, complaints


def hello_of(identity: Identity, lane: int, **changes: Any) -> Hello:
    member = signed(
        MemberRecord(identity.node, identity.public_key, identity.name, (), identity.role, 1, False, "test"),
        identity.sign,
    )
    hello = Hello(1, 1, identity.mesh_id, identity.node, b"bootboot", lane, member, 1 << 20)
    return msgspec.structs.replace(hello, **changes)


class Sink:
    """Keeps every event; tests wait for the next one of a kind."""

    def __init__(self) -> None:
        self.events: list[LinkEvent] = []
        self.chunks: list[tuple[int, bytes, bytes]] = []
        self.held: list[memoryview] = []
        """The memory of chunks that were not taken."""
        self.takes_chunks = True
        self.links: Links | None = None
        self._news = asyncio.Event()

    def event(self, event: LinkEvent) -> None:
        self.events.append(event)
        self._news.set()

    def chunk(self, link: int, hash: bytes, data: memoryview) -> None:
        self.chunks.append((link, hash, bytes(data)))
        self._news.set()
        if self.takes_chunks:
            assert self.links is not None
            self.links.chunk_done(link, data)
        else:
            self.held.append(data)

    async def until(self, holds: Callable[[], Found | None]) -> Found:
        """Wait until `holds` returns something true, looking again at every event."""
        async with asyncio.timeout(PATIENCE_S):
            while not (found := holds()):
                self._news.clear()
                await self._news.wait()
            return found

    async def next(self, kind: type[Found], nth: int = 0) -> Found:
        """The `nth` event of this kind, as soon as it is there."""

        def find() -> Found | None:
            found = [event for event in self.events if isinstance(event, kind)]
            return found[nth] if len(found) > nth else None

        return await self.until(find)

    @property
    def messages(self) -> list[Message]:
        return [message for event in self.events if isinstance(event, Received) for message in event.messages]


@dataclasses.dataclass
class Node:
    identity: Identity
    links: Links
    sink: Sink
    host: str = ""
    port: int = 0

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def dial_failure(self, address: str, peer: Identity | None = None, lane: int = 0) -> DialFailed:
        self.links.dial(7, address, peer.node if peer else None, lane)
        failed = await self.sink.next(DialFailed)
        assert failed.dial == 7
        return failed


@asynccontextmanager
async def node(
    identity: Identity, *, hello: dict[str, Any] | None = None, **config: Any
) -> AsyncIterator[Node]:
    """A listening node; `hello` changes what it says of itself."""
    sink = Sink()
    config = {"close_flush_s": 0.3, **config}
    links = Links(
        identity=identity,
        config=LinkConfig(**config),
        make_hello=lambda lane: hello_of(identity, lane, **(hello or {})),
        sink=sink,
    )
    sink.links = links
    made = Node(identity, links, sink)
    made.host, made.port = await links.listen("127.0.0.1", 0)
    try:
        yield made
    finally:
        await links.close()


async def linked(one: Node, other: Node, lane: int = 0) -> tuple[int, int]:
    """A link from `one` to `other`; its numbers at both ends."""
    one.links.dial(1, other.address, other.identity.node, lane)
    opened = await one.sink.next(LinkOpened)
    accepted = await other.sink.next(LinkOpened)
    return opened.link, accepted.link


class RawPeer:
    """A member as far as TLS goes, which then sends whatever bytes the test likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def say(self, *messages: Message) -> None:
        self.send(b"".join(encode_frames(messages)))

    async def hear_until_end(self) -> list[Message]:
        """All messages until the connection ends."""
        frames = FrameReader()
        heard: list[Message] = []
        async with asyncio.timeout(PATIENCE_S):
            while data := await self.reader.read(65_536):
                heard += _pour(frames, data)
        return heard

    async def hear_hello(self) -> Hello:
        async with asyncio.timeout(PATIENCE_S):
            size = int.from_bytes(await self.reader.readexactly(4), "big")
            body = await self.reader.readexactly(size)
        (hello,) = _pour(FrameReader(), size.to_bytes(4, "big") + body)
        assert isinstance(hello, Hello)
        return hello


def _pour(frames: FrameReader, data: bytes) -> list[Message]:
    heard: list[Message] = []
    frames.space()[: len(data)] = data
    frames.add(len(data))
    while (frame := frames.next_frame()) is not None:
        heard += map(to_message, frame[0])
    return heard


@asynccontextmanager
async def raw_peer(to: Node, identity: Identity | None, *, greets: bool = True) -> AsyncIterator[RawPeer]:
    """Connect to a node by hand; with `identity` None, without TLS."""
    context = client_context(identity) if identity else None
    reader, writer = await asyncio.open_connection(to.host, to.port, ssl=context)
    peer = RawPeer(reader, writer)
    try:
        if greets and identity:
            peer.say(hello_of(identity, 0))
            await peer.hear_hello()
            await to.sink.next(LinkOpened)
        yield peer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):  # However it ended is the test's business.
            await writer.wait_closed()


async def polled(holds: Callable[[], object]) -> None:
    """Wait for something that sends no event."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.01)


async def closed(sink: Sink) -> LinkClosed:
    return await sink.next(LinkClosed)
