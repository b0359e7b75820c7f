"""Pulls: the asking half of repair. What others have and this node lacks becomes Wants, then claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.cuts import Cut, highest, is_known
from bellande_mesh_sync.core.data.knowledge import Delta, Knowledge, count_of
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.data.replica import Replica
from bellande_mesh_sync.core.effects import Effect, Send, SetTimer
from bellande_mesh_sync.core.messages import StreamEnd, Want
from bellande_mesh_sync.core.session.links import Link, Links
from bellande_mesh_sync.core.spreading.held_off import HeldOff
from bellande_mesh_sync.core.timers import PullDue, StreamOverdue
from bellande_mesh_sync.ids import Author, Dot, NodeId, Now, Shard, node_of

WANT_RANGES_MAX = 4096
"""Ranges in one Want; what is beyond is asked for when the stream has ended."""
ENDED_MAX = 32
"""Ended streams of a shard that may wait, each for itself, for what else their senders knew; of those beyond,
the ones of a link wait as one. With a record held off because its writer's clock is ahead they wait for
minutes, and each commit looks at all of them."""


@dataclass(slots=True, eq=False)
class Pull:
    """One stream asked for.

    Its dots that do not come are obsolete, but that may be believed only when every record of the
    stream is committed here, together with all else that the sender knew (see `StreamEnd`).
    """

    stream: int
    link: int
    shard: Shard
    dots: Knowledge
    came: Knowledge = field(default_factory=Knowledge)
    """Those of `dots` whose records the stream brought: whatever becomes of these, they are not obsolete."""
    uncommitted_count: int = 0
    is_tainted: bool = False
    """A record of it was not taken in, so nothing may be concluded from what did not come."""
    told: Knowledge = field(default_factory=Knowledge)
    """The sender's knowledge, as far as it has come."""
    knowledge: Delta | None = None
    """All of it, once the stream has ended."""
    collected: Cut = field(default_factory=dict)
    """Up to where the sender had dropped tombstones, which nobody sends any more."""
    mark: int = 0
    """Raised by any progress."""
    lacks: Dot | None = None
    """Once it has ended: a dot that its sender knew, and that was neither here at the last look nor could be
    claimed by a stream that lacked nothing. As long as that is so, nothing can be concluded."""

    @property
    def has_all(self) -> bool:
        """Whether the stream has ended and each of its records is on disk or given up."""
        return self.knowledge is not None and not self.uncommitted_count

    def absorb(self, other: Pull) -> None:
        """Let another ended stream of the same link conclude with this one, once all is here that the sender
        knew at the end of either.

        A dot that it did not know when the stream that asked for it ended may be live, even if it knew it at
        the end of the other: it belongs to neither any more and is free to be asked for again.
        """
        assert self.knowledge is not None, "only a stream that has ended waits for others"
        assert other.knowledge is not None, "only a stream that has ended waits for others"
        self.dots = Knowledge(_common(self.knowledge, self.dots))
        self.dots.merge(_common(other.knowledge, other.dots))
        self.came.merge(other.came.delta())
        self.told.merge(other.told.delta())
        self.knowledge = self.told.delta()
        self.collected = highest(self.collected, other.collected)
        self.mark += 1
        # What one lacked of the other's dots is obsolete now, so waiting for it would be in vain.
        lacked = [dot for dot in (self.lacks, other.lacks) if dot and not self.dots.contains(*dot)]
        self.lacks = lacked[0] if lacked else None


@dataclass(slots=True, eq=False)
class Offers:
    """What a peer has said it has, waiting for its time."""

    shards: dict[Shard, Knowledge] = field(default_factory=dict)
    is_timer_set: bool = False


