"""A member that lies: it holds a certificate and speaks the protocol, and says what is not so.

Behind it runs an honest core, so that it knows what there is to lie about. What it may say is malformed,
replayed, stale or impossible. Two lies are left out, for nothing in the protocol can show them to be lies as
long as records carry no signature: writing in another's name, and saying that a record has been replaced.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from blake3 import blake3

from bellande_mesh_sync.core.data.record import VALUE, ChunkRef, Manifest, Record
from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.members.swim.messages import Entries, Entry, Standing
from bellande_mesh_sync.core.messages import (
    RECORDS_LANE,
    ChunkMissing,
    ChunkOffer,
    ChunkWant,
    Credit,
    Have,
    Hello,
    MemberStream,
    Message,
    Pong,
    Records,
    ShardSummary,
    StreamEnd,
    Summary,
    Want,
)
from bellande_mesh_sync.ids import SEQUENCE_MAX, Author, Shard, author_of, stamp_of
from bellande_mesh_sync.keys import space_of
from bellande_mesh_sync.sim.envelope import pack
from bellande_mesh_sync.sim.identity import SimIdentity
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.sim.packet_lies import PacketLies
from bellande_mesh_sync.sim.world import SECOND_NS, WALL_START_MS, World
from bellande_mesh_sync.wire.limits import FRAME_HEADER_BYTES

REPLAYED_MAX: Final = 40
"""Earlier writes that it remembers, to say them again."""


@dataclass(frozen=True, slots=True)
class LiarConfig:
    """How much it lies; all zero: not at all."""

    bent_ratio: float = 0.0
    """How many of its writes have wrong bytes in them, lack some, or hold a piece more."""
    false_hello_ratio: float = 0.0
    """How many of its Hellos name another node, mesh or version, or carry a forged record."""
    replay_s: float = 0.0
    """Mean seconds between two times at which it says something again that it has said before."""
    impossible_s: float = 0.0
    """The same for messages that no honest node would send."""
    packets_s: float = 0.0
    """The same for datagrams."""


class Liar:
    """Lies through one node's links, at its own pace. Every kind is counted."""

    def __init__(
        self, world: World, config: LiarConfig, node: SimNode, me: SimIdentity, network: Network
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.is_lying = False
        self._world = world
        self._config = config
        self._node = node
        self._me = me
        self._network = network
        self._rng = world.rng("liar")
        self._packets = PacketLies(world.rng("lies in packets"), node, me, network, self.counts)
        self._said: deque[bytes] = deque(maxlen=REPLAYED_MAX)
        self._lies: tuple[Callable[[], Message], ...] = (
            self._have_of_the_future,
            self._summary_of_the_future,
            self._record_of_the_future,
            self._damaged_record,
            self._record_in_the_wrong_shard,
            self._record_of_missing_chunks,
            self._forged_member,
            self._jumping_member,
            self._want_of_everything,
            self._end_of_no_stream,
            self._offer_of_nothing,
            self._want_of_unknown_chunks,
            self._answer_to_nothing,
            self._boundless_credit,
            self._second_hello,
            self._odd_number,
        )
        network.liars.add(node.index)
        network.bent[node.index] = self._bend
        node.takes_clients = False

    def start(self) -> None:
        self.is_lying = True
        config = self._config
        for mean_s, act in (
            (config.replay_s, self._replay),
            (config.impossible_s, self._invent),
            (config.packets_s, self._packets.tell),
        ):
            if mean_s > 0:
                self._plan(mean_s, act)

    def stop(self) -> None:
        """It was found out: it ends, and stays away."""
        self.is_lying = False
        self._node.is_retired = True
        self._node.crash()

    def _plan(self, mean_s: float, act: Callable[[], None]) -> None:
        self._world.after(int(self._rng.expovariate(1.0) * mean_s * SECOND_NS), self._act, mean_s, act)

    def _act(self, mean_s: float, act: Callable[[], None]) -> None:
        if not self.is_lying:
            return
        if self._node.is_running:
            act()
        self._plan(mean_s, act)

    # -- what goes out anyway

    def _bend(self, frames: bytes, is_hello: bool) -> tuple[bytes, str]:
        """(the bytes that go out instead, what is false in a Hello)."""
        if not self.is_lying:
            return frames, ""
        if is_hello:
            return self._bend_hello(frames)
        if not any(isinstance(message, Want) for message in self._network.unpacker.unpack(frames)):
            self._said.append(frames)  # The answers to a question asked twice would fool nobody but itself.
        if self._rng.random() >= self._config.bent_ratio:
            return frames, ""
        self.counts["lie bent"] += 1
        rng = self._rng
        position = rng.randrange(len(frames))
        match rng.randrange(4):
            case (
                0
            ):  # Behind the header a flipped bit could make another record that is as good as the true one.
                bent = bytearray(frames)
                bent[rng.randrange(FRAME_HEADER_BYTES)] ^= 1 << rng.randrange(8)
                return bytes(bent), ""
            case 1:
                return frames[: max(position, 1)], ""  # What follows is read as the rest of it.
            case 2:
                return frames[:position] + rng.randbytes(rng.randint(1, 9)) + frames[position:], ""
            case _:
                return rng.randbytes(rng.randint(1, 60)), ""

    def _bend_hello(self, frames: bytes) -> tuple[bytes, str]:
        other = self._another()
        if other.node == self._me.node or self._rng.random() >= self._config.false_hello_ratio:
            return frames, ""
        self.counts["lie false hello"] += 1
        (hello,) = self._network.unpacker.unpack(frames)
        assert isinstance(hello, Hello)
        lies: tuple[tuple[str, Message], ...] = (
            ("of another mesh", msgspec.structs.replace(hello, mesh=bytes(16))),
            ("of a version to come", msgspec.structs.replace(hello, protocol_oldest=7, protocol_newest=9)),
            ("in another's name", msgspec.structs.replace(hello, node=other.node, member=other)),
            ("with another's record", msgspec.structs.replace(hello, member=other)),
            ("with a forged record", msgspec.structs.replace(hello, member=self._forged(hello.member))),
            ("no Hello at all", Pong(1)),
        )
        what, lie = self._rng.choice(lies)
        return pack([lie]), what

    # -- what it adds

    def _replay(self) -> None:
        links = self._network.links_open(self._node)
        if links and self._said:
            self.counts["lie replayed"] += 1
            self._network.send_frames(self._node, self._rng.choice(links), self._rng.choice(self._said))

    def _invent(self) -> None:
        links = self._network.links_open(self._node)
        if links:
            lie = self._rng.choice(self._lies)
            self.counts[f"lie{lie.__name__.replace('_', ' ')}"] += 1
            self._network.send_frames(self._node, self._rng.choice(links), pack([lie()]))

    def _have_of_the_future(self) -> Message:
        return Have(self._a_shard(), ((self._an_author(), (self._numbers(),)),))

    def _summary_of_the_future(self) -> Message:
        knowledge = ((self._an_author(), (self._numbers(),)),)
        return Summary((ShardSummary(self._a_shard(), knowledge, self._rng.randbytes(32)),))

    def _record_of_the_future(self) -> Message:
        shard = self._a_shard()
        return Records(shard, 0, (self._lie_in(shard, stamp=stamp_of(2 * WALL_START_MS)),))

    def _damaged_record(self) -> Message:
        shard = self._a_shard()
        return Records(shard, self._rng.randrange(4), (self._lie_in(shard, digest=bytes(32)),))

    def _record_in_the_wrong_shard(self) -> Message:
        return Records(Shard("s0/3"), 0, (self._lie_in(Shard("s0/3")),))

    def _record_of_missing_chunks(self) -> Message:
        shard = self._a_shard()
        manifest = Manifest(1, (ChunkRef(self._rng.randbytes(32), 20_000),))
        return Records(shard, 0, (self._lie_in(shard, size=20_000, inline=None, manifest=manifest),))

    def _forged_member(self) -> Message:
        return _told(self._forged(self._another()))

    def _jumping_member(self) -> Message:
        """Its own record, properly signed, so far ahead that no later truth could follow it."""
        own = msgspec.structs.replace(
            self._node.make_hello(RECORDS_LANE).member, incarnation=2**62, signature=b""
        )
        return _told(signed(own, self._me.sign))

    def _want_of_everything(self) -> Message:
        return Want(
            self._rng.randrange(1, 2**31), self._a_shard(), ((self._an_author(), ((1, SEQUENCE_MAX),)),)
        )

    def _end_of_no_stream(self) -> Message:
        return StreamEnd(10_000_000, self._a_shard(), ((self._an_author(), (self._numbers(),)),))

    def _offer_of_nothing(self) -> Message:
        return ChunkOffer(tuple(ChunkRef(self._rng.randbytes(32), 4000) for _ in range(3)))

    def _want_of_unknown_chunks(self) -> Message:
        return ChunkWant(tuple(self._rng.randbytes(32) for _ in range(5)))

    def _answer_to_nothing(self) -> Message:
        return ChunkMissing(tuple(self._rng.randbytes(32) for _ in range(5)))

    def _boundless_credit(self) -> Message:
        return Credit(2**62)

    def _second_hello(self) -> Message:
        return self._node.make_hello(RECORDS_LANE)

    def _odd_number(self) -> Message:
        return Pong(2**63 - 1)

    # -- what lies are made of

    def _a_shard(self) -> Shard:
        shards = sorted(self._node.disk.platter.intervals)
        return self._rng.choice(shards) if shards else Shard("s0/0")

    def _another(self) -> MemberRecord:
        """Another member's record; its own as long as it knows nobody else."""
        known = self._node.disk.platter.members
        others = [record for node, record in sorted(known.items()) if node != self._me.node]
        return self._rng.choice(others) if others else self._node.make_hello(RECORDS_LANE).member

    def _an_author(self) -> Author:
        authors = sorted({a for held in self._node.disk.platter.intervals.values() for a in held})
        return self._rng.choice(authors) if authors else author_of(self._me.node, bytes(8))

    def _numbers(self) -> tuple[int, int]:
        low = self._rng.choice((1, 5, 1_000, 10**6, SEQUENCE_MAX - 5))
        return low, min(low + self._rng.choice((0, 3, 10**5)), SEQUENCE_MAX)

    def _lie_in(self, shard: Shard, **changes: Any) -> Record:
        """A record of an author that writes nothing else, so that no honest one is ever mistaken for it."""
        value = b"a lie"
        record = Record(
            f"{space_of(shard)}/lie", author_of(self._me.node, b"the liar"), 7, stamp_of(WALL_START_MS),
            VALUE, len(value), blake3(value).digest(), inline=value,
        )  # fmt: skip
        return msgspec.structs.replace(record, **changes)

    def _forged(self, member: MemberRecord) -> MemberRecord:
        return msgspec.structs.replace(member, incarnation=member.incarnation + 1, left=not member.left)


def _told(record: MemberRecord) -> Message:
    """A member's record, as it comes with a state exchange."""
    return MemberStream(Entries((Entry(record, Standing.ALIVE, 0, None),), ()))
