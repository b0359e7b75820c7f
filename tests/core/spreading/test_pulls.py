"""Pulls: what to ask whom, and when what did not come may be called obsolete."""

from __future__ import annotations

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Delta
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Effect, Send, SetTimer
from bellande_mesh_sync.core.messages import StreamEnd, Want
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.spreading import pulls as pulls_module
from bellande_mesh_sync.core.spreading.held_off import HeldOff
from bellande_mesh_sync.core.spreading.pulls import Pulls
from bellande_mesh_sync.core.timers import PullDue, StreamOverdue
from bellande_mesh_sync.ids import Author
from tests.core.making import SHARD, Disk, at, author_named, link_to, node_of_name, record

BOB, CAROL, DAVE = author_named("bob"), author_named("carol"), author_named("dave")
NUMBER = {"bob": 1, "carol": 2}


def dots(author: Author, *ranges: tuple[int, int]) -> Delta:
    return ((author, ranges),)


class Asking:
    """Alice, linked with bob and carol, and what she asked for."""

    def __init__(self, config: CoreConfig | None = None, *peers: str) -> None:
        self.disk = Disk("alice")
        self.links = Links(node_of_name("alice"))
        self.by_name = {}
        for name in peers or ("bob", "carol"):
            self.by_name[name] = link_to(name, NUMBER[name])
            self.links.add(self.by_name[name])
        self.counters = Counters()
        self.arriving: Delta = ()
        self.held_off = HeldOff(self.disk.replica.clock)
        self.pulls = Pulls(
            config or CoreConfig(), node_of_name("alice"), self.links, self.disk.replica, self.counters,
            lambda shard: self.arriving, self.held_off,
        )  # fmt: skip
        self.wants: list[tuple[int, Want]] = []
        self.timers: list[PullDue | StreamOverdue] = []

    def take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                assert isinstance(effect.message, Want)
                self.wants.append((effect.link, effect.message))
            else:
                assert isinstance(effect, SetTimer)
                assert isinstance(effect.timer, PullDue | StreamOverdue)
                self.timers.append(effect.timer)

    def offered(self, name: str, delta: Delta) -> None:
        self.take(self.pulls.offered(self.by_name[name], SHARD, delta, at()))

    def arrived(self, stream: int, *records: Record) -> None:
        """Records of a stream come in and are in a commit that is not durable yet, as a node does it."""
        number = next(link for link, want in self.wants if want.stream == stream)
        pull = self.pulls.arrived(stream, number, SHARD, records)
        self.disk.replica.accept(SHARD, records, at())
        if pull is not None:
            pull.uncommitted_count += len(records)
            self.disk.replica.draft.streams[stream] += len(records)
        self.disk.seal()

    def end(self, stream: int, knowledge: Delta) -> None:
        name = next(n for n, k in NUMBER.items() if k == next(x for x, w in self.wants if w.stream == stream))
        self.take(self.pulls.handle_end(self.by_name[name], StreamEnd(stream, SHARD, knowledge), at()))
        self.disk.seal()

    def commit(self) -> None:
        """Everything becomes durable, also what the pulls conclude from it."""
        while done := self.disk.commit():
            streams: dict[int, int] = {}
            for commit in done:
                for stream, count in commit.draft.streams.items():
                    streams[stream] = streams.get(stream, 0) + count
            self.take(self.pulls.committed(streams, {SHARD}, at()))
            self.disk.seal()

    def asked(self) -> list[tuple[int, Delta]]:
        return [(link, want.dots) for link, want in self.wants]

    def known(self) -> Delta:
        return self.disk.replica.shard(SHARD).committed.delta()


def test_what_is_lacking_is_asked_of_the_author_at_once() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 9)))
    assert asking.asked() == [(1, dots(BOB, (1, 9)))]


def test_nothing_is_asked_twice_at_once() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 9)))
    asking.offered("bob", dots(BOB, (1, 9)))
    asking.offered("carol", dots(BOB, (5, 12)))
    asking.take(asking.pulls.handle_pull_due(2, at()))
    assert asking.asked() == [(1, dots(BOB, (1, 9))), (2, dots(BOB, (10, 12)))]


def test_what_is_here_or_waits_for_its_chunks_is_not_asked_for() -> None:
    asking = Asking()
    asking.disk.accept(record("fleet/a", BOB, 2))  # Not durable yet, but here.
    asking.arriving = dots(BOB, (4, 4))
    asking.offered("bob", dots(BOB, (1, 5)))
    assert asking.asked() == [(1, dots(BOB, (1, 1), (3, 3), (5, 5)))]