class Pulls:
    """Asks each missing dot of one peer at a time, and claims what turns out to be obsolete."""

    def __init__(
        self, config: CoreConfig, local: NodeId, links: Links, replica: Replica, counters: Counters,
        arriving: Callable[[Shard], Delta], held_off: HeldOff,
    ) -> None:  # fmt: skip
        self._config = config
        self._local = local
        self._links = links
        self._replica = replica
        self._counters = counters
        self._arriving = arriving
        """The dots whose records are here and wait for their chunks."""
        self._held_off = held_off
        self.on_behind: Callable[[int, Shard, Now], list[Effect]] = lambda link, shard, now: []
        """The peer on this link has dropped tombstones that never came here."""
        self.held: set[Shard] = set()
        """Shards in which nothing is concluded now: what is known of them is in doubt."""
        self.trimmed: set[Shard] = set()
        """Nor in these: writes of a revoked node are being taken out."""
        self.beyond: Callable[[Shard, Delta], Delta] = lambda shard, dots: ()
        """Which of these dots are a revoked node's and do not count."""
        self._pulls: dict[int, Pull] = {}
        self._offers: dict[int, Offers] = {}
        self._next_stream = 1

    def release(self, shard: Shard, now: Now) -> list[Effect]:
        """What is known of this shard is in doubt no more."""
        self.held.discard(shard)
        return self._conclude(shard, now)

    def trimming_done(self, shard: Shard, now: Now) -> list[Effect]:
        """Nothing is left in this shard that must not count."""
        self.trimmed.discard(shard)
        return self._conclude(shard, now)

    # -- offers

    def offered(self, link: Link, shard: Shard, dots: Delta, now: Now) -> list[Effect]:
        """A peer says it has these. Ask at once, unless a closer node is about to send them."""
        missing = self._lacking(shard, dots, now)
        if not missing:
            return []
        soon = tuple(entry for entry in missing if self._is_coming(entry[0], link))
        effects: list[Effect] = []
        if soon:
            effects += self._remember(link.link, shard, soon, now)
        at_once = tuple(entry for entry in missing if entry not in soon)
        if at_once:
            effects += self._ask(link, shard, at_once, now)
        return effects

    def _is_coming(self, author: Author, link: Link) -> bool:
        """Whether the author itself, and not the one who offers, is linked with us: it pushes."""
        writer = node_of(author)
        return writer != link.peer and self._links.to(writer) is not None

    def _remember(self, link: int, shard: Shard, dots: Delta, now: Now) -> list[Effect]:
        offers = self._offers.setdefault(link, Offers())
        offers.shards.setdefault(shard, Knowledge()).merge(dots)
        if offers.is_timer_set:
            return []
        offers.is_timer_set = True
        return [SetTimer(PullDue(link), now.mono_ns + self._config.pull_delay_ns)]

    def handle_pull_due(self, number: int, now: Now) -> list[Effect]:
        offers = self._offers.pop(number, None)
        link = self._links.get(number)
        if offers is None or link is None:
            return []
        effects: list[Effect] = []
        for shard, dots in sorted(offers.shards.items()):
            missing = self._lacking(shard, dots.delta(), now)
            if missing:
                effects += self._ask(link, shard, missing, now)
        return effects

    def _lacking(self, shard: Shard, dots: Delta, now: Now) -> Delta:
        """Those of the dots that are neither here, nor on their way to the disk, nor asked for.

        Nor held off: it would be in vain.
        """
        missing = self._replica.shard(shard).seen.missing_from(dots)
        if missing and (late := self.beyond(shard, missing)):
            missing = Knowledge(late).missing_from(missing)
        if not missing:
            return ()
        for pull in self._pulls.values():
            if missing and pull.shard == shard:
                missing = pull.dots.missing_from(missing)
        if missing:
            missing = Knowledge(self._arriving(shard)).missing_from(missing)
        if missing and (early := self._held_off.among(shard, now)) is not None:
            missing = early.missing_from(missing)
        return missing

    # -- streams

    def _ask(self, link: Link, shard: Shard, missing: Delta, now: Now) -> list[Effect]:
        running = sum(p.link == link.link and p.knowledge is None for p in self._pulls.values())
        if running >= self._config.streams_max:
            return self._remember(link.link, shard, missing, now)
        dots = _first_ranges(missing)
        pull = Pull(self._next_stream, link.link, shard, Knowledge(dots))
        self._next_stream += 1
        self._pulls[pull.stream] = pull
        self._counters["dots_asked"] += count_of(dots)
        return [Send(link.link, Want(pull.stream, shard, dots)), self._watch(pull, now)]

    def _watch(self, pull: Pull, now: Now) -> Effect:
        return SetTimer(StreamOverdue(pull.stream, pull.mark), now.mono_ns + self._config.stall_timeout_ns)

    def arrived(self, stream: int, link: int, shard: Shard, records: Iterable[Record]) -> Pull | None:
        """These records of a stream came; the pull they belong to, if it still stands."""
        pull = self._pulls.get(stream)
        if pull is None or pull.link != link or pull.shard != shard:
            return None
        pull.mark += 1
        for record in records:
            pull.came.add(record.author, record.sequence, record.sequence)
        return pull

    def taint_all(self) -> None:
        """The disk refused commits: no stream may conclude anything from what it sent."""
        for pull in self._pulls.values():
            pull.is_tainted = True
            pull.uncommitted_count = 0
        self._drop_tainted()

    def abandoned(self, stream: int) -> None:
        """A record of the stream that waited for its chunks was given up."""
        pull = self._pulls.get(stream)
        if pull is not None:
            pull.is_tainted = True
            pull.uncommitted_count = max(0, pull.uncommitted_count - 1)
            self._drop_tainted()

    def _drop_tainted(self) -> None:
        """A tainted stream that has ended concludes nothing; its dots are free to be asked for again."""
        for pull in [pull for pull in self._pulls.values() if pull.is_tainted and pull.has_all]:
            del self._pulls[pull.stream]

    def handle_end(self, link: Link, end: StreamEnd, now: Now) -> list[Effect]:
        pull = self._pulls.get(end.stream)
        if pull is None or pull.link != link.link or pull.shard != end.shard:
            return []
        pull.mark += 1
        pull.told.merge(end.knowledge)
        pull.collected = highest(pull.collected, dict(end.collected))
        if not end.is_last:
            return []
        pull.knowledge = pull.told.delta()
        # What else the sender knew is asked for now: without it this stream cannot be concluded.
        return self.offered(link, pull.shard, pull.knowledge, now) + self._conclude(pull.shard, now)

    def committed(self, streams: dict[int, int], shards: Collection[Shard], now: Now) -> list[Effect]:
        """Records of these streams became durable; ended pulls in these shards may conclude now."""
        for stream, count in streams.items():
            pull = self._pulls.get(stream)
            if pull is not None:
                pull.uncommitted_count = max(0, pull.uncommitted_count - count)
        for pull in self._pulls.values():
            if pull.knowledge is not None and pull.shard in shards:
                pull.mark += 1  # It waits for other streams, and these get on.
        return [effect for shard in sorted(shards) for effect in self._conclude(shard, now)]

    def _conclude(self, shard: Shard, now: Now) -> list[Effect]:
        """End every pull of the shard that can end, and claim what their streams showed to be obsolete.

        The pulls are judged together: one may lack, of what its sender knew, just what another has
        found obsolete. That is still safe. What replaced a claimed dot is committed here or is
        claimed itself, because yet another record replaced it at the other sender; and since each
        replacement is causally later, that chain ends in a committed record. A pull of which everything
        came claims nothing, so it waits for nothing.
        """
        if shard in self.held or shard in self.trimmed:
            return []
        state = self._replica.shard(shard)
        all_ended = [pull for pull in self._pulls.values() if pull.shard == shard and pull.has_all]
        # Each commit comes by here, and a long knowledge with many gaps takes a while to compare.
        ended = _worth_a_look(all_ended, state.committed)
        if not ended:
            return []
        obsolete: dict[int, Delta] = {}
        lacking: dict[int, Delta] = {}
        for pull in ended:
            assert pull.knowledge is not None, "a stream that has all has ended"
            lacking[pull.stream] = state.committed.missing_from(pull.knowledge)
            absent = pull.came.missing_from(state.seen.missing_from(pull.knowledge))
            obsolete[pull.stream] = _common(absent, pull.dots)
        behind = [pull for pull in ended if obsolete[pull.stream] and _is_behind(pull, state.committed)]
        done = [pull for pull in ended if not pull.is_tainted and pull not in behind]
        while True:
            claimed = Knowledge()
            for pull in done:
                claimed.merge(obsolete[pull.stream])
            safe = []
            for pull in done:
                missing = claimed.missing_from(lacking[pull.stream]) if obsolete[pull.stream] else ()
                if missing:
                    author, ((low, _), *_) = missing[0]
                    pull.lacks = Dot(author, low)
                else:
                    safe.append(pull)
            if len(safe) == len(done):
                break
            done = safe
        if obsolete_dots := claimed.delta():
            self._replica.claim_obsolete(shard, obsolete_dots)
            self._counters["dots_obsolete"] += count_of(obsolete_dots)
        effects: list[Effect] = []
        for pull in [*done, *(pull for pull in ended if pull.is_tainted)]:
            del self._pulls[pull.stream]
        self._join_surplus([pull for pull in all_ended if pull.stream in self._pulls])
        for pull in done:
            link = self._links.get(pull.link)
            if link is not None:
                assert pull.knowledge is not None, "a stream that has all has ended"
                effects += self.handle_pull_due(link.link, now)
                effects += self.offered(link, shard, pull.knowledge, now)
        for pull in behind:
            if _is_behind(pull, state.seen):
                effects += self.on_behind(pull.link, shard, now)
        return effects

    def _join_surplus(self, waiting: Sequence[Pull]) -> None:
        """Keep few ended streams, and give none up: it may have found obsolete just what the others lack.

        Only those of one link join, so that a peer whose knowledge cannot be had delays no other's.
        """
        latest: dict[int, Pull] = {}
        for number, pull in enumerate(waiting):
            earlier = latest.get(pull.link)
            if number < ENDED_MAX or earlier is None:
                latest[pull.link] = pull
                continue
            earlier.absorb(pull)
            del self._pulls[pull.stream]
            self._counters["streams_joined"] += 1

    def handle_overdue(self, stream: int, mark: int, now: Now) -> tuple[list[Effect], bool]:
        """(effects, whether a stream was given up and repair should look elsewhere)."""
        pull = self._pulls.get(stream)
        if pull is None:
            return [], False
        if pull.mark != mark:
            return [self._watch(pull, now)], False
        del self._pulls[stream]
        self._counters["streams_stalled"] += 1
        return [], True

    def link_closed(self, link: int) -> None:
        self._offers.pop(link, None)
        for stream in [pull.stream for pull in self._pulls.values() if pull.link == link]:
            del self._pulls[stream]

    def __len__(self) -> int:
        return len(self._pulls)


