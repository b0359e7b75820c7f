"""What a lying member says in datagrams: sealed as it should be, and malformed, forged or impossible.

One kind is neither: verdicts for the incarnations that their subjects are in. Nothing shows them to be lies,
as verdicts carry no proof; so honest nodes may hold each other for dead until the subjects have refuted it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from bellande_mesh_sync.core.members.member import MemberRecord, signed
from bellande_mesh_sync.core.members.swim.messages import (
    Ack,
    Body,
    Datagram,
    Digest,
    Gossip,
    Nack,
    Ping,
    PingRequest,
    SleepNotice,
    Standing,
    Verdict,
    signed_notice,
)
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.sim.identity import SimIdentity
from bellande_mesh_sync.sim.network import Network
from bellande_mesh_sync.sim.node import SimNode
from bellande_mesh_sync.wire.datagrams import encode_datagram

FAR: Final = 2**62
"""Within what a decoder takes, and further than any incarnation or sequence number will ever get."""
JUMP: Final = 2**40
NOISE_BYTES_MAX: Final = 1400


class PacketLies:
    """Sends one lie after the other to members that the node behind it knows."""

    def __init__(
        self, rng: random.Random, node: SimNode, me: SimIdentity, network: Network, counts: Counter[str]
    ) -> None:
        self._rng = rng
        self._node = node
        self._me = me
        self._network = network
        self._counts = counts
        self._lies: tuple[Callable[[MemberRecord], bytes], ...] = (
            self._wild_numbers,
            self._death_of_everybody,
            self._end_of_everybody,
            self._odd_standing,
            self._forged_record,
            self._record_in_anothers_name,
            self._jumping_record,
            self._forged_notice,
            self._short_fingerprint,
            self._noise,
            self._torn_datagram,
        )

    def tell(self) -> None:
        """Lie to somebody, if the node knows anybody and takes datagrams itself."""
        known = [record for _, record in sorted(self._node.peers.items()) if record.datagram_port]
        if not known or not self._node.seal_key:
            return
        lie = self._rng.choice(self._lies)
        self._counts[f"lie packet{lie.__name__.replace('_', ' ')}"] += 1
        victim, subject = self._rng.choice(known), self._rng.choice(known)
        self._network.packets.send_bytes(self._node, victim, lie(subject))

    def _wild_numbers(self, subject: MemberRecord) -> bytes:
        bodies: tuple[Body, ...] = (
            Ping(FAR, FAR),
            Ack(FAR, FAR),
            Nack(FAR),
            PingRequest(FAR, subject.node),
            PingRequest(1, NodeId(self._rng.randbytes(32))),
        )
        return encode_datagram(Datagram(self._rng.choice(bodies)))

    def _death_of_everybody(self, subject: MemberRecord) -> bytes:
        by = self._rng.choice((self._me.node, subject.node))
        verdicts = tuple(Verdict(node, FAR, Standing.DEAD, by) for node in sorted(self._node.peers))
        return encode_datagram(Datagram(Gossip(), verdicts))

    def _end_of_everybody(self, subject: MemberRecord) -> bytes:
        """In the incarnations that they are in: all are dead, and removed by an operator."""
        by = self._rng.choice((self._me.node, subject.node))
        verdicts = tuple(
            Verdict(node, record.incarnation, standing, by)
            for node, record in sorted(self._node.peers.items())
            for standing in (Standing.DEAD, Standing.REMOVED)
        )
        return encode_datagram(Datagram(Gossip(), verdicts))

    def _odd_standing(self, subject: MemberRecord) -> bytes:
        standing = self._rng.choice((-1, Standing.ALIVE, Standing.LEFT, 99))
        verdict = Verdict(subject.node, subject.incarnation, standing, self._me.node)
        return encode_datagram(Datagram(Gossip(), (verdict,)))

    def _forged_record(self, subject: MemberRecord) -> bytes:
        """Newer than the true one, with an address of the liar's choice, under the old signature."""
        forged = msgspec.structs.replace(
            subject, incarnation=subject.incarnation + 1, addresses=(self._node.address,)
        )
        return encode_datagram(Datagram(Gossip(), (), (forged,)))

    def _record_in_anothers_name(self, subject: MemberRecord) -> bytes:
        """Signed by the liar, over another's id."""
        forged = msgspec.structs.replace(
            subject, public_key=self._me.public_key, incarnation=subject.incarnation + 1, signature=b""
        )
        return encode_datagram(Datagram(Gossip(), (), (signed(forged, self._me.sign),)))

    def _jumping_record(self, subject: MemberRecord) -> bytes:
        """Its own, properly signed, so far ahead that no later truth could follow it."""
        own = self._node.make_hello(0).member
        jumped = msgspec.structs.replace(own, incarnation=own.incarnation + JUMP, signature=b"")
        return encode_datagram(Datagram(Ping(1, own.incarnation), (), (signed(jumped, self._me.sign),)))

    def _forged_notice(self, subject: MemberRecord) -> bytes:
        """Another one is said to sleep, so that nobody misses it."""
        notice = signed_notice(subject.node, subject.incarnation, 3600, self._me.sign)
        return encode_datagram(Datagram(Gossip(), (), (), (notice, SleepNotice(subject.node, FAR, 1))))

    def _short_fingerprint(self, subject: MemberRecord) -> bytes:
        return encode_datagram(Datagram(Digest(b"short")))

    def _noise(self, subject: MemberRecord) -> bytes:
        return self._rng.randbytes(self._rng.randint(1, NOISE_BYTES_MAX))

    def _torn_datagram(self, subject: MemberRecord) -> bytes:
        whole = encode_datagram(Datagram(Ping(1, 1), (), (subject,)))
        return whole[: self._rng.randrange(1, len(whole))]
