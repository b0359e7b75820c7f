"""Fetching: chunks from whoever has them, and nobody waits for ever."""

from __future__ import annotations

from blake3 import blake3

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.record import CHUNK_BYTES_MAX, ChunkRef, Record
from bellande_mesh_sync.core.effects import Effect, FindMissing, Send, SetTimer
from bellande_mesh_sync.core.events import MissingFound
from bellande_mesh_sync.core.messages import CHUNKS_LANE, ChunkWant
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.spreading import fetching
from bellande_mesh_sync.core.spreading.fetching import Fetch, Fetcher
from bellande_mesh_sync.core.timers import FetchOverdue
from tests.core.making import SHARD, at, author_named, large_record, link_to, node_of_name

ALICE = author_named("alice")
BOB, CAROL = node_of_name("bob"), node_of_name("carol")
BODIES = [bytes([n]) * 1000 for n in range(9)]
HASHES = [blake3(body).digest() for body in BODIES]
LANE = {"bob": 11, "carol": 12}


class Depot:
    """A fetcher with links to bob and carol, and the chunks this disk has."""

    def __init__(self, window: int = 1 << 20, *, lanes: bool = True, share: int = 1 << 20) -> None:
        self.links = Links(node_of_name("alice"))
        for number, name in enumerate(LANE, 1):
            self.links.add(link_to(name, number))
            if lanes:
                self.links.add(link_to(name, LANE[name], lane=CHUNKS_LANE))
        self.counters = Counters()
        self.fetcher = Fetcher(
            CoreConfig(fetch_window_bytes=window, share_bytes=share), self.links, self.counters
        )
        self.here: set[bytes] = set()
        self.whole: list[Fetch] = []
        self.given_up: list[Fetch] = []
        self.asked: list[tuple[int, bytes]] = []
        self.timers: list[FetchOverdue] = []

    def start(self, record: Record, peer: bytes = BOB, stream: int = 1) -> bool:
        effects = self.fetcher.start(SHARD, record, stream, peer)  # type: ignore[arg-type]
        self.perform(effects or [])
        return effects is not None

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case FindMissing(fetch=number, manifest=manifest):
                    missing = tuple(chunk for chunk in manifest.chunks if chunk.hash not in self.here)
                    self.found(number, missing)
                case Send(link=link, message=ChunkWant(hashes=hashes)):
                    self.asked += [(link, each) for each in hashes]
                case SetTimer(timer=FetchOverdue() as timer):
                    self.timers.append(timer)
                case _:
                    raise AssertionError(effect)

    def found(self, number: int, missing: tuple[ChunkRef, ...], code: str = "") -> None:
        effects, whole, given_up = self.fetcher.handle_missing(
            MissingFound(number, missing, False, code), at()
        )
        self.whole += whole
        self.given_up += given_up
        self.perform(effects)

    def stored(self, peer: bytes, *numbers: int) -> None:
        hashes = tuple(HASHES[number] for number in numbers)
        self.here |= set(hashes)
        effects, _ = self.fetcher.stored(peer, hashes, at())  # type: ignore[arg-type]
        self.perform(effects)

    def has_too(self, peer: bytes, *sequences: int) -> None:
        dots = ((ALICE, tuple((sequence, sequence) for sequence in sequences)),)
        self.perform(self.fetcher.has_too(peer, SHARD, dots, at()))  # type: ignore[arg-type]

    def refused(self, peer: bytes, *numbers: int) -> None:
        effects, given_up = self.fetcher.refused(peer, tuple(HASHES[n] for n in numbers), at())  # type: ignore[arg-type]
        self.given_up += given_up
        self.perform(effects)

    def close(self, link: int) -> None:
        self.links.remove(link)
        effects, given_up = self.fetcher.link_closed(link, at())
        self.given_up += given_up
        self.perform(effects)

    def take_asked(self) -> list[tuple[int, int]]:
        taken = [(link, HASHES.index(each)) for link, each in self.asked]
        self.asked.clear()
        return taken


