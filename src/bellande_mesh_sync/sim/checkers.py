"""What must hold at every step, judged by what disks hold and clients were told: never by the core's word.

Each check names what it found wrong in a Violation; the first one ends a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bellande_mesh_sync.core.data.context import Context, covers
from bellande_mesh_sync.core.data.knowledge import IntervalSet
from bellande_mesh_sync.core.data.record import Record, fingerprint_of
from bellande_mesh_sync.core.effects import Batch, IntervalChange
from bellande_mesh_sync.core.events import Receipt, Write
from bellande_mesh_sync.ids import Author, Dot, NodeId, Shard, Stamp, author_of, parse_version
from bellande_mesh_sync.keys import shard_of, space_of
from bellande_mesh_sync.sim.platter import FINGERPRINT_MODULUS, Platter, missing_chunks
from bellande_mesh_sync.sim.tombstone_checker import TombstoneChecker
from bellande_mesh_sync.sim.trace import in_words


class Violation(AssertionError):
    """A promise was broken.

    Args:
        about: the key that it was broken for, if it was one; the trace of it is shown.
    """

    def __init__(self, check: str, node: str, text: str, about: str = "") -> None:
        super().__init__(f"{check}: {node}: {text}" if node else f"{check}: {text}")
        self.check = check
        self.node = node
        self.about = about


class Disk(Protocol):
    """What checkers read of a disk."""

    index: int
    platter: Platter


@dataclass(slots=True)
class _Mirror:
    """What one disk has claimed and held so far, followed batch by batch."""

    known: dict[tuple[Shard, Author], IntervalSet] = field(default_factory=dict)
    last_stamp: dict[Author, Stamp] = field(default_factory=dict)
    may_step_back: bool = False
    """The node's wall clock was set back, so its stamps may, once."""


@dataclass(frozen=True, slots=True)
class Acked:
    """A version somebody was promised, and by whose disks."""

    key: str
    dot: Dot
    nodes: tuple[int, ...]


