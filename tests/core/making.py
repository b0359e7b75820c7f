"""What the core's tests are made of: nodes with a toy signature, records, writes, a replica on a disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from blake3 import blake3

from bellande_mesh_sync.core.config import CoreConfig, LocalNode
from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.context import Context
from bellande_mesh_sync.core.data.history import NO_HISTORY, HistoryPolicies
from bellande_mesh_sync.core.data.record import TOMBSTONE, VALUE, ChunkRef, Manifest, Record, fingerprint_of
from bellande_mesh_sync.core.data.replica import OpenCommit, Replica
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.effects import Batch, Commit
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.core.members.member import MemberRecord, Sign, signed
from bellande_mesh_sync.core.members.swim.config import LAN
from bellande_mesh_sync.core.messages import RECORDS_LANE, Hello
from bellande_mesh_sync.core.session.links import Link
from bellande_mesh_sync.ids import Author, NodeId, Now, Shard, Stamp, author_of, node_id_of
from bellande_mesh_sync.store.memory import MemoryStore

SHARD = Shard("fleet/0")
MESH = b"m" * 16
WALL_MS = 1_700_000_000_000
SECOND_NS = 1_000_000_000
EPOCH = b"epoch-01"


LINKS_ALONE = CoreConfig(swim=replace(LAN, probe_interval_ns=10**6 * SECOND_NS))
"""The failure detector looks at nobody, so what happens to a link is the link's own doing."""


def at(seconds: float = 0.0) -> Now:
    return Now(round(seconds * SECOND_NS), WALL_MS + round(seconds * 1000))


# -- nodes -------------------------------------------------------------------------------------


def key_of(name: str) -> bytes:
    """A public key; whoever knows it can sign, which is good enough for a test."""
    return hashlib.sha256(b"key of " + name.encode()).digest()


def node_of_name(name: str) -> NodeId:
    return node_id_of(key_of(name))


def author_named(name: str, epoch: bytes = EPOCH) -> Author:
    return author_of(node_of_name(name), epoch)


def sign_as(name: str) -> Sign:
    return lambda message: hashlib.sha512(key_of(name) + message).digest()


def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    return signature == hashlib.sha512(public_key + message).digest()


def local_node(name: str, *, boot: int = 1, bootstrap: Sequence[str] = ()) -> LocalNode:
    return LocalNode(
        node=node_of_name(name), public_key=key_of(name), mesh=MESH, name=name, role="writer",
        boot=boot.to_bytes(8, "big"), software="0", addresses=(f"{name}:1",), bootstrap=tuple(bootstrap),
        sign=sign_as(name), verify=verify,
    )  # fmt: skip


def member_of(
    name: str, incarnation: int = 1, *, left: bool = False, addresses: tuple[str, ...] | None = None
) -> MemberRecord:
    told = (f"{name}:1",) if addresses is None else addresses
    node = MemberRecord(node_of_name(name), key_of(name), name, told, "writer", incarnation, left, "0")
    return signed(node, sign_as(name))


def hello_of(name: str, *, lane: int = RECORDS_LANE, boot: int = 1, credit: int = 8 << 20) -> Hello:
    return Hello(1, 1, MESH, node_of_name(name), boot.to_bytes(8, "big"), lane, member_of(name), credit)


def link_to(
    name: str, number: int = 1, *, lane: int = RECORDS_LANE, boot: int = 1, is_outbound: bool = True,
    seconds: float = 0.0, credit: int = 8 << 20,
) -> Link:  # fmt: skip
    opened_ns = at(seconds).mono_ns
    return Link(
        number, node_of_name(name), lane, boot.to_bytes(8, "big"), f"{name}:1", is_outbound, opened_ns,
        opened_ns, credit,
    )  # fmt: skip


# -- records -----------------------------------------------------------------------------------


