"""Mending: what rotted on this disk is set aside, no longer claimed, and asked for again like all else.

A damaged record cannot be read, so neither can what it had replaced. Therefore all dots of its shard
that are known without a record of theirs are unlearned with it: each of them may have been replaced by
just that record. Peers offer them again, and those that something here still covers are claimed once
more. Nothing goes away for being absent, and nobody is told of a number whose record cannot be given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.context import covers
from bellande_mesh_sync.core.data.draft import FINGERPRINT_MODULUS, Draft
from bellande_mesh_sync.core.data.examination import Examination
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import ChunkRef
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Effect, Examine, FindMissing, Log
from bellande_mesh_sync.core.events import DamageFound, Examined, MissingFound
from bellande_mesh_sync.core.reader import DamagedRecord
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.spreading.fetching import Fetcher
from bellande_mesh_sync.core.spreading.pulls import Pulls
from bellande_mesh_sync.ids import Dot, Now, Shard

DOUBT_EVERY_NS = 600_000_000_000
"""A shard is examined for a peer's word no more often than this: it costs a reading of all of it."""
CHUNKS_MAX = 100_000
"""Damaged chunks asked for at once; the next verification finds the others again."""
CHUNKS_PER_ASKING = 256

_EXAMINING = "examining"
_AGAIN = "again"
"""Examined, but more was found damaged since it began."""
_COMMITTING = "committing"
_WAITING = "waiting"
"""The examination or the commit failed; the next repair tries again."""