class DiskChecker:
    """Watches every batch that becomes durable anywhere."""

    def __init__(self, nodes: Sequence[NodeId]) -> None:
        self.seen: dict[tuple[Shard, Dot], Record] = {}
        """Every record that ever was on a disk."""
        self.stillborn: dict[tuple[Shard, Dot], str] = {}
        """Keys of versions that a later write of the same batch replaced, so they never were on any disk."""
        self._refused: dict[bytes, str] = {}
        """Digests of values whose writers were told that nothing was written, and how."""
        self._digests: set[bytes] = set()
        self.checked_count = 0
        self.is_revoked: Callable[[Disk, Shard, Dot | None], bool] = lambda disk, shard, dot: False
        """Whether this write need not count on this disk any more; with no dot: whether any need not."""
        self._nodes = list(nodes)
        self._mirrors = [_Mirror() for _ in nodes]
        self._lost: list[list[_Mirror]] = [[] for _ in nodes]
        """What was known on disks that are gone."""
        self._by_key: dict[str, dict[Dot, Record]] = {}
        """`seen`, by key."""
        self.tombstones = TombstoneChecker(self._ever_knew, lambda key: self._by_key.get(key, {}).values())

    # -- each batch

    def applied(self, disk: Disk, batch: Batch) -> None:
        self.checked_count += 1
        mirror = self._mirrors[disk.index]
        name = f"n{disk.index}"
        self._follow_set_aside(mirror, disk, name, batch)
        dropped = {(shard, Dot(*dot)) for shard, _, dot in batch.drops}
        for shard, record in batch.puts:
            self._check_dot(name, shard, record)
            self._check_new(mirror, name, shard, record)
            self._check_stamp(mirror, disk, name, record)
            self._check_value(disk, name, shard, record, is_dropped=(shard, record.dot) in dropped)
        for change in batch.intervals:
            self._check_claim(mirror, disk, name, change, batch)
        for shard, record in batch.puts:
            if not self._knows(mirror, shard, record.dot):
                raise Violation(
                    "unclaimed", name, f"{in_words(record)} is on disk without being known", record.key
                )
        for shard, key, dot in batch.drops:
            self._check_drop(disk, name, shard, key, Dot(*dot), batch)
        for shard, key, dot in batch.drops:
            self._check_dropped_context(disk, name, shard, key, Dot(*dot))

    def refused(self, digest: bytes, code: str) -> None:
        """The only writer of this value was told `code`: nothing was written, now or later."""
        if digest in self._digests:
            raise Violation(
                "refused_write", "", f"value {digest[:4].hex()} is on a disk; its writer was told {code}"
            )
        self._refused[digest] = code

    def clock_set(self, index: int) -> None:
        """Somebody set this node's wall clock."""
        self._mirrors[index].may_step_back = True

    def wiped(self, disk: Disk) -> None:
        """What the disk holds now, nothing or a backup, is what it has to start from."""
        self._lost[disk.index].append(self._mirrors[disk.index])
        mirror = self._mirrors[disk.index] = _Mirror()
        for shard in disk.platter.intervals:
            for author, ranges in disk.platter.knowledge(shard):
                mirror.known[shard, author] = IntervalSet(ranges)

    def joined(self, node: NodeId) -> None:
        """A new node, with an empty disk."""
        self._nodes.append(node)
        self._mirrors.append(_Mirror())
        self._lost.append([])

    def _follow_set_aside(self, mirror: _Mirror, disk: Disk, name: str, batch: Batch) -> None:
        """Records may go without a successor only where they had rotted, and dots be unlearned only then."""
        for damaged in batch.set_aside:
            is_rotten = (damaged.key, damaged.dot) in disk.platter.ever_rotten
            if not is_rotten and not self.is_revoked(disk, damaged.shard, damaged.dot):
                raise Violation("set_aside", name, f"{in_words(damaged.dot)} of {damaged.key} was sound")
        for shard in {shard for shard, _, _ in batch.relearned} if not disk.platter.ever_rotten else ():
            if self.is_revoked(disk, shard, None):
                continue
            raise Violation("set_aside", name, "dots are unlearned, and nothing on this disk had rotted")
        before = _Mirror()
        for shard, author, ranges in batch.relearned:
            known = mirror.known.get((shard, author), IntervalSet())
            left = IntervalSet(ranges)
            if left != known and known.missing_from(left):
                raise Violation("set_aside", name, f"more is known of {shard} after dots were unlearned")
            before.known[shard, author] = known
            mirror.known[shard, author] = left
        if batch.relearned:
            self._lost[disk.index].append(before)

    def _check_dot(self, name: str, shard: Shard, record: Record) -> None:
        first = self.seen.setdefault((shard, record.dot), record)
        self._by_key.setdefault(record.key, {}).setdefault(record.dot, record)
        if record.digest:
            self._digests.add(record.digest)
        if first is not record and first != record:
            raise Violation(
                "dots_unique", name, f"{in_words(record)} was {in_words(first)} elsewhere", record.key
            )
        if shard != shard_of(record.key):
            raise Violation("shard", name, f"{record.key} in {shard}")

    def _check_new(self, mirror: _Mirror, name: str, shard: Shard, record: Record) -> None:
        """A dot that was known came back: what was overwritten or deleted is resurrected."""
        if self._knows(mirror, shard, record.dot):
            raise Violation("resurrected", name, f"{in_words(record)} was known here already", record.key)

    def _check_stamp(self, mirror: _Mirror, disk: Disk, name: str, record: Record) -> None:
        if record.author != author_of(self._nodes[disk.index], disk.platter.epoch):
            return  # Another's, or our own of before the disk was lost: these come in any order.
        if self.had(disk, record.key, record.dot):
            return  # Our own that had rotted, and came back.
        last = mirror.last_stamp.get(record.author, Stamp(-1))
        if record.stamp <= last:
            # A clock that was far ahead and was set right starts over, or all would hold its writes off.
            if mirror.may_step_back:
                mirror.may_step_back = False
                mirror.last_stamp[record.author] = record.stamp
                return
            raise Violation("stamps", name, f"{in_words(record)} is stamped {record.stamp} after {last}")
        mirror.last_stamp[record.author] = record.stamp

    def _check_value(self, disk: Disk, name: str, shard: Shard, record: Record, *, is_dropped: bool) -> None:
        said = self._refused.get(record.digest)
        if said is not None:
            raise Violation(
                "refused_write", name, f"{in_words(record)} is on disk; its writer was told {said}"
            )
        if record.manifest is not None and missing_chunks(record.manifest, disk.platter.chunks)[0]:
            raise Violation(
                "chunks_first", name, f"{in_words(record)} is on disk before its chunks", record.key
            )
        if is_dropped:
            return
        for other in disk.platter.by_key[record.key].values():
            if covers(other.context, record.author, record.sequence):
                raise Violation(
                    "sibling",
                    name,
                    f"{in_words(record)} stands beside its successor {in_words(other)}",
                    record.key,
                )
            if covers(record.context, *other.dot):
                raise Violation(
                    "sibling",
                    name,
                    f"{in_words(record)} stands beside what it replaces, {in_words(other)}",
                    record.key,
                )

    def _check_claim(
        self, mirror: _Mirror, disk: Disk, name: str, change: IntervalChange, batch: Batch
    ) -> None:
        known = mirror.known.setdefault((change.shard, change.author), IntervalSet())
        gaps = list(known.gaps(change.low, change.high))
        interval, absorbed = known.add(change.low, change.high)
        if interval != (change.low, change.high) or sorted(absorbed) != sorted(change.absorbed):
            raise Violation(
                "intervals", name, f"{in_words(change)} does not fit: {interval} absorbs {absorbed}"
            )
        for low, high in gaps:
            for sequence in range(low, high + 1):
                dot = Dot(change.author, sequence)
                if change.author == author_of(self._nodes[disk.index], disk.platter.epoch):
                    self._note_stillborn(change.shard, dot, batch)
                self._check_held(disk.platter, name, change.shard, dot)

    def _note_stillborn(self, shard: Shard, dot: Dot, batch: Batch) -> None:
        if (shard, dot) in self.seen:
            return
        for put_shard, record in batch.puts:
            if put_shard == shard and covers(record.context, *dot):
                self.stillborn[(shard, dot)] = record.key

    def _check_held(self, platter: Platter, name: str, shard: Shard, dot: Dot) -> None:
        record = self.seen.get((shard, dot))
        key = self.stillborn.get((shard, dot)) if record is None else record.key
        if key is None:
            raise Violation("knowledge", name, f"claims {in_words(dot)} of {shard}, which no disk ever had")
        siblings = platter.by_key.get(key, {})
        if dot in siblings or any(covers(other.context, *dot) for other in siblings.values()):
            return
        if self.tombstones.is_gone(key, dot):
            return
        what = in_words(record or dot)
        raise Violation(
            "knowledge", name, f"claims {what} of {shard}, and has neither it nor a successor", key
        )

    def _check_drop(self, disk: Disk, name: str, shard: Shard, key: str, dot: Dot, batch: Batch) -> None:
        """What is dropped has a successor here, or is a delete that everybody has, or deleted by one."""
        record = self.seen.get((shard, dot))
        if record is None or record.key != key:
            raise Violation("drops", name, f"drops {in_words(dot)} of {key}, which never was there", key)
        live = [other.context for other in disk.platter.by_key.get(key, {}).values()]
        if not any(covers(context, *dot) for context in live):
            dropped = {Dot(*other) for _, name_of, other in batch.drops if name_of == key}
            before = [
                *disk.platter.by_key.get(key, {}).values(),
                *(self.seen[shard, each] for each in dropped),
            ]
            objection = self.tombstones.objection(record, before, batch)
            if objection:
                text = f"drops {in_words(record)} with no successor on disk: {objection}"
                raise Violation("drops", name, text, key)

    def _check_dropped_context(self, disk: Disk, name: str, shard: Shard, key: str, dot: Dot) -> None:
        """All that it stood for must be accounted for as well."""
        live = [other.context for other in disk.platter.by_key.get(key, {}).values()]
        for author, base, extras in self.seen[shard, dot].context:
            # A base is covered when its last dot is, for a base covers all before it; extras one by one.
            for sequence in (base, *extras) if base else extras:
                if not _is_accounted(live, disk.platter.by_key.get(key, {}), Dot(author, sequence)):
                    self._check_key_dots(disk.platter, name, shard, key)

    def _check_key_dots(self, platter: Platter, name: str, shard: Shard, key: str) -> None:
        """The slow way: each dot of the key that this disk knows is there or covered."""
        mirror = self._mirrors[int(name[1:])]
        for (other_shard, dot), record in self.seen.items():
            if other_shard == shard and record.key == key and self._knows(mirror, shard, dot):
                self._check_held(platter, name, shard, dot)

    def _knows(self, mirror: _Mirror, shard: Shard, dot: Dot) -> bool:
        known = mirror.known.get((shard, dot.author))
        return known is not None and known.contains(dot.sequence)

    # -- now and then, from scratch

    def check_disk(self, disk: Disk) -> None:
        """All of a disk, with nothing remembered from before."""
        name = f"n{disk.index}"
        platter = disk.platter
        sums: dict[Shard, int] = {}
        for shard, record in platter.live_records():
            sums[shard] = (sums.get(shard, 0) + fingerprint_of(record)) % FINGERPRINT_MODULUS
            if record.manifest is not None and missing_chunks(record.manifest, platter.chunks)[0]:
                raise Violation("chunks", name, f"{in_words(record)} lacks chunks")
        for shard in sorted(platter.fingerprints.keys() | sums.keys()):
            if platter.fingerprints.get(shard, 0) != sums.get(shard, 0):
                raise Violation(
                    "fingerprints", name, f"the fingerprint of {shard} is not that of its live records"
                )
        for shard in sorted(platter.intervals):
            for author, ranges in platter.knowledge(shard):
                for low, high in ranges:
                    for sequence in range(low, high + 1):
                        self._check_held(platter, name, shard, Dot(author, sequence))

    def had(self, disk: Disk, key: str, dot: Dot) -> bool:
        """Whether an earlier disk of this node had it; word of that may still be on its way."""
        return any(self._knows(mirror, shard_of(key), dot) for mirror in self._lost[disk.index])

    def holds(self, disk: Disk, key: str, dot: Dot) -> bool:
        """Whether the version or a successor is durable here; or was deleted, and that is forgotten."""
        siblings = disk.platter.by_key.get(key, {})
        if dot in siblings or any(covers(other.context, *dot) for other in siblings.values()):
            return True
        # What rotted may have made it unlearn that number; the delete is no less true.
        return self.tombstones.is_gone(key, dot) and self._ever_knew(disk.index, shard_of(key), dot)

    def _ever_knew(self, index: int, shard: Shard, dot: Dot) -> bool:
        mirrors = (self._mirrors[index], *self._lost[index])
        return any(self._knows(mirror, shard, dot) for mirror in mirrors)