def _is_behind(pull: Pull, knowledge: Knowledge) -> bool:
    """Whether some of what did not come may be a tombstone that its sender has dropped.

    Then nothing here tells which records it had deleted, and they must be compared first.
    """
    return not is_known(pull.collected.items(), knowledge)


def _first_ranges(delta: Delta) -> Delta:
    room = WANT_RANGES_MAX
    result = []
    for author, ranges in delta:
        part = ranges[:room]
        if part:
            result.append((author, part))
        room -= len(part)
    return tuple(result)


def _worth_a_look(ended: Sequence[Pull], committed: Knowledge) -> list[Pull]:
    """Those for which something has changed since a dot was missing: it is here, or somebody may claim it."""
    looked_at: list[Pull] = []
    stuck: list[Pull] = []
    for pull in ended:
        is_stuck = pull.lacks is not None and not pull.is_tainted and not committed.contains(*pull.lacks)
        (stuck if is_stuck else looked_at).append(pull)
    for pull in looked_at:  # It grows while it is walked.
        freed = [other for other in stuck if other.lacks is not None and pull.dots.contains(*other.lacks)]
        looked_at += freed
        stuck = [other for other in stuck if other not in freed]
    return looked_at


def _common(delta: Delta, knowledge: Knowledge) -> Delta:
    """The dots of `delta` that are in `knowledge`."""
    return Knowledge(knowledge.missing_from(delta)).missing_from(delta)