def value(sequence: int, *numbers: int) -> Record:
    return large_record(f"fleet/{sequence}", ALICE, sequence, [BODIES[number] for number in numbers])


def test_a_record_is_whole_when_its_last_chunk_is_stored() -> None:
    depot = Depot()
    depot.start(value(1, 0, 1, 2))
    assert depot.take_asked() == [(11, 0), (11, 1), (11, 2)]
    depot.stored(BOB, 1)
    depot.stored(BOB, 0)
    assert depot.whole == []
    depot.stored(BOB, 2)
    assert [fetch.record.sequence for fetch in depot.whole] == [1]
    assert len(depot.fetcher) == 0
    assert depot.fetcher.arriving(SHARD) == ()


def test_chunks_that_are_here_already_are_not_asked_for() -> None:
    depot = Depot()
    depot.here = {HASHES[0]}
    depot.start(value(1, 0, 1))
    assert depot.take_asked() == [(11, 1)]
    depot.start(value(2, 0))
    assert [fetch.record.sequence for fetch in depot.whole] == [2]


def test_no_more_is_asked_of_a_peer_than_the_window_allows() -> None:
    depot = Depot(window=2500)
    depot.start(value(1, 0, 1, 2, 3, 4))
    assert depot.take_asked() == [(11, 0), (11, 1), (11, 2)]
    depot.stored(BOB, 0)
    assert depot.take_asked() == [(11, 3)]
    depot.stored(BOB, 1, 2, 3)
    assert depot.take_asked() == [(11, 4)]


def test_a_chunk_that_several_records_wait_for_is_asked_for_once() -> None:
    depot = Depot()
    depot.start(value(1, 0, 1))
    depot.start(value(2, 1), peer=CAROL)
    assert depot.take_asked() == [(11, 0), (11, 1)]
    depot.stored(BOB, 1)
    assert [fetch.record.sequence for fetch in depot.whole] == [2]
    depot.stored(BOB, 0)
    assert [fetch.record.sequence for fetch in depot.whole] == [2, 1]


def test_a_record_that_arrives_already_gains_a_source() -> None:
    depot = Depot()
    first = value(1, 0)
    depot.start(first)
    assert depot.fetcher.is_arriving(SHARD, first.dot)
    assert not depot.fetcher.is_arriving(SHARD, value(2, 0).dot)
    depot.has_too(CAROL, 1, 2)
    assert depot.fetcher.arriving(SHARD) == ((ALICE, ((1, 1),)),)
    depot.take_asked()
    depot.refused(BOB, 0)
    assert depot.take_asked() == [(12, 0)]
    depot.stored(CAROL, 0)
    assert len(depot.whole) == 1


def test_a_chunk_nobody_has_is_given_up_after_some_tries() -> None:
    depot = Depot()
    depot.start(value(1, 0))
    for _ in range(50):
        if depot.given_up:
            break
        ((link, _),) = depot.take_asked()
        depot.refused(BOB if link == 11 else CAROL, 0)
    assert [fetch.record.sequence for fetch in depot.given_up] == [1]
    assert len(depot.fetcher) == 0
    assert depot.fetcher.arriving(SHARD) == ()


def test_a_lost_link_hands_its_chunks_to_the_next_source() -> None:
    depot = Depot()
    record = value(1, 0, 1)
    depot.start(record)
    depot.has_too(CAROL, 1)
    depot.take_asked()
    depot.stored(BOB, 0)
    depot.links.remove(1)
    depot.close(11)
    assert depot.take_asked() == [(12, 1)]
    depot.stored(CAROL, 1)
    assert len(depot.whole) == 1


def test_a_record_is_given_up_when_its_last_source_is_gone() -> None:
    depot = Depot()
    depot.start(value(1, 0))
    for link in (1, 2, 12, 11):
        depot.close(link)
    assert len(depot.given_up) == 1
    assert len(depot.fetcher) == 0