def _is_accounted(contexts: Iterable[Context], siblings: dict[Dot, Record], dot: Dot) -> bool:
    return dot in siblings or any(covers(context, *dot) for context in contexts)


class AckChecker:
    """Watches what clients are told: that it is true at that moment, and that it stays true."""

    def __init__(self, disks: Sequence[Disk], nodes: Sequence[NodeId], seen: DiskChecker) -> None:
        self.acked: list[Acked] = []
        self.left: set[int] = set()
        """Nodes that ever left, or were rightly held for gone: a writer need not count them as owners."""
        self.liars: set[int] = set()
        """Nodes whose word about their own disks is worth nothing."""
        self.forgetful: set[int] = set()
        """Nodes that lost their disk, and with it whom to count."""
        self.lets_go = False
        """Whether members that are dead for a while no longer count, within this run."""
        self.rewriting: frozenset[str] = frozenset()
        """Spaces in which a record may hold something else than what was asked for."""
        self._disks = disks  # The mesh's own list: whoever joins is in it.
        self._index = {node: index for index, node in enumerate(nodes)}
        self._seen = seen
        self.owners: Callable[[int], frozenset[NodeId]] = lambda index: frozenset()
        """Whom the programs of a node know as owners, at least, beside itself."""
        self.has_left: Callable[[int, NodeId, int], bool] = lambda index, node, since_ns: False
        """Whether one has left since then, in the eyes of a node."""
        self._heads: dict[tuple[int, str], list[tuple[Dot, int]]] = {}
        """By (node, key): acknowledged versions and when, but for those that a later one replaced."""

    def joined(self, index: int, node: NodeId) -> None:
        """A new node: the others need not know it yet, nor it all of them."""
        self._index[node] = index
        self.left.add(index)
        self.forgetful.add(index)

    def wiped(self, index: int) -> None:
        """What this disk had promised is void; what was promised by it alone is lost, and rightly so."""
        self.forgetful.add(index)
        for position, acked in enumerate(self.acked):
            if index in acked.nodes:
                self.acked[position] = Acked(
                    acked.key, acked.dot, tuple(n for n in acked.nodes if n != index)
                )
        self._heads = {place: heads for place, heads in self._heads.items() if place[0] != index}

    def set_aside(self, index: int, keys: Collection[str]) -> None:
        """Records of these keys had rotted on this disk: what it alone had promised of them is lost."""
        for position, acked in enumerate(self.acked):
            if acked.key not in keys or index not in acked.nodes:
                continue
            if not self._seen.holds(self._disks[index], acked.key, acked.dot):
                nodes = tuple(n for n in acked.nodes if n != index)
                self.acked[position] = Acked(acked.key, acked.dot, nodes)
        for key in keys:
            self._heads.pop((index, key), None)

    def resolved(
        self,
        index: int,
        writes: Sequence[Write],
        receipts: Sequence[Receipt],
        ack: str,
        asked_ns: int,
        now_ns: int,
        owners: frozenset[NodeId] = frozenset(),
    ) -> list[Acked]:
        """A client of node `index` got these receipts now, for what it asked for then.

        Args:
            owners: whom it knew of when it asked. More may have come since, and some may have left.
        """
        waited_for = sum(not self.has_left(index, node, asked_ns) for node in owners)
        need = need_of(ack, 1 + waited_for)
        if any(len(receipt.nodes) < need for receipt in receipts):
            raise Violation("ack_level", f"n{index}", f"{ack} with {in_words(receipts[0])}, {need} needed")
        name = f"n{index}"
        if len(receipts) != len(writes):
            raise Violation("receipts", name, f"{len(receipts)} receipts for {len(writes)} writes")
        for write, receipt in zip(writes, receipts, strict=True):
            dot = parse_version(receipt.version)
            record = self._check_receipt(index, name, write, receipt, ack, dot)
            if record is not None:
                self._check_order(index, name, write, record, asked_ns, now_ns)
            nodes = [self._index[node] for node in receipt.nodes]
            kept = tuple(
                n for n in nodes if n not in self.liars and self._seen.holds(self._disks[n], write.key, dot)
            )
            self.acked.append(Acked(write.key, dot, kept))
        return self.acked[len(self.acked) - len(writes) :]

    def timed_out(
        self, index: int, writes: Sequence[Write], nodes: Sequence[str], versions: Sequence[str]
    ) -> None:
        """A client was told that only these nodes have its writes; the writes go on spreading."""
        for write, version in zip(writes, versions, strict=False):
            for node in nodes:
                there = self._index[NodeId(bytes.fromhex(node))]
                if not self._held(there, write.key, parse_version(version)):
                    raise Violation(
                        "ack_true", f"n{index}", f"n{there} is said to have {version}, and lacks it"
                    )

    def _check_receipt(
        self, index: int, name: str, write: Write, receipt: Receipt, ack: str, dot: Dot
    ) -> Record | None:
        nodes = tuple(self._index[node] for node in receipt.nodes)
        place = (shard_of(write.key), dot)
        record = self._seen.seen.get(place)
        is_known = self._seen.stillborn.get(place) == write.key if record is None else record.key == write.key
        if not is_known or receipt.key != write.key or receipt.ack != ack:
            raise Violation(
                "receipts", name, f"{in_words(receipt)} for {in_words(write)}: no disk has such a version"
            )
        is_rewritten = space_of(write.key) in self.rewriting
        if record is not None and not is_rewritten and not _is_as_asked(record, write):
            raise Violation("receipts", name, f"{in_words(record)} is not what was asked: {in_words(write)}")
        if index not in nodes or len(set(nodes)) != len(nodes):
            raise Violation("ack_level", name, f"{in_words(receipt)} does not name its own node once")
        if len(nodes) < self._need(ack) and index not in self.forgetful:
            raise Violation("ack_level", name, f"{ack} with {len(nodes)} disks, {self._need(ack)} needed")
        for node in nodes:
            if not self._held(node, write.key, dot):
                raise Violation(
                    "ack_true", name, f"{in_words(receipt)} names n{node}, whose disk lacks it", write.key
                )
        return record

    def _check_order(
        self, index: int, name: str, write: Write, record: Record, asked_ns: int, now_ns: int
    ) -> None:
        """A write without a context replaces what its node had acknowledged under the key before."""
        # Of several siblings that are shown together the version names the newest.
        seen = write.if_match.partition("+")[0] if write.if_match else ""
        if seen and not covers(record.context, *parse_version(seen)):
            raise Violation("if_match", name, f"{in_words(record)} does not replace {write.if_match}")
        place = (index, write.key)
        heads = [
            (dot, at_ns)
            for dot, at_ns in self._heads.get(place, [])
            if not covers(record.context, *dot) and not self._seen.tombstones.is_gone(write.key, dot)
        ]
        for dot, at_ns in heads:
            if write.context is None and at_ns < asked_ns:
                raise Violation(
                    "order", name, f"{in_words(record)} does not replace {in_words(dot)}", write.key
                )
        self._heads[place] = [*heads, (record.dot, now_ns)]

    def _held(self, index: int, key: str, dot: Dot) -> bool:
        if index in self.liars:
            return True  # It was told so by the liar.
        disk = self._disks[index]
        return self._seen.holds(disk, key, dot) or self._seen.had(disk, key, dot)

    def _need(self, ack: str) -> int:
        owners = 1 if self.lets_go else len(self._disks) - len(self.left)
        return need_of(ack, owners)

    def check_all(self) -> None:
        """Every promise ever made, against every disk it named."""
        for acked in self.acked:
            for node in acked.nodes:
                if not self._seen.holds(self._disks[node], acked.key, acked.dot):
                    raise Violation(
                        "acked_lost",
                        f"n{node}",
                        f"{in_words(acked.dot)} of {acked.key} was acknowledged",
                        acked.key,
                    )