def record(
    key: str, author: Author, sequence: int, *, body: bytes = b"value", context: Context = (),
    stamp: int | None = None,
) -> Record:  # fmt: skip
    when = (WALL_MS << 16) + sequence if stamp is None else stamp
    return Record(
        key, author, sequence, Stamp(when), VALUE, len(body), blake3(body).digest(), "", context, body
    )


def large_record(key: str, author: Author, sequence: int, chunks: Sequence[bytes]) -> Record:
    """A record with a manifest of these chunks."""
    refs = tuple(ChunkRef(blake3(chunk).digest(), len(chunk)) for chunk in chunks)
    whole = b"".join(chunks)
    return Record(
        key, author, sequence, Stamp((WALL_MS << 16) + sequence), VALUE, len(whole), blake3(whole).digest(),
        manifest=Manifest(1, refs),
    )  # fmt: skip


def write(
    key: str, body: bytes = b"value", *, context: Context | None = None, if_match: str | None = None
) -> Write:
    return Write(key, VALUE, len(body), blake3(body).digest(), "", body, context=context, if_match=if_match)


def deletion(key: str) -> Write:
    return Write(key, TOMBSTONE)


def large_write(key: str, chunks: Sequence[bytes]) -> Write:
    made = large_record(key, author_named("nobody"), 1, chunks)
    return Write(key, VALUE, made.size, made.digest, manifest=made.manifest)


# -- a replica on a disk -----------------------------------------------------------------------


class Disk:
    """A replica and the store in memory below it; commits wait until the test says what becomes of them."""

    def __init__(
        self,
        name: str = "alice",
        policies: SpacePolicies | None = None,
        histories: HistoryPolicies = NO_HISTORY,
    ) -> None:
        self.store = MemoryStore(new_epoch=lambda: EPOCH)
        state = self.store.open()
        self.clock = HybridClock(CoreConfig().clock_drift_max_ms, state.clock)
        author = author_named(name, state.epoch)
        policies = policies or SpacePolicies()
        self.replica = Replica(author, self.clock, self.store, state, policies, histories)
        self.waiting: list[Commit] = []

    def write(self, *writes: Write, seconds: float = 0.0) -> list[Record]:
        records = self.replica.write(self.replica.settled(writes, at(seconds)), at(seconds))
        self.seal()
        return records

    def accept(self, *records: Record, shard: Shard = SHARD) -> None:
        """As a node does: what is known already is left out."""
        new: dict[tuple[Author, int], Record] = {}
        for each in records:
            if not self.replica.shard(shard).seen.contains(each.author, each.sequence):
                new[each.author, each.sequence] = each
        if new:
            self.replica.accept(shard, list(new.values()), at())
        self.seal()

    def seal(self) -> None:
        commit = self.replica.seal()
        if commit is not None:
            self.waiting.append(commit)

    def commit(self, count: int | None = None) -> list[OpenCommit]:
        """Make the oldest waiting commits durable, by default all."""
        done = self.waiting[:count] if count is not None else list(self.waiting)
        del self.waiting[: len(done)]
        if not done:
            return []
        batches: list[Batch] = [commit.batch for commit in done]
        self.store.apply(batches)
        self.store.publish(batches)
        return self.replica.committed(done[-1].commit)

    def refuse(self) -> list[OpenCommit]:
        self.waiting.clear()
        return self.replica.failed()

    def live(self, shard: Shard = SHARD) -> set[Record]:
        """The live records on disk."""
        return live_records(self.store, shard)

    def check(self, shard: Shard = SHARD) -> None:
        """What must hold whenever nothing waits for the disk."""
        state = self.replica.shard(shard)
        assert state.seen == state.committed
        assert self.store.open_changes(shard, ()).knowledge() == state.committed.delta()
        recount = sum(map(fingerprint_of, self.live(shard))) % (1 << 256)
        assert state.fingerprint == recount == self.store.fingerprints().get(shard, 0)


def live_records(store: MemoryStore, shard: Shard) -> set[Record]:
    view = store.open_changes(shard, store.open_changes(shard, ()).knowledge())
    return set(view.read_page(1 << 40).records)