def test_another_nodes_offer_waits_a_moment_while_the_author_is_linked_and_pushes() -> None:
    asking = Asking()
    asking.offered("carol", dots(BOB, (1, 2)))
    asking.offered("carol", dots(BOB, (3, 3)))
    assert asking.asked() == []
    assert asking.timers == [PullDue(2)]  # One timer, however many offers.
    asking.disk.accept(record("fleet/a", BOB, 1))  # The push.
    asking.take(asking.pulls.handle_pull_due(2, at()))
    assert asking.asked() == [(2, dots(BOB, (2, 3)))]


def test_an_offer_of_an_author_without_a_link_is_taken_at_once() -> None:
    asking = Asking()
    asking.offered("carol", ((BOB, ((1, 1),)), (DAVE, ((1, 1),))))
    assert asking.asked() == [(2, dots(DAVE, (1, 1)))]


def test_an_offer_whose_link_is_gone_is_forgotten() -> None:
    asking = Asking()
    asking.offered("carol", dots(BOB, (1, 1)))
    asking.links.remove(2)
    asking.pulls.link_closed(2)
    assert asking.pulls.handle_pull_due(2, at()) == []


def test_no_more_than_so_many_streams_are_asked_of_a_link() -> None:
    asking = Asking(CoreConfig(streams_max=2))
    for number in (1, 3, 5, 7):
        asking.offered("bob", dots(BOB, (number, number)))
    assert len(asking.wants) == 2
    asking.arrived(1, record("fleet/a", BOB, 1))
    asking.end(1, dots(BOB, (1, 1)))
    asking.commit()
    assert asking.asked()[2] == (1, dots(BOB, (5, 5), (7, 7)))


def test_dots_that_did_not_come_are_claimed_once_everything_that_did_is_durable() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    asking.arrived(1, record("fleet/a", BOB, 3, context=((BOB, 2, ()),)))
    asking.end(1, dots(BOB, (1, 3)))
    assert asking.known() == ()
    asking.commit()
    assert asking.known() == dots(BOB, (1, 3))
    assert len(asking.pulls) == 0
    asking.disk.check()


def test_nothing_is_claimed_before_the_record_that_replaced_it_is_here() -> None:
    """Carol's view is newer than her offer: what replaced bob's first write is in nobody's Want yet."""
    asking = Asking(None, "carol")
    asking.offered("carol", dots(BOB, (1, 1)))
    asking.end(1, ((BOB, ((1, 1),)), (CAROL, ((1, 1),))))
    asking.commit()
    assert asking.known() == ()
    replacing = record("fleet/a", CAROL, 1, context=((BOB, 1, ()),))
    asking.disk.accept(replacing)
    asking.commit()
    assert asking.known() == ((BOB, ((1, 1),)), (CAROL, ((1, 1),))) or asking.known() == (
        (CAROL, ((1, 1),)),
        (BOB, ((1, 1),)),
    )
    asking.disk.check()


def test_a_record_that_is_only_seen_is_not_enough_to_claim_anything() -> None:
    asking = Asking(None, "carol")
    asking.disk.accept(record("fleet/a", CAROL, 1, context=((BOB, 1, ()),)))
    asking.offered("carol", dots(BOB, (1, 1)))
    asking.end(1, tuple(sorted([(BOB, ((1, 1),)), (CAROL, ((1, 1),))])))
    assert not asking.disk.replica.shard(SHARD).seen.contains(BOB, 1)
    asking.disk.refuse()
    asking.pulls.taint_all()
    assert asking.known() == ()
    assert not asking.disk.replica.shard(SHARD).seen.contains(BOB, 1)


def test_a_refused_commit_keeps_every_running_stream_from_concluding() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    asking.arrived(1, record("fleet/c", BOB, 3, context=((BOB, 2, ()),)))
    asking.disk.refuse()
    asking.pulls.taint_all()
    asking.end(1, dots(BOB, (1, 3)))
    asking.commit()
    assert asking.known() == ()
    assert len(asking.pulls) == 0
    asking.offered("bob", dots(BOB, (1, 3)))  # Repair asks for all of it again.
    assert asking.asked()[-1] == (1, dots(BOB, (1, 3)))


def test_a_stream_with_a_record_that_was_not_taken_in_claims_nothing() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    link = next(iter(asking.links.records_links()))
    pull = asking.pulls.arrived(1, link.link, SHARD, [])
    assert pull is not None
    pull.is_tainted = True
    asking.end(1, dots(BOB, (1, 3)))
    asking.commit()
    assert asking.known() == ()
    assert len(asking.pulls) == 0