def test_a_manifest_that_cannot_be_followed_is_given_up() -> None:
    depot = Depot()
    effects = depot.fetcher.start(SHARD, value(1, 0), 1, BOB)
    assert effects is not None
    depot.found(1, (), code="corrupt_store")
    assert len(depot.given_up) == 1
    depot.found(1, ())  # The answer to a question nobody waits for.
    assert len(depot.whole) == 0


def test_only_so_many_records_may_wait() -> None:
    depot = Depot()
    limit, fetching.FETCHES_MAX = fetching.FETCHES_MAX, 2
    try:
        assert depot.start(value(1, 0))
        assert depot.start(value(2, 1))
        assert not depot.start(value(3, 2))
    finally:
        fetching.FETCHES_MAX = limit
    assert depot.counters["fetches_refused"] == 1


def test_a_peer_without_a_link_for_chunks_needs_one() -> None:
    depot = Depot(lanes=False)
    depot.start(value(1, 0))
    assert depot.take_asked() == []
    assert depot.fetcher.needs_link() == [BOB]
    depot.perform(depot.fetcher.link_opened(BOB, 1, at()))  # The link for records will do.
    assert depot.take_asked() == [(1, 0)]
    assert depot.fetcher.needs_link() == []


def test_a_link_that_brings_no_chunk_for_too_long_is_stalled() -> None:
    depot = Depot()
    depot.start(value(1, 0, 1))
    (timer,) = depot.timers
    depot.stored(BOB, 0)
    effects, is_stalled = depot.fetcher.handle_overdue(timer.link, timer.mark, at())
    assert not is_stalled
    depot.timers.clear()
    depot.perform(effects)
    (timer,) = depot.timers
    assert depot.fetcher.handle_overdue(timer.link, timer.mark, at()) == ([], True)
    depot.stored(BOB, 1)
    assert depot.fetcher.handle_overdue(timer.link, timer.mark, at()) == ([], False)


def test_a_peer_cannot_refuse_chunks_that_were_asked_of_another() -> None:
    """A manifest is no secret: else one bad member could make every fetch from good ones fail."""
    depot = Depot()
    depot.start(value(1, 0))
    for _ in range(20):
        depot.refused(CAROL, 0)
    assert depot.given_up == []
    depot.stored(BOB, 0)
    assert len(depot.whole) == 1


# -- ahead of the record -----------------------------------------------------------------------


def refs(*numbers: int) -> tuple[ChunkRef, ...]:
    return tuple(ChunkRef(HASHES[number], len(BODIES[number])) for number in numbers)


def test_offered_chunks_are_fetched_before_their_record_comes() -> None:
    depot = Depot()
    depot.perform(depot.fetcher.fetch_ahead(BOB, refs(0, 1)))
    assert depot.take_asked() == [(11, 0), (11, 1)]
    depot.stored(BOB, 0)
    depot.start(value(1, 0, 1, 2))
    assert depot.take_asked() == [(11, 2)]  # One is here, one is on its way.
    depot.stored(BOB, 2)
    assert depot.whole == []
    depot.stored(BOB, 1)
    assert [fetch.record.sequence for fetch in depot.whole] == [1]


def test_chunks_ahead_whose_record_never_comes_hold_nothing_up() -> None:
    depot = Depot()
    depot.perform(depot.fetcher.fetch_ahead(BOB, refs(0)))
    depot.refused(BOB, 0)
    depot.perform(depot.fetcher.fetch_ahead(BOB, refs(1)))
    depot.close(11)
    assert (len(depot.fetcher), depot.given_up) == (0, [])
    depot.start(value(1, 1), CAROL)
    assert depot.take_asked()[-1] == (12, 1)


