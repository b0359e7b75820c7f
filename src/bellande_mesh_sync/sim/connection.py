"""The two ends of a simulated connection: ordered streams, and how and when each end learns of the end."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from bellande_mesh_sync.core.events import DialFailed, Event, LinkClosed, LinkOpened, Received
from bellande_mesh_sync.core.messages import Goodbye, Hello, Message
from bellande_mesh_sync.errors import PeerError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.checkers import Violation
from bellande_mesh_sync.sim.envelope import decode
from bellande_mesh_sync.sim.identity import verify
from bellande_mesh_sync.wire.codec import ChunkPiece
from bellande_mesh_sync.wire.frames import FrameReader
from bellande_mesh_sync.wire.handshake import judge_hello

if TYPE_CHECKING:
    from bellande_mesh_sync.sim.network import Network
    from bellande_mesh_sync.sim.wire_time import NetworkConfig

QUEUE_BYTES_MAX: Final = 32 * 1024 * 1024
"""What the shell lets wait on one link before it closes it."""


class Host(Protocol):
    """What the network needs of a node."""

    index: int
    node: NodeId
    boot: int

    @property
    def is_running(self) -> bool: ...

    @property
    def is_paused(self) -> bool: ...

    def make_hello(self, lane: int) -> Hello: ...

    def new_link(self) -> int: ...

    def post(self, event: Event) -> None: ...

    def chunk_arrived(self, link: int, hash: bytes, body: bytes) -> None: ...


@dataclass(slots=True)
class Parcel:
    """What one write puts on a stream."""

    arrives_ns: int
    size_bytes: int
    frames: bytes = b""
    falsehood: str = ""
    """What is false about a Hello, so that it must not open a link."""
    chunk: tuple[bytes, bytes] | None = None
    end: bool = False
    """The sender's process died here: nothing follows."""
    record_bytes: int = 0
    notes: int = 0
    """How many messages between programs are in it."""