def need_of(ack: str, owners: int) -> int:
    """How many disks a level asks for."""
    match ack:
        case "local":
            return 1
        case "one":
            return 2
        case "quorum":
            return owners // 2 + 1
        case _:
            return owners


def _is_as_asked(record: Record, write: Write) -> bool:
    return (
        record.key == write.key
        and record.kind == write.kind
        and record.size == write.size
        and record.digest == write.digest
        and record.inline == write.inline
        and record.manifest == write.manifest
        and record.content_type == write.content_type
    )


def differences(disks: Sequence[Disk]) -> list[str]:
    """In what these disks do not agree; empty when they have converged."""
    found: list[str] = []
    first = disks[0]
    shards = sorted({shard for disk in disks for shard in disk.platter.intervals})
    live = {shard: _shown(first.platter, shard) for shard in shards}
    for disk in disks[1:]:
        where = f"n{first.index} and n{disk.index}"
        for shard in shards:
            if disk.platter.knowledge(shard) != first.platter.knowledge(shard):
                found.append(f"{where} know different dots of {shard}")
            elif _shown(disk.platter, shard) != live[shard]:
                found.append(f"{where} know the same of {shard} and hold different records")
            elif disk.platter.fingerprints.get(shard, 0) != first.platter.fingerprints.get(shard, 0):
                found.append(f"{where} have different fingerprints of {shard}")
    for disk in disks:
        for _, record in disk.platter.live_records():
            if record.manifest is not None and missing_chunks(record.manifest, disk.platter.chunks)[0]:
                found.append(f"n{disk.index} lacks chunks of {record.key}")
    return found


def _shown(platter: Platter, shard: Shard) -> dict[Author, dict[int, Record]]:
    """The live records, less the keys that have nothing but tombstones: these go at different times."""
    found: dict[Author, dict[int, Record]] = {}
    for author, records in platter.live.get(shard, {}).items():
        for sequence, record in records.items():
            if any(not other.is_tombstone for other in platter.by_key[record.key].values()):
                found.setdefault(author, {})[sequence] = record
    return found
