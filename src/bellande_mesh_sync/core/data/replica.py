"""The replica: this node's records and knowledge, what is on disk and what is on its way there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

from msgspec import Struct

from bellande_mesh_sync.core.data.arrivals import Arrivals
from bellande_mesh_sync.core.data.clock import HybridClock
from bellande_mesh_sync.core.data.context import Context, covers, includes, join
from bellande_mesh_sync.core.data.cuts import Cut, CutTold, is_within, raise_by
from bellande_mesh_sync.core.data.damage import Damage
from bellande_mesh_sync.core.data.draft import FINGERPRINT_MODULUS, Draft
from bellande_mesh_sync.core.data.history import NO_HISTORY, HistoryPolicies, HistoryPolicy, replaced_by
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge
from bellande_mesh_sync.core.data.policy import Origin
from bellande_mesh_sync.core.data.record import Manifest, Record
from bellande_mesh_sync.core.data.sibling_cap import beyond_cap
from bellande_mesh_sync.core.data.space_policies import SpacePolicies
from bellande_mesh_sync.core.effects import Commit
from bellande_mesh_sync.core.events import Write
from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.reader import DamagedRecord, RecordReader, StoredState
from bellande_mesh_sync.core.statements.statement import Judged
from bellande_mesh_sync.ids import Author, Dot, NodeId, Now, Shard, Stamp
from bellande_mesh_sync.keys import shard_of, space_of

Held: TypeAlias = dict[str, tuple[Record, ...]]
"""Siblings by key."""


class ShardState:
    """One shard's knowledge, twice: what is durable, and what will be once all open commits are."""

    __slots__ = ("collected", "committed", "fingerprint", "seen", "stable")

    def __init__(self, delta: Delta = (), fingerprint: int = 0, collected: CutTold = ()) -> None:
        self.committed = Knowledge(delta)
        self.seen = Knowledge(delta)
        self.fingerprint = fingerprint
        self.stable: Cut = {}
        """See `cuts`. Kept in memory: after a restart the others say anew what they have."""
        self.collected: dict[Author, int] = dict(collected)
        """Raised when a batch is made, before it is durable: too high is safe, too low is not."""


class OpenCommit(Struct, frozen=True, gc=False):
    """A batch on its way to the disk, and what to do when it is there."""

    number: int
    draft: Draft


class Overlay(Struct, frozen=True, gc=False):
    """A key's siblings as they will be after an open commit."""

    siblings: tuple[Record, ...]
    commit: int