def test_a_fetch_given_up_taints_its_stream() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 2)))
    pull = asking.pulls.arrived(1, 1, SHARD, [])
    assert pull is not None
    pull.uncommitted_count += 1
    asking.end(1, dots(BOB, (1, 2)))
    asking.pulls.abandoned(1)
    asking.disk.accept(record("fleet/z", CAROL, 1))
    asking.commit()
    assert asking.known() == dots(CAROL, (1, 1))
    assert len(asking.pulls) == 0


def test_records_and_ends_count_only_on_the_link_and_for_the_shard_they_were_asked_for() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    assert asking.pulls.arrived(1, 2, SHARD, []) is None
    assert asking.pulls.arrived(1, 1, "other/0", []) is None  # type: ignore[arg-type]
    assert asking.pulls.arrived(9, 1, SHARD, []) is None
    assert (
        asking.pulls.handle_end(asking.by_name["carol"], StreamEnd(1, SHARD, dots(BOB, (1, 3))), at()) == []
    )
    assert len(asking.pulls) == 1


def test_a_stream_without_progress_is_given_up_and_its_dots_can_be_asked_elsewhere() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    assert asking.pulls.handle_overdue(1, 0, at()) == ([], True)
    assert asking.pulls.handle_overdue(1, 0, at()) == ([], False)
    asking.offered("carol", dots(BOB, (1, 3)))
    asking.take(asking.pulls.handle_pull_due(2, at()))
    assert asking.asked()[-1] == (2, dots(BOB, (1, 3)))


def test_a_stream_with_progress_is_watched_on() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    asking.arrived(1, record("fleet/a", BOB, 1))
    (watch,), is_stalled = asking.pulls.handle_overdue(1, 0, at())
    assert not is_stalled
    assert isinstance(watch, SetTimer)
    assert watch.timer == StreamOverdue(1, 1)


def test_a_lost_link_frees_its_dots() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    asking.links.remove(1)
    asking.pulls.link_closed(1)
    asking.offered("carol", dots(BOB, (1, 3)))
    assert asking.asked()[-1] == (2, dots(BOB, (1, 3)))


def test_what_was_known_at_the_end_but_not_offered_before_is_asked_for_next() -> None:
    asking = Asking(None, "carol")
    asking.offered("carol", dots(BOB, (1, 1)))
    asking.arrived(1, record("fleet/a", BOB, 1))
    asking.end(1, dots(BOB, (1, 4)))
    asking.commit()
    assert asking.asked()[-1] == (2, dots(BOB, (2, 4)))


def test_more_ranges_than_fit_one_want_are_all_asked_for_in_the_end() -> None:
    """After a link broke in mid-stream, what came is full of holes where replaced writes were."""
    limit, pulls_module.WANT_RANGES_MAX = pulls_module.WANT_RANGES_MAX, 2
    try:
        asking = Asking(None, "bob")
        asking.disk.accept(*(record(f"fleet/{n}", BOB, n) for n in (2, 4, 6, 8)))
        asking.commit()
        whole = dots(BOB, (1, 9))
        asking.offered("bob", whole)
        for _ in range(10):  # Bob has none of them: all were replaced by the last one.
            running = [want.stream for _, want in asking.wants][-1]
            if len(asking.pulls) == 0:
                break
            if any(9 in (low, high) for _, ranges in asking.wants[-1][1].dots for low, high in ranges):
                asking.arrived(running, record("fleet/z", BOB, 9, context=((BOB, 0, (1, 3, 5, 7)),)))
            asking.end(running, whole)
            asking.commit()
        assert asking.known() == whole
    finally:
        pulls_module.WANT_RANGES_MAX = limit


def test_two_streams_that_both_wait_for_the_other_conclude_together() -> None:
    """Each sender's view knows the dots that are obsolete in the other stream."""
    asking = Asking(None, "bob", "carol")
    asking.disk.accept(record("fleet/a", DAVE, 2, context=((DAVE, 1, ()),)))
    asking.disk.accept(record("fleet/b", DAVE, 4, context=((DAVE, 0, (3,)),)))
    asking.commit()
    asking.offered("bob", dots(DAVE, (1, 1)))
    asking.offered("carol", dots(DAVE, (3, 3)))
    asking.end(1, dots(DAVE, (1, 4)))
    asking.end(2, dots(DAVE, (1, 4)))
    asking.commit()
    assert asking.known() == dots(DAVE, (1, 4))
    assert len(asking.pulls) == 0