class Mending:
    """Which shards are in doubt, and which chunks are wanted again.

    Args:
        become_new_author: our own last numbers are no longer known, and must not be given out again.
    """

    def __init__(
        self, replica: Replica, pulls: Pulls, fetcher: Fetcher, links: Links, counters: Counters,
        become_new_author: Callable[[], None],
    ) -> None:  # fmt: skip
        self._replica = replica
        self._pulls = pulls
        self._fetcher = fetcher
        self._links = links
        self._counters = counters
        self._become_new_author = become_new_author
        self._states: dict[Shard, str] = {}
        self._suspects: dict[Shard, set[Dot]] = {}
        """Records found damaged that are still in their place."""
        self._doubted_ns: dict[Shard, int] = {}
        self._chunks: dict[bytes, ChunkRef] = {}
        self._askings = 0
        self._asked: dict[int, tuple[ChunkRef, ...]] = {}
        """What is being looked for on this disk before it is asked for, by the number of that look."""
        self.on_clean: Callable[[Examination, Now], list[Effect]] = lambda found, now: []
        """Who wants to know what a shard holds, once it is known to be that."""
        self.must_start_over = False
        """What this node told its peers that it knows is no longer true: their links have to be made anew."""

    @property
    def chunk_count(self) -> int:
        """Damaged chunks that have not come back yet."""
        return len(self._chunks)

    def is_wanted(self, chunk: bytes) -> bool:
        return chunk in self._chunks

    @property
    def is_busy(self) -> bool:
        """Whether shards are being looked at or mended."""
        return bool(self._states)

    # -- finding

    def found(self, event: DamageFound, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for record in event.records:
            if self._replica.damage.note(record):
                self._suspects.setdefault(record.shard, set()).add(record.dot)
                self._counters["rotten_records"] += 1
                facts = {"key": record.key, "shard": record.shard, "sequence": record.dot.sequence}
                effects.append(Log("error", "record_damaged", facts))
                effects += self._examine(record.shard)
        for shard in event.shards:
            effects += self._examine(shard)
        return effects + self._chunks_found(event.chunks, now)

    def doubt(self, shard: Shard, now: Now) -> list[Effect]:
        """A peer that knows the same holds something else: one of us is wrong."""
        last_ns = self._doubted_ns.get(shard)
        if last_ns is not None and now.mono_ns - last_ns < DOUBT_EVERY_NS:
            return []
        self._doubted_ns[shard] = now.mono_ns
        return self._examine(shard)

    def read(self, shard: Shard) -> list[Effect]:
        """Read a shard through, from now on; `on_clean` hears what is in it, once it is mended."""
        return self._examine(shard)

    def is_reading(self, shard: Shard) -> bool:
        """Whether what is known of this shard is in doubt now."""
        return shard in self._states

    def _examine(self, shard: Shard) -> list[Effect]:
        if shard in self._states:
            self._states[shard] = _AGAIN if self._states[shard] == _EXAMINING else self._states[shard]
            return []
        self._states[shard] = _EXAMINING
        # What is concluded from now on might rest on a record that is damaged.
        self._pulls.held.add(shard)
        return [Examine(shard)]

    def retry(self, now: Now) -> list[Effect]:
        """At each repair: what failed is tried again, and chunks are asked of somebody else."""
        effects: list[Effect] = []
        for shard in [shard for shard, state in self._states.items() if state == _WAITING]:
            del self._states[shard]
            effects += self._examine(shard)
        return effects + self._ask_for_chunks(list(self._chunks.values()), now)

    # -- records

    def examined(self, event: Examined, now: Now) -> list[Effect]:
        shard, found = event.shard, event.found
        state = self._states.pop(shard, "")
        if found is None:
            self._states[shard] = _WAITING
            return []
        if found.is_clean and state != _AGAIN:
            self._replica.damage.forget(shard, self._suspects.pop(shard, ()))
            return [*self._pulls.release(shard, now), *self.on_clean(found, now)]
        if found.is_clean:
            return self._examine(shard)
        self._mend(found)
        self._states[shard] = _COMMITTING
        facts = {"shard": shard, "set_aside": len(found.damaged), "records": found.record_count}
        return [Log("warning", "shard_mended", facts)]

    def _mend(self, found: Examination) -> None:
        replica, shard = self._replica, found.shard
        known = Knowledge(found.knowledge)
        for record in found.damaged:
            replica.set_aside(record)
            if not known.contains(*record.dot):
                replica.draft.healed.append((shard, record.dot))  # No write is missing under this number.
        replica.draft.healed += self._replaced(found.damaged)
        replica.claim_sound(shard, found.unclaimed)
        if replica.unlearn(shard, found.unproven):
            self._become_new_author()
        amount = (found.fingerprint - found.fingerprint_stored) % FINGERPRINT_MODULUS
        replica.draft.fingerprints[shard] += amount
        self._counters["records_set_aside"] += len(found.damaged)
        self._suspects.pop(shard, None)

    def _replaced(self, records: Sequence[DamagedRecord]) -> list[tuple[Shard, Dot]]:
        """Those that a sound record of their key has replaced: nothing is lost with them."""
        held = self._replica.siblings([record.key for record in records])
        return [
            (record.shard, record.dot)
            for record in records
            if any(covers(sibling.context, *record.dot) for sibling in held[record.key])
        ]

    def committed(self, drafts: Sequence[Draft]) -> list[Effect]:
        effects: list[Effect] = []
        for shard in {shard: None for draft in drafts for shard, _ in draft.unlearned}:
            self._states.pop(shard, None)
            self.must_start_over = True
            # Until nothing is found: there may have been more than one examination tells, and more since.
            effects += self._examine(shard)
        return effects

    def commits_failed(self) -> None:
        for shard, state in self._states.items():
            if state == _COMMITTING:
                self._states[shard] = _WAITING

    # -- chunks

    def _chunks_found(self, chunks: Sequence[ChunkRef], now: Now) -> list[Effect]:
        fresh = [ref for ref in chunks if ref.hash not in self._chunks][: CHUNKS_MAX - len(self._chunks)]
        if not fresh:
            return []
        self._chunks.update((ref.hash, ref) for ref in fresh)
        self._counters["rotten_chunks"] += len(fresh)
        return [Log("error", "chunks_damaged", {"count": len(fresh)}), *self._ask_for_chunks(fresh, now)]

    def _ask_for_chunks(self, chunks: Sequence[ChunkRef], now: Now) -> list[Effect]:
        """Of one linked peer after the other; it says so if it does not have them."""
        peers = self._links.linked_peers()
        if not chunks or not peers:
            return []
        peer = peers[self._askings % len(peers)]
        self._askings += 1
        effects: list[Effect] = []
        for start in range(0, len(chunks), CHUNKS_PER_ASKING):
            for look in self._fetcher.fetch_ahead(peer, tuple(chunks[start : start + CHUNKS_PER_ASKING])):
                if isinstance(look, FindMissing):
                    self._asked[look.fetch] = look.manifest.chunks
                effects.append(look)
        return effects

    def looked(self, event: MissingFound) -> None:
        """What is not missing came in another way."""
        missing = {ref.hash for ref in event.chunks}
        for ref in self._asked.pop(event.fetch, ()):
            if not event.code and ref.hash not in missing:
                self._chunks.pop(ref.hash, None)

    def chunks_refused(self, chunks: Sequence[bytes], now: Now) -> list[Effect]:
        """A peer could not give these: the next one is asked, unless each was."""
        wanted = [self._chunks[chunk] for chunk in chunks if chunk in self._chunks]
        is_hopeless = self._askings % max(1, len(self._links.linked_peers())) == 0
        return [] if is_hopeless else self._ask_for_chunks(wanted, now)

    def chunks_stored(self, chunks: Sequence[bytes]) -> None:
        mended = [chunk for chunk in chunks if self._chunks.pop(chunk, None) is not None]
        if mended:
            self._counters["chunks_mended"] += len(mended)
            self._replica.draft.syncs_chunks = True
