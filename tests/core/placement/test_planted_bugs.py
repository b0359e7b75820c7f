"""Bugs planted in how shards are handed over: what watches the disks finds each of them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from bellande_mesh_sync.core.effects import Effect, Send
from bellande_mesh_sync.core.messages import HoldAnswer, HoldWant
from bellande_mesh_sync.core.placement.custody import Custody
from bellande_mesh_sync.core.placement.placed_acks import PlacedWaiting
from bellande_mesh_sync.core.placement.release import Release, Round
from bellande_mesh_sync.core.session.links import Link
from bellande_mesh_sync.core.spreading.acks import Log
from bellande_mesh_sync.ids import Now, Shard
from tests.core.placement import test_placed_nodes as nodes

SEEDS = 40


def let_go_when_one_owner_has_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Round, "is_agreed", property(lambda round: len(round.answers) >= 1))


def let_go_at_once(patch: pytest.MonkeyPatch) -> None:
    """A hint is dropped as soon as its owners were told of it."""
    ask = Release._ask

    def eager(self: Release, shard: Shard, now: Now) -> list[Effect]:
        effects = ask(self, shard, now)
        self._agreed[shard] = self._rounds[shard]
        return [*effects, *self._read_next()]

    patch.setattr(Release, "_ask", eager)


def say_yes_to_what_is_not_on_the_disk(patch: pytest.MonkeyPatch) -> None:
    honest = Custody.handle_hold_want

    def false(self: Custody, link: Link, want: HoldWant, now: Now) -> list[Effect]:
        effects = honest(self, link, want, now)
        return [
            Send(link.link, HoldAnswer(want.number, True)) if _is_answer(each) else each for each in effects
        ]

    patch.setattr(Custody, "handle_hold_want", false)


def _is_answer(effect: Effect) -> bool:
    return isinstance(effect, Send) and isinstance(effect.message, HoldAnswer)


@pytest.mark.parametrize(
    "plant", [let_go_when_one_owner_has_it, let_go_at_once, say_yes_to_what_is_not_on_the_disk]
)
def test_what_was_let_go_too_early_is_missed(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    for seed in range(SEEDS):
        try:
            nodes.play(random.Random(seed), seed)
        except AssertionError:
            return
    pytest.fail(f"not found in {SEEDS} seeds")


def test_disks_that_are_not_the_owners_are_not_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def everybody(self: PlacedWaiting, log: Log) -> int:
        return len(self.holders[log])

    monkeypatch.setattr(PlacedWaiting, "_have", everybody)
    with pytest.raises(AssertionError):
        nodes.test_acks_of_nodes_that_are_no_owners_do_not_count()