class Replica:
    """Decides which record replaces which, numbers local writes, and knows what is durable.

    Reads only committed records through `reader`; what open commits will change lies in an overlay,
    so that a write sees the one before it without waiting for the disk.
    """

    def __init__(
        self, author: Author, clock: HybridClock, reader: RecordReader, state: StoredState,
        policies: SpacePolicies, histories: HistoryPolicies = NO_HISTORY,
        shard_of: Callable[[str], Shard] = shard_of,
    ) -> None:  # fmt: skip
        self.author = author
        self.shard_of = shard_of
        self._borrowed: dict[str, tuple[Record, ...]] = {}
        self.policies = policies
        self._default_history = histories.default
        self._histories = dict(histories.spaces)
        self.clock = clock
        self.arrivals = Arrivals()
        self._reader = reader
        self._shards = {s.shard: ShardState(s.knowledge, s.fingerprint, s.collected) for s in state.shards}
        self._overlay: dict[str, Overlay] = {}
        self.damage = Damage(state.damaged)
        self._open: deque[OpenCommit] = deque()
        self._next_commit = 1
        self.last_committed = 0
        """The last commit that is on disk."""
        self._draft = Draft()
        self._refused_members: dict[NodeId, MemberRecord | None] = {}
        self._refused_epoch = b""
        self._refused_statements: list[Judged] = []
        self.uncommitted_bytes = 0

    # -- questions

    def shard(self, shard: Shard) -> ShardState:
        """What is known of a shard; of one that only others talk about nothing is kept."""
        return self._shards.get(shard) or ShardState()

    def _kept(self, shard: Shard) -> ShardState:
        found = self._shards.get(shard)
        if found is None:
            found = self._shards[shard] = ShardState()
        return found

    def shards(self) -> Iterable[tuple[Shard, ShardState]]:
        return sorted(self._shards.items())

    @property
    def draft(self) -> Draft:
        return self._draft

    @property
    def next_commit(self) -> int:
        """The number that the draft will have as a commit."""
        return self._next_commit

    def siblings(self, keys: Sequence[str]) -> dict[str, tuple[Record, ...]]:
        """The siblings of each key, open commits included. One look-up in the store for all of them."""
        overlay = self._overlay
        result: dict[str, tuple[Record, ...]] = {}
        stored: list[str] = []
        for key in keys:
            over = overlay.get(key)
            if over is not None:
                result[key] = over.siblings
            elif key not in result:
                result[key] = ()
                stored.append(key)
        if stored:
            result.update(zip(stored, self._reader.siblings(stored), strict=True))
        for key, records in self._borrowed.items():
            if key in result:
                result[key] = joined([result[key], records])
        return result

    def borrow(self, records: Sequence[Record]) -> None:
        """Siblings that other nodes hold, and that a write here is to see; until `borrow(())`."""
        self._borrowed = {}
        for record in records:
            self._borrowed[record.key] = (*self._borrowed.get(record.key, ()), record)

    def _held_here(self, key: str) -> tuple[Record, ...]:
        over = self._overlay.get(key)
        return over.siblings if over is not None else self._reader.siblings([key])[0]

    # -- local writes

    def is_damaged(self, key: str) -> bool:
        """Whether something of the key was lost on this disk, so that nobody can say what it shows."""
        return bool(self.damage.of(key)) or self._reader.is_damaged(key)

    def damaged_among(self, writes: Sequence[Write]) -> str | None:
        """The first key, of those just looked up, whose damage stands in the way of its write; or None.

        What stands there damaged has to go first: nobody knows what the write would replace. Once it is
        set aside, only those wait that build on what was there.
        """
        for write in writes:
            builds_on = write.if_match is not None or write.add is not None
            if self._reader.is_damaged(write.key) or (builds_on and self.damage.of(write.key)):
                return write.key
        return None

    def settled(self, writes: Sequence[Write], now: Now) -> Sequence[Write]:
        """These writes as `write` takes them: checked and completed by the policies of their spaces.

        Nothing but the clock changes. Raises UnfitError. Cost: nothing where all spaces are `lww`.
        """
        if not self.policies.concern(writes):
            return writes
        held = self.siblings([write.key for write in writes])
        numbers: dict[Shard, int] = {}
        settled: list[Write] = []
        for write in writes:
            shard = self.shard_of(write.key)
            sequence = numbers[shard] = numbers.get(shard, self.shard(shard).seen.last(self.author)) + 1
            siblings = held[write.key]
            origin = Origin(self.author, sequence, self.clock.next(now))
            settled.append(self.policies.settled(write, siblings, origin))
            # The next write of this key in the batch finds this one there.
            record = self._record(settled[-1], shard, sequence, siblings, now)
            kept = tuple(s for s in siblings if not covers(record.context, s.author, s.sequence))
            held[write.key] = (*kept, record)
        return settled

    def overfull(self, writes: Sequence[Write]) -> str | None:
        """The first key that one of these would give more siblings than it may have, or None."""
        partial = [write for write in writes if write.context is not None]
        if not partial:
            return None
        return beyond_cap(writes, self.siblings([write.key for write in partial]))

    def refusal(self, writes: Sequence[Write], now: Now) -> str | None:
        """The first key whose `if_match` does not hold, or None."""
        conditional = [write for write in writes if write.if_match is not None]
        if not conditional:
            return None
        held = self.siblings([write.key for write in conditional])
        for write in conditional:
            if self.policies.of(write.key).version(held[write.key], now.wall_ms) != write.if_match:
                return write.key
        return None

    def write(self, writes: Sequence[Write], now: Now, held: Held | None = None) -> list[Record]:
        """Number and stamp these writes and put them into the draft. Cost: O(1) a write.

        Args:
            held: their siblings, if they were looked up already; changed in place.
        """
        held = self.siblings([write.key for write in writes]) if held is None else held
        records: list[Record] = []
        numbers: dict[Shard, list[int]] = {}
        for write in writes:
            shard = self.shard_of(write.key)
            taken = numbers.get(shard)
            if taken is None:
                last = self.shard(shard).seen.last(self.author)
                taken = numbers[shard] = [last, last]
            taken[1] += 1
            siblings = held[write.key]
            record = self._record(write, shard, taken[1], siblings, now)
            # Who writes the key anew has given up what was lost of it. The write does not *replace* that:
            # nobody here knows what it had replaced itself, so it stands beside it should it come back.
            self._draft.healed += [(shard, dot) for dot in self.damage.of(write.key)]
            held[write.key] = self._place(shard, record, siblings, now)
            records.append(record)
            self._draft.written.setdefault(shard, []).append(record)
        for shard, (before, last) in numbers.items():
            self._claim(shard, self.author, before + 1, last)
            self.arrivals.note(shard, self.author, before + 1, last, now.wall_ms)
        return records

    def _record(
        self, write: Write, shard: Shard, sequence: int, siblings: tuple[Record, ...], now: Now
    ) -> Record:
        if write.context is not None:
            context = _without_future(write.context, self.author, sequence)
            if siblings and is_deleted(siblings):
                # A delete that stands alone gives way to whatever is written where it is known: elsewhere it
                # may have been collected already, and a conflict with it could not be told from there.
                context = join([context, *(s.context for s in siblings)], [s.dot for s in siblings], _nothing)
        elif siblings:
            context = self._joined(shard, siblings, self.shard(shard).seen)
        else:
            context = ()
        return Record(
            key=write.key,
            author=self.author,
            sequence=sequence,
            stamp=self.clock.next(now),
            kind=write.kind,
            size=write.size,
            digest=write.digest,
            content_type=write.content_type,
            context=context,
            inline=write.inline,
            manifest=write.manifest,
            expires_ms=write.expires_ms,
        )

    def context_of(self, shard: Shard, siblings: Sequence[Record]) -> Context:
        """What a reader of these committed siblings has seen."""
        return self._joined(shard, siblings, self.shard(shard).committed)

    def _joined(self, shard: Shard, siblings: Sequence[Record], knowledge: Knowledge) -> Context:
        # Where old versions are kept, contexts must tell of each that may be missing somewhere.
        names_each = self._history_of(shard).versions > 0
        return _context_of(siblings, knowledge, names_each=names_each)

    # -- records from peers

    def accept(self, shard: Shard, records: Sequence[Record], now: Now) -> Sequence[Record]:
        """Put records from a peer into the draft. None of their dots may be in `seen` yet.

        A record that a sibling here has already replaced leaves only its dot, and goes into the history
        of its key if there is one.

        Returns:
            Those that were taken. For a key whose record here is damaged none is, until that is set aside:
            it may be just what the damaged one had replaced.
        """
        held = self.siblings([record.key for record in records])
        if any(map(self._reader.is_damaged, held)):
            records = [record for record in records if not self._reader.is_damaged(record.key)]
            if not records:
                return records
        self.clock.observe(max(record.stamp for record in records), now)
        for record in records:
            siblings = held[record.key]
            if siblings and any(covers(s.context, record.author, record.sequence) for s in siblings):
                self._keep_late(shard, record, siblings, now)
                held[record.key] = self._apply_late(shard, record, siblings, now)
                continue
            if siblings and not record.is_tombstone and is_deleted(siblings):
                siblings = self._without_stable(shard, record, siblings, now)
            held[record.key] = self._place(shard, record, siblings, now)
        for author, low, high in _runs(records):
            self._claim(shard, author, low, high)
            self.arrivals.note(shard, author, low, high, now.wall_ms)
        return records

    def claim_obsolete(self, shard: Shard, delta: Delta) -> None:
        """Take dots as known whose records were replaced by ones that are committed here."""
        for author, ranges in delta:
            for low, high in ranges:
                self._claim(shard, author, low, high)

    def _place(
        self, shard: Shard, record: Record, siblings: tuple[Record, ...], now: Now
    ) -> tuple[Record, ...]:
        draft = self._draft
        if self._borrowed:
            # What is only held elsewhere is replaced there.
            elsewhere = {each.dot for each in self._borrowed.get(record.key, ())}
            elsewhere -= {each.dot for each in self._held_here(record.key)}
            siblings = tuple(each for each in siblings if each.dot not in elsewhere)
        kept = siblings
        if siblings:
            replaced = [s for s in siblings if covers(record.context, s.author, s.sequence)]
            for sibling in replaced:
                draft.drop(shard, sibling)
            for sibling in replaced:
                if not includes(record.context, sibling.context):
                    self._note_collected(shard, sibling)
            if replaced:
                self._keep(shard, replaced, record.stamp, now)
                kept = tuple(s for s in siblings if s not in replaced)
        draft.put(shard, record)
        for dot in self.damage.of(record.key):
            if covers(record.context, *dot):
                draft.healed.append((shard, dot))
        kept = (*kept, record)
        self._overlay[record.key] = Overlay(kept, self._next_commit)
        return kept

    def _keep(self, shard: Shard, replaced: Sequence[Record], until: Stamp, now: Now) -> None:
        policy = self._history_of(shard)
        if policy.versions:
            for record in replaced:
                self._draft.keep(shard, record, until, policy, now.wall_ms)

    def _keep_late(self, shard: Shard, record: Record, siblings: Sequence[Record], now: Now) -> None:
        """A version that was replaced before it came."""
        if self._history_of(shard).versions:
            self._keep(shard, (record,), replaced_by(record, siblings), now)

    def _history_of(self, shard: Shard) -> HistoryPolicy:
        return self._histories.get(space_of(shard), self._default_history)

    def forget_expired(self, now: Now) -> None:
        """Let the store forget what is too old, also of keys that nobody writes any more."""
        self._draft.expired_ms = now.wall_ms

    def _claim(self, shard: Shard, author: Author, low: int, high: int) -> None:
        row, absorbed = self._kept(shard).seen.add(author, low, high)
        self._draft.claim(shard, author, low, high, row, absorbed)
        self._draft.healed += [(shard, dot) for dot in self.damage.among(shard, author, low, high)]

    def release(self, shard: Shard, rows: Sequence[tuple[str, Dot]]) -> None:
        """Forget a shard: all its live records, which are given, and all that is known of it.

        Nothing of it may be on its way to the disk. If this node has written to it, it takes one more of its
        own numbers, for no record, and goes on to know just that: so none is given out again, and nothing is
        claimed but that no record has this number, which is true for ever.
        """
        state, draft = self._kept(shard), self._draft
        known, last = state.seen.delta(), state.seen.last(self.author)
        draft.let_go(shard, rows, state.fingerprint)
        keys = [key for key, _ in rows]
        draft.released.append((shard, known, keys))
        state.seen.remove(known)
        draft.relearned += [(shard, author, ()) for author, _ in known]
        self._overlay.update(dict.fromkeys(keys, Overlay((), self._next_commit)))
        if last:
            self._claim(shard, self.author, last + 1, last + 1)

    # -- what goes without a successor

    def _without_stable(
        self, shard: Shard, record: Record, siblings: tuple[Record, ...], now: Now
    ) -> tuple[Record, ...]:
        """These tombstones, less those that the writer of `record` may have known and dropped."""
        stable = self.shard(shard).stable
        gone = [s for s in siblings if not covers(record.context, *s.dot) and is_within(s, stable)]
        for tombstone in gone:
            self.collect(shard, tombstone, now)
        return tuple(s for s in siblings if s not in gone)

    def collect(self, shard: Shard, tombstone: Record, now: Now) -> None:
        """Drop a tombstone that nobody needs any more. The dots of what it replaced stay known."""
        self._let_go(shard, tombstone, now)
        self._note_collected(shard, tombstone)

    def _note_collected(self, shard: Shard, record: Record) -> None:
        """From now on nothing here tells what this record had replaced."""
        state = self._kept(shard)
        raise_by(state.collected, record)
        for author in (record.author, *(author for author, _, _ in record.context)):
            self._draft.collected[shard, author] = state.collected[author]

    def _apply_late(
        self, shard: Shard, record: Record, siblings: tuple[Record, ...], now: Now
    ) -> tuple[Record, ...]:
        """Of a record that was replaced before it came: what it has replaced goes as well.

        Its successor would have taken that away, if its writer had not dropped a tombstone in between.
        """
        if any(includes(s.context, record.context) for s in siblings):
            return siblings
        stale = [s for s in siblings if covers(record.context, *s.dot)]
        for sibling in stale:
            self._keep(shard, (sibling,), record.stamp, now)
            self._take_out(shard, sibling)
        self._note_collected(shard, record)
        return tuple(s for s in siblings if s not in stale)

    def drop_stale(self, shard: Shard, records: Sequence[Record], now: Now) -> int:
        """Drop these of the live records here: all others have replaced them. How many were still there."""
        held = self.siblings([record.key for record in records])
        stale = [record for record in records if record in held[record.key]]
        for record in stale:
            self._let_go(shard, record, now)
        return len(stale)

    def adopt(self, shard: Shard, collected: CutTold) -> None:
        """Take tombstones up to this cut as collected here: all that it covers is known and gone."""
        state = self._kept(shard)
        for author, number in collected:
            if number > state.collected.get(author, 0):
                state.collected[author] = self._draft.collected[shard, author] = number

    def _let_go(self, shard: Shard, record: Record, now: Now) -> None:
        """Into the history, if its space keeps any: a delete beside the versions that it ended.

        If it keeps none, what is left there of the key goes, or it would look as if it had come back.
        """
        policy = self._history_of(shard)
        versions = policy.versions + record.is_tombstone if policy.versions else 0
        policy = replace(policy, versions=versions)
        self._draft.keep(shard, record, self.clock.next(now), policy, now.wall_ms)
        self._take_out(shard, record)

    def _take_out(self, shard: Shard, record: Record) -> None:
        self._draft.drop(shard, record)
        left = tuple(s for s in self.siblings([record.key])[record.key] if s != record)
        self._overlay[record.key] = Overlay(left, self._next_commit)
        self._draft.emptied.append(record.key)

    # -- damage

    def set_aside(self, record: DamagedRecord) -> None:
        """Take a damaged record out of its place. Its dot must be unlearned, unless it never was known."""
        self.damage.note(record)
        self._draft.set_aside.append(record)

    def withdraw(self, shard: Shard, records: Iterable[Record]) -> list[Record]:
        """Set sound records aside that must not count any more; nothing takes their place. Those that still
        stood. Their dots must be unlearned."""
        records = list(records)
        held = self.siblings([record.key for record in records])
        withdrawn: list[Record] = []
        for record in records:
            kept = tuple(sibling for sibling in held[record.key] if sibling.dot != record.dot)
            if len(kept) == len(held[record.key]):
                continue
            held[record.key] = kept
            self._overlay[record.key] = Overlay(kept, self._next_commit)
            self._draft.withdraw(shard, record)
            withdrawn.append(record)
        return withdrawn

    def unlearn(self, shard: Shard, dots: Delta) -> bool:
        """No longer claim these dots. Whether the last of our own are among them, whose numbers would be
        given out again: then this node must become a new author in the same batch."""
        seen = self._kept(shard).seen
        last = seen.last(self.author)
        seen.remove(dots)
        self._draft.unlearned.append((shard, dots))
        self._draft.relearned += [(shard, author, tuple(seen.of(author))) for author, _ in dots]
        return seen.last(self.author) < last

    def claim_sound(self, shard: Shard, dots: Delta) -> None:
        """Take dots as known whose records are here."""
        self.claim_obsolete(shard, self.shard(shard).seen.missing_from(dots))

    # -- commits

    def seal(self) -> Commit | None:
        """Close the draft into a commit, if there is anything in it."""
        draft = self._draft
        if draft.is_empty():
            return None
        self.try_again()
        commit = Commit(self._next_commit, draft.batch(self.clock.last))
        self._open.append(OpenCommit(self._next_commit, draft))
        self._next_commit += 1
        self._draft = Draft()
        self.uncommitted_bytes += draft.size_bytes
        return commit

    def open_manifests(self) -> list[Manifest]:
        """Of the records that are on their way to the disk."""
        records = (record for commit in self._open for record in commit.draft.records)
        return [record.manifest for record in records if record.manifest is not None]

    def committed(self, number: int) -> list[OpenCommit]:
        """Take the commits up to `number` as durable; return them, oldest first."""
        done: list[OpenCommit] = []
        while self._open and self._open[0].number <= number:
            commit = self._open.popleft()
            self.last_committed = commit.number
            self._settle(commit)
            done.append(commit)
        return done

    def failed(self) -> list[OpenCommit]:
        """Forget every open commit; return them. (There is no draft while events are handled.)"""
        lost = list(self._open)
        self._open.clear()
        self._overlay.clear()
        self.uncommitted_bytes = 0
        for state in self._shards.values():
            state.seen = Knowledge(state.committed.delta())
        for commit in lost:
            # These must not be forgotten by a restart: they go with the next batch. Not at once, or a
            # full disk would be asked again as fast as it can refuse.
            self._refused_epoch = commit.draft.epoch or self._refused_epoch
            self._refused_statements += commit.draft.statements
            self._refused_members.update(dict.fromkeys(commit.draft.forgotten))
            self._refused_members.update((member.node, member) for member in commit.draft.members)
        return lost

    def try_again(self) -> None:
        """Put into the draft what the disk refused and must have nevertheless."""
        self._draft.epoch = self._draft.epoch or self._refused_epoch
        newer = {member.node for member in self._draft.members} | set(self._draft.forgotten)
        for node, member in self._refused_members.items():
            if node in newer:
                continue
            if member is None:
                self._draft.forget(node)
            else:
                self._draft.remember(member)
        self._refused_members.clear()
        self._draft.statements += self._refused_statements
        self._refused_statements.clear()
        self._refused_epoch = b""

    def _settle(self, commit: OpenCommit) -> None:
        draft, overlay = commit.draft, self._overlay
        self.uncommitted_bytes -= draft.size_bytes
        for shard, dots in draft.unlearned:
            self._kept(shard).committed.remove(dots)
        for shard, known, keys in draft.released:
            self._kept(shard).committed.remove(known)
            self._uncover(keys, commit.number)
        for shard, dot in draft.healed:
            self.damage.forget(shard, [dot])
        for shard, author, low, high in draft.ranges:
            self._kept(shard).committed.add(author, low, high)
        for shard, amount in draft.fingerprints.items():
            state = self._kept(shard)
            state.fingerprint = (state.fingerprint + amount) % FINGERPRINT_MODULUS
        keys = [record.key for record in (*draft.records, *draft.withdrawn)]
        for key in (*keys, *draft.emptied):
            over = overlay.get(key)
            if over is not None and over.commit == commit.number:
                del overlay[key]

    def _uncover(self, keys: Sequence[str], commit: int) -> None:
        for key in keys:
            over = self._overlay.get(key)
            if over is not None and over.commit == commit:
                del self._overlay[key]

    def take_new_epoch(self, author: Author, epoch: bytes) -> None:
        """Become a new author: another store has numbered writes in our name."""
        self.author = author
        self._draft.epoch = epoch


