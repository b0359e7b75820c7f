"""What links are told: their bounds, and whom they report to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from bellande_mesh_sync.core.events import DialFailed, LinkClosed, LinkOpened, Received

LinkEvent: TypeAlias = LinkOpened | DialFailed | LinkClosed | Received


class LinkSink(Protocol):
    """Who hears of links. Called from the event loop; must not block."""

    def event(self, event: LinkEvent) -> None: ...

    def chunk(self, link: int, hash: bytes, data: memoryview) -> None:
        """A whole chunk came in; nobody has compared it with its hash yet. Ends in `Links.chunk_done`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Bounds of all links of one node. The defaults suit every machine; tests use smaller ones."""

    encrypted: bool = True
    """TLS on every link. Without it anybody who reaches the port is believed: development only."""
    ciphers: tuple[str, ...] = ()
    """Cipher suites that links may use; empty: any of TLS 1.3."""
    handshake_timeout_s: float = 10.0
    """From the first byte to the peer's Hello, in seconds; as much again for the TCP connection of a dial."""
    handshakes_max: int = 256
    """Inbound connections at once that did not finish their handshake."""
    handshakes_per_address_max: int = 8
    """The same for one address; loopback is exempt, where a whole mesh may share it."""
    links_max: int = 2048
    """Open links, of which every peer may take two. More are turned away with `too_many_links`."""
    queue_bytes_max: int = 32 * 1024 * 1024
    """Bytes waiting to be sent on one link; a peer that reads too slowly for that loses the link."""
    chunks_waiting_bytes_max: int = 24 * 1024 * 1024
    """Received chunks of one link that nobody has dealt with; above it, that link is not read."""
    chunk_buffer_bytes: int = 2 * 1024 * 1024
    """High-water mark of what a chunk transfer may keep in the write buffer."""
    close_flush_s: float = 1.0
    """How long a link that we close may take to send its last bytes, in seconds."""