class End:
    """One node's end of a connection; it sends to `other`, and is told what `other` sent."""

    other: End
    config: NetworkConfig
    """What the network is like between the two."""

    def __init__(self, network: Network, host: Host, link: int, lane: int, dial: int, address: str) -> None:
        self.host = host
        self.boot = host.boot
        self.link = link
        self.lane = lane
        self.is_wanted = False
        self.dial = dial
        self.address = address
        self.is_open = False
        """The core knows this link."""
        self.expected: NodeId | None = None
        """Whom the dialler means to find at the other end; None if any member will do."""
        self.has_spoken = False
        self.is_over = False
        """Nothing is sent or taken here any more."""
        self.will_learn = False
        self.is_severed = False
        """An end has another address now: nothing arrives here any more, not even a reset."""
        self.way: deque[Parcel] = deque()  # From here to the other end.
        self.way_bytes = 0
        self.record_bytes = 0
        self.stalled_ns = -1
        self._network = network
        self._reader: FrameReader | None = None
        self._last_arrival_ns = 0
        self._free_ns = 0

    # -- sending

    def send(self, parcel: Parcel) -> None:
        if self.is_over or self.other.is_over:
            self._network.notes.lose("broken", parcel.notes)
        if self.is_over:
            return
        if self.other.is_over:
            self._network.learn_soon(self)  # It answers a packet of ours with a reset, if it can be reached.
            return
        network = self._network
        self.way.append(parcel)
        self.way_bytes += parcel.size_bytes
        self.record_bytes += parcel.record_bytes
        now_ns = network.world.now_ns
        way = (self.host.index, self.other.host.index)
        sending_ns = network.times.sending_ns(self.config, way, parcel.size_bytes)
        self._free_ns = max(self._free_ns, now_ns) + sending_ns
        self._last_arrival_ns = max(self._last_arrival_ns, self._free_ns + network.draw_delay(self))
        parcel.arrives_ns = self._last_arrival_ns
        if len(self.way) == 1:
            network.world.at(parcel.arrives_ns, self.pump)
        if self.way_bytes > QUEUE_BYTES_MAX:
            network.counts["queue_overflow"] += 1
            network.break_connection(self, "queue_overflow")
        elif network.breaks(self):
            network.break_connection(self, "reset")

    # -- arriving

    def pump(self) -> None:
        """Hand over what has arrived at the other end; called when the next parcel is due."""
        network = self._network
        now_ns = network.world.now_ns
        while self.way and not self.other.is_over:
            parcel = self.way[0]
            if parcel.arrives_ns > now_ns:
                network.world.at(parcel.arrives_ns, self.pump)
                return
            clogged_until_ns = network.times.clogged_until_ns((self.host.index, self.other.host.index))
            if clogged_until_ns > now_ns:
                network.world.at(clogged_until_ns, self.pump)
                return
            if self.is_severed or network.is_blocked(self.host.index, self.other.host.index):
                network.stall(self)
                return
            self._take_first()
            self.other.receive(parcel)

    def resume(self) -> None:
        """The way is free again: the system's next retransmission brings what waits."""
        self.stalled_ns = -1
        if not self.way:
            return
        later_ns = (
            self._network.world.now_ns
            + self._network.draw_delay(self)
            + self._network.times.retransmission_ns()
        )
        for parcel in self.way:
            parcel.arrives_ns = max(parcel.arrives_ns, later_ns)
        self._last_arrival_ns = max(self._last_arrival_ns, later_ns)
        self._network.world.at(later_ns, self.pump)

    def _take_first(self) -> None:
        parcel = self.way.popleft()
        self.way_bytes -= parcel.size_bytes
        self.record_bytes -= parcel.record_bytes

    def drop_way(self) -> None:
        self._network.notes.lose("broken", sum(parcel.notes for parcel in self.way))
        self.way.clear()
        self.way_bytes = self.record_bytes = 0

    def receive(self, parcel: Parcel) -> None:
        if self.is_over:
            return
        here, there = self.host.index, self.other.host.index
        if self._network.outsiders and not self._network.outsiders.isdisjoint((here, there)):
            raise Violation("outsiders", f"n{here}", f"it got {parcel.size_bytes} bytes from n{there}")
        if parcel.end:
            self.finish("closed", "the other end is gone", tell_peer=False)
        elif parcel.chunk is not None:
            self.host.chunk_arrived(self.link, *parcel.chunk)
        else:
            self._receive_frames(parcel)

    def _receive_frames(self, parcel: Parcel) -> None:
        try:
            messages = self._unpack(parcel.frames)
        except PeerError as error:
            if self.other.host.index not in self._network.liars:
                raise
            self._network.counts["lies_refused"] += 1
            self._refuse(error.code, str(error))
            return
        if self.is_open:
            self._take_messages(messages, parcel.size_bytes)
        elif messages:
            self._meet(messages[0], parcel.falsehood)

    def _unpack(self, frames: bytes) -> tuple[Message, ...]:
        if self.other.host.index not in self._network.liars:
            return self._network.unpacker.unpack(frames)
        if self._reader is None:
            self._reader = FrameReader()  # A write of a liar may end within a frame.
        # Chunks go their own way here, so a piece of one can only be noise.
        return tuple(each for each in decode(self._reader, frames) if not isinstance(each, ChunkPiece))

    def receive_part(self, parcel: Parcel, part: float) -> bool:
        """The connection breaks while this comes in: whole frames count, the beginning of one does not."""
        if self.is_over or not self.is_open or parcel.end or self.other.host.index in self._network.liars:
            return False
        size_bytes = int(parcel.size_bytes * part)
        if parcel.chunk is not None:
            self.host.post(Received(self.link, (), size_bytes))
            return True
        messages = decode(FrameReader(), parcel.frames[:size_bytes])
        self._network.notes.came_after_all(messages)
        self._take_messages(messages, size_bytes)
        return True

    # -- opening

    def say_hello(self) -> None:
        self.has_spoken = True
        hello = self.host.make_hello(self.lane)
        if self.is_wanted:
            hello = msgspec.structs.replace(hello, is_wanted=True)
        self.send(self._network.hello_of(self.host, hello))

    def _meet(self, first: Message, falsehood: str) -> None:
        """Judge the peer's first message, as the shell does."""
        if isinstance(first, Goodbye):
            self.finish(first.code, first.reason, tell_peer=False)
            return
        if not isinstance(first, Hello):
            self._refuse("bad_frame", "the first message is no Hello")
            return
        ours = self.host.make_hello(self.lane)
        proven = self.other.host.node
        refusal = judge_hello(first, ours, proven=proven, expected=self.expected, verify=verify)
        if refusal is not None:
            self._refuse(refusal.code, refusal.reason)
            return
        if falsehood:
            raise Violation("admission", f"n{self.host.index}", f"it took a Hello {falsehood}")
        if not self.has_spoken:
            self.say_hello()
        if not self.is_over:
            self.is_open = True
            self.host.post(LinkOpened(self.link, first.node, first, self.address, self.dial))

    def _refuse(self, code: str, reason: str) -> None:
        if not self.other.is_over:
            self.send(self._network.goodbye_of(self.host, Goodbye(code, reason)))
        if not self.is_over:
            self._end(code, reason)
            self.other.drop_way()

    def _take_messages(self, messages: tuple[Message, ...], size_bytes: int) -> None:
        last = messages[-1] if messages else None
        if isinstance(last, Goodbye):
            messages = messages[:-1]
        if messages:
            self.host.post(Received(self.link, messages, size_bytes))
        if isinstance(last, Goodbye):
            self.finish(last.code, last.reason, tell_peer=False)

    # -- ending

    def finish(self, code: str, reason: str, *, tell_peer: bool = True) -> None:
        """This end is over and its core is told; the peer gets a Goodbye behind all that was sent."""
        if self.is_over:
            return
        if tell_peer and self.is_open and not self.other.is_over:
            self.send(self._network.goodbye_of(self.host, Goodbye(code, reason)))
        if self.is_over:
            return  # The very Goodbye met a reset.
        self._end(code, reason)
        self.other.drop_way()
        if not tell_peer:
            self.drop_way()

    def fail(self, code: str) -> None:
        """This end is over at once, with nothing said to the peer."""
        if not self.is_over:
            self._end(code, "the connection broke")
            self.other.drop_way()

    def _end(self, code: str, reason: str) -> None:
        self.is_over = True
        self._network.forget(self)
        if self.host.boot != self.boot:
            return
        if self.is_open:
            self.host.post(LinkClosed(self.link, code, reason))
        elif self.dial:
            self.host.post(DialFailed(self.dial, code, reason))
