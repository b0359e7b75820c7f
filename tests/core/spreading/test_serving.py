"""Serving: pages as fast as credit lasts, a few streams at a time."""

from __future__ import annotations

from bellande_mesh_sync.core.config import CoreConfig
from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.effects import CloseChanges, Effect, NextPage, OpenChanges, Send
from bellande_mesh_sync.core.events import PageRead
from bellande_mesh_sync.core.messages import Records, StreamEnd, Want
from bellande_mesh_sync.core.session.links import Links
from bellande_mesh_sync.core.spreading.serving import Serving
from bellande_mesh_sync.core.spreading.weight import weight_of
from tests.core.making import SHARD, author_named, link_to, node_of_name, record

ALICE = author_named("alice")
DOTS = ((ALICE, ((1, 9),)),)
PAGE = tuple(record(f"fleet/{n}", ALICE, n, body=bytes(1000)) for n in range(1, 4))


class Counter:
    """A serving with one peer's link."""

    def __init__(self, credit: int = 1 << 20, streams_max: int = 2) -> None:
        self.links = Links(node_of_name("alice"))
        self.link = link_to("bob", credit=credit)
        self.links.add(self.link)
        self.counters = Counters()
        self.serving = Serving(
            CoreConfig(streams_max=streams_max), self.links, self.counters, lambda shard: ()
        )

    def want(self, stream: int) -> list[Effect]:
        return self.serving.handle_want(self.link, Want(stream, SHARD, DOTS))


def page(reading: int, *, is_last: bool = False, code: str = "") -> PageRead:
    return PageRead(reading, () if code else PAGE, 3000, is_last, DOTS if is_last else (), code)


def test_a_want_becomes_pages_and_an_end() -> None:
    desk = Counter()
    assert desk.want(7) == [OpenChanges(1, SHARD, DOTS)]
    assert desk.serving.handle_page(page(1)) == [Send(1, Records(SHARD, 7, PAGE)), NextPage(1)]
    assert desk.serving.handle_page(page(1, is_last=True)) == [
        Send(1, Records(SHARD, 7, PAGE)),
        Send(1, StreamEnd(7, SHARD, DOTS)),
        CloseChanges(1),
    ]
    assert desk.link.credit == (1 << 20) - 2 * sum(map(weight_of, PAGE))
    assert desk.serving.handle_page(page(1)) == []  # Too late: nobody reads that any more.


def test_a_stream_pauses_without_credit_and_goes_on_with_it() -> None:
    desk = Counter(credit=100)
    desk.want(1)
    assert desk.serving.handle_page(page(1)) == [Send(1, Records(SHARD, 1, PAGE))]
    assert desk.link.credit < 0
    assert desk.serving.credit_came(desk.link) == []  # Still in debt.
    desk.link.credit = 1
    assert desk.serving.credit_came(desk.link) == [NextPage(1)]
    assert desk.serving.credit_came(desk.link) == []  # Asked for once.


def test_only_so_many_streams_run_and_wait_at_once() -> None:
    desk = Counter(streams_max=2)
    assert desk.want(1)
    assert desk.want(2)
    assert [desk.want(n) for n in (3, 4, 5)] == [[], [], []]
    assert desk.counters["wants_refused"] == 1
    *_, opened = desk.serving.handle_page(page(1, is_last=True))
    assert opened == OpenChanges(3, SHARD, DOTS)
    sent = desk.serving.handle_page(page(3, is_last=True))
    assert Send(1, StreamEnd(3, SHARD, DOTS)) in sent  # The asker's number, not ours.


def test_a_link_that_closes_in_mid_page_closes_its_views_and_nothing_more() -> None:
    desk = Counter(streams_max=2)
    for stream in (1, 2, 3):
        desk.want(stream)
    desk.links.remove(1)
    assert desk.serving.link_closed(1) == [CloseChanges(1), CloseChanges(2)]
    assert desk.serving.handle_page(page(1)) == []
    assert desk.serving.link_closed(1) == []


def test_a_page_that_cannot_be_read_ends_the_reading_without_an_end_of_the_stream() -> None:
    desk = Counter()
    desk.want(1)
    assert desk.serving.handle_page(page(1, code="storage")) == [CloseChanges(1)]
    assert desk.counters["pages_unreadable"] == 1