def test_a_bad_record_on_another_link_does_not_taint_a_stream() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 3)))
    assert asking.pulls.arrived(1, 2, SHARD, []) is None
    assert len(asking.pulls) == 1


def test_a_stream_of_which_everything_came_waits_for_nothing_else() -> None:
    asking = Asking()
    asking.offered("bob", dots(BOB, (1, 1)))
    asking.arrived(1, record("fleet/a", BOB, 1))
    asking.held_off.note(SHARD, record("fleet/x", DAVE, 1, stamp=at().wall_ms + 600_000 << 16), at())
    asking.end(1, ((BOB, ((1, 1),)), (DAVE, ((1, 1),))))
    assert len(asking.pulls) == 1  # What came is not durable yet.
    asking.commit()
    assert len(asking.pulls) == 0
    assert asking.known() == dots(BOB, (1, 1))


def test_no_more_ended_streams_of_a_link_wait_for_what_is_held_off_than_the_bound() -> None:
    asking = Asking()
    asking.held_off.note(SHARD, record("fleet/x", DAVE, 1, stamp=at().wall_ms + 600_000 << 16), at())
    last = pulls_module.ENDED_MAX + 9
    for number in range(1, last + 1):
        asking.offered("bob", dots(BOB, (number, number)))
        asking.end(number, ((BOB, ((1, number),)), (DAVE, ((1, 1),))))
    assert len(asking.pulls) == pulls_module.ENDED_MAX
    assert asking.counters["streams_joined"] == 9
    assert asking.known() == ()
    # None of them was given up: nothing is asked for twice, and when its time comes all is concluded.
    asking.offered("bob", dots(BOB, (1, last)))
    assert len(asking.asked()) == last
    asking.disk.accept(record("fleet/x", DAVE, 1))
    asking.commit()
    assert len(asking.pulls) == 0
    assert asking.known() == ((BOB, ((1, last),)), (DAVE, ((1, 1),)))


def test_more_ended_streams_than_the_bound_that_all_wait_for_each_other_conclude_together() -> None:
    """Both senders know all dots, and each stream asked for one that only the next record replaced."""
    last = 2 * pulls_module.ENDED_MAX
    asking = Asking(CoreConfig(streams_max=last))
    asking.disk.accept(record("fleet/x", DAVE, 1, context=((BOB, last, ()),)))
    asking.commit()
    whole = ((BOB, ((1, last),)), (DAVE, ((1, 1),)))
    for number in range(1, last + 1):
        asking.offered("bob" if number % 7 else "carol", dots(BOB, (number, number)))
        asking.take(asking.pulls.handle_pull_due(NUMBER["carol"], at()))
    for number in range(1, last):
        asking.end(number, whole)
    assert asking.known() == dots(DAVE, (1, 1))
    asking.end(last, whole)
    asking.commit()
    assert len(asking.pulls) == 0
    assert asking.known() == whole
    assert len(asking.asked()) == last


def test_a_dot_that_its_sender_learned_of_only_after_it_was_asked_is_not_taken_as_obsolete() -> None:
    asking = Asking()
    asking.held_off.note(SHARD, record("fleet/x", DAVE, 1, stamp=at().wall_ms + 600_000 << 16), at())
    for number in range(1, pulls_module.ENDED_MAX + 1):
        asking.offered("bob", dots(BOB, (number, number)))
        asking.end(number, ((BOB, ((1, number),)), (DAVE, ((1, 1),))))
    surplus = pulls_module.ENDED_MAX + 1
    live, last = surplus + 1, surplus + 2
    asking.offered("bob", dots(BOB, (surplus, live)))
    asking.end(surplus, ((BOB, ((1, surplus),)), (DAVE, ((1, 1),))))
    asking.offered("bob", dots(BOB, (last, last)))
    asking.end(live, ((BOB, ((1, last),)), (DAVE, ((1, 1),))))
    assert asking.asked()[-1] == (1, dots(BOB, (live, live)))
    asking.disk.accept(record("fleet/x", DAVE, 1))
    asking.commit()
    assert asking.known() == ((BOB, ((1, pulls_module.ENDED_MAX - 1),)), (DAVE, ((1, 1),)))
    asking.arrived(last, record("fleet/y", BOB, live))
    asking.end(last, ((BOB, ((1, last),)), (DAVE, ((1, 1),))))
    asking.commit()
    assert asking.known() == ((BOB, ((1, last),)), (DAVE, ((1, 1),)))