def test_what_a_peer_may_have_us_store_without_a_record_is_bounded() -> None:
    depot = Depot()
    most = fetching.AHEAD_BYTES_MAX // CHUNK_BYTES_MAX
    assert depot.fetcher.fetch_ahead(BOB, (ChunkRef(HASHES[0], CHUNK_BYTES_MAX),) * (most + 1)) == []
    assert depot.counters["chunks_not_fetched_ahead"] == most + 1
    offers = [depot.fetcher.fetch_ahead(BOB, refs(0)) for _ in range(fetching.AHEAD_OFFERS_MAX + 1)]
    assert offers[-2]
    assert not offers[-1]


# -- several sources


def test_whoever_has_it_too_gives_the_later_half_of_what_was_not_asked_for_yet() -> None:
    depot = Depot(window=1000, share=2000)
    depot.start(value(1, *range(9)))
    assert depot.take_asked() == [(11, 0)]
    depot.has_too(CAROL, 1)
    assert depot.take_asked() == [(12, 5)]
    depot.stored(CAROL, 5)
    depot.stored(BOB, 0)
    assert sorted(depot.take_asked()) == [(11, 1), (12, 6)]


def test_who_is_done_takes_half_of_the_rest() -> None:
    depot = Depot(window=1000, share=2000)
    depot.start(value(1, *range(9)))
    depot.has_too(CAROL, 1)
    depot.stored(CAROL, 5, 6, 7, 8)
    assert depot.take_asked()[-1] == (12, 3)
    depot.stored(BOB, 0)
    depot.stored(CAROL, 3)
    while asked := depot.take_asked():
        for link, number in asked:
            depot.stored(BOB if link == 11 else CAROL, number)
    assert len(depot.whole) == 1
    assert depot.counters["chunks_shared"] > 4


def test_no_peer_is_asked_for_chunks_of_records_that_it_does_not_have() -> None:
    depot = Depot(window=1000, share=1)
    depot.start(value(1, 0, 1, 2, 3))
    depot.start(value(2, 4, 5, 6, 7))
    depot.take_asked()
    depot.has_too(CAROL, 2)
    for _ in range(9):
        depot.stored(CAROL, *[number for link, number in depot.take_asked() if link == 12])
    assert depot.here <= {HASHES[number] for number in (4, 5, 6, 7)}


def test_who_gave_a_wrong_chunk_is_asked_for_no_more_of_the_record_while_others_have_it() -> None:
    depot = Depot(window=1000, share=1)
    depot.start(value(1, *range(9)))
    depot.has_too(CAROL, 1)
    (carols,) = [number for link, number in depot.take_asked() if link == 12]
    depot.refused(CAROL, carols)
    depot.stored(BOB, 0)
    while asked := depot.take_asked():
        assert {link for link, _ in asked} == {11}
        depot.stored(BOB, *[number for _, number in asked])
    assert len(depot.whole) == 1


def test_a_lost_source_costs_none_of_what_others_are_giving() -> None:
    depot = Depot(window=3000, share=1)
    depot.start(value(1, *range(9)))
    depot.has_too(CAROL, 1)
    asked = depot.take_asked()
    depot.links.remove(2)
    depot.close(12)
    again = depot.take_asked()
    assert not {number for link, number in asked if link == 11} & {number for _, number in again}
    depot.stored(BOB, *range(9))
    assert len(depot.whole) == 1


def test_little_is_left_to_the_one_who_has_it() -> None:
    depot = Depot(window=1000, share=100_000)
    depot.start(value(1, *range(9)))
    depot.has_too(CAROL, 1)
    assert {link for link, _ in depot.take_asked()} == {11}


def test_others_are_looked_for_while_much_is_to_come_from_one() -> None:
    depot = Depot(window=1000, share=2000)
    depot.start(value(1, *range(9)))
    assert depot.fetcher.wants_sources(1) == SHARD
    depot.has_too(CAROL, 1)
    assert depot.fetcher.wants_sources(1) is None
