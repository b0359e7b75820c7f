"""Push: as far as credit goes, and a word about the rest."""

from __future__ import annotations

from bellande_mesh_sync.core.counters import Counters
from bellande_mesh_sync.core.data.knowledge import Knowledge
from bellande_mesh_sync.core.data.record import Record
from bellande_mesh_sync.core.effects import Effect, Send
from bellande_mesh_sync.core.messages import Have, Records
from bellande_mesh_sync.core.session.links import Link
from bellande_mesh_sync.core.spreading.push import News, spread
from bellande_mesh_sync.core.spreading.weight import weight_of
from tests.core.making import SHARD, author_named, link_to, record

ALICE, BOB = author_named("alice"), author_named("bob")


def written(count: int, body: int = 10_000) -> list[Record]:
    return [record(f"fleet/{n}", ALICE, n, body=bytes(body)) for n in range(1, count + 1)]


def sent(effects: list[Effect], link: Link) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send) and effect.link == link.link]


def test_own_writes_go_to_every_peer_and_cost_credit() -> None:
    links = [link_to("bob", 1, credit=100_000), link_to("carol", 2, credit=100_000)]
    records = written(3)
    effects = spread(News({SHARD: records}), links, Counters())
    for link in links:
        assert sent(effects, link) == [Records(SHARD, 0, tuple(records))]
        assert link.credit == 100_000 - sum(map(weight_of, records))


def test_without_credit_a_peer_only_hears_what_there_is() -> None:
    link, counters = link_to("bob", credit=0), Counters()
    effects = spread(News({SHARD: written(3)}), [link], counters)
    assert sent(effects, link) == [Have(SHARD, ((ALICE, ((1, 3),)),))]
    assert link.credit == 0
    assert counters["records_held_back"] == 3


def test_credit_that_ends_in_the_middle_holds_back_everything_from_there() -> None:
    link = link_to("bob", credit=1)
    records = written(60)  # Three messages' worth.
    first, have = sent(spread(News({SHARD: records}), [link], Counters()), link)
    assert isinstance(first, Records)
    assert have == Have(SHARD, ((ALICE, ((len(first.records) + 1, 60),)),))
    assert link.credit == 1 - sum(map(weight_of, first.records))
    # A slow peer costs the others nothing.
    quick = link_to("carol", 2)
    assert not any(
        isinstance(m, Have) for m in sent(spread(News({SHARD: records}), [link, quick], Counters()), quick)
    )


def test_writes_of_others_are_told_and_not_pushed() -> None:
    link = link_to("carol")
    news = News({}, {SHARD: Knowledge(((BOB, ((4, 6),)),))})
    assert sent(spread(news, [link], Counters()), link) == [Have(SHARD, ((BOB, ((4, 6),)),))]