def joined(held: Iterable[Sequence[Record]]) -> tuple[Record, ...]:
    """What several nodes hold under one key, less what one of these records has replaced."""
    every = {record.dot: record for records in held for record in records}
    return tuple(
        record
        for record in every.values()
        if not any(covers(other.context, *record.dot) for other in every.values() if other is not record)
    )


def is_deleted(siblings: Sequence[Record]) -> bool:
    """Whether there is nothing but tombstones."""
    return all(record.is_tombstone for record in siblings)


def _nothing(author: Author) -> int:
    return 0


def _context_of(siblings: Sequence[Record], knowledge: Knowledge, *, names_each: bool) -> Context:
    contexts, dots = [s.context for s in siblings], [s.dot for s in siblings]
    return join(contexts, dots, knowledge.contiguous, names_each=names_each)


def _without_future(context: Context, author: Author, sequence: int) -> Context:
    """A caller's context, less what it claims to have seen of our writes from `sequence` on.

    It is text from outside. Believed, it would make peers take our next writes as replaced already.
    """
    return tuple(
        entry
        if entry[0] != author
        else (author, min(entry[1], sequence - 1), tuple(extra for extra in entry[2] if extra < sequence))
        for entry in context
    )


def _runs(records: Sequence[Record]) -> list[tuple[Author, int, int]]:
    """The records' dots as runs of consecutive numbers, so that each run costs one look-up."""
    runs: list[tuple[Author, int, int]] = []
    for record in records:
        if runs:
            author, low, high = runs[-1]
            if record.author == author and record.sequence == high + 1:
                runs[-1] = (author, low, high + 1)
                continue
        runs.append((record.author, record.sequence, record.sequence))
    return runs
