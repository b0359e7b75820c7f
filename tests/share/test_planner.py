"""What a share decides for one path, over every combination of what the two sides may hold."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bellande_mesh_sync.share.planner import (
    EMPTIED_COUNT_MIN,
    FOLDER,
    Content,
    Mode,
    Step,
    is_emptied,
    plan,
    plan_copies,
)

A, B, C = Content("a"), Content("b"), Content("c")
SIDES = (None, A, B, C, Content("a", executable=True), Content(FOLDER))
WORLDS = list(product(SIDES, repeat=3))
"""(agreed, local, remote): 216 of them, which is all there is up to renaming."""

TO_MESH = {Step.UPLOAD, Step.UPLOAD_BESIDE, Step.DELETE_REMOTE}
TO_FOLDER = {Step.DOWNLOAD, Step.DELETE_LOCAL}


@pytest.mark.parametrize(
    ("agreed", "local", "remote", "step"),
    [
        (None, None, None, Step.NOTHING),
        (A, A, A, Step.NOTHING),
        (None, A, A, Step.AGREE),
        (A, B, B, Step.AGREE),
        (A, None, None, Step.FORGET),
        (None, A, None, Step.UPLOAD),
        (A, B, A, Step.UPLOAD),
        (A, B, None, Step.UPLOAD),
        (None, None, A, Step.DOWNLOAD),
        (A, A, B, Step.DOWNLOAD),
        (A, None, B, Step.DOWNLOAD),
        (A, None, A, Step.DELETE_REMOTE),
        (A, A, None, Step.DELETE_LOCAL),
        (None, A, B, Step.UPLOAD_BESIDE),
        (A, B, C, Step.UPLOAD_BESIDE),
        (A, A._replace(executable=True), A, Step.UPLOAD),
    ],
)
def test_each_case_has_its_step(
    agreed: Content | None, local: Content | None, remote: Content | None, step: Step
) -> None:
    assert plan(agreed, local, remote) is step


def after(
    step: Step, local: Content | None, remote: Content | None
) -> tuple[Content | None, Content | None, set[Content]]:
    """What both sides hold once the step was carried out, and what stands beside in the mesh."""
    match step:
        case Step.UPLOAD:
            return local, local, set()
        case Step.UPLOAD_BESIDE:
            assert local is not None
            assert remote is not None
            return local, local, {remote}
        case Step.DOWNLOAD:
            return remote, remote, set()
        case Step.DELETE_REMOTE:
            return local, None, set()
        case Step.DELETE_LOCAL:
            return None, remote, set()
    return local, remote, set()


@pytest.mark.parametrize(("agreed", "local", "remote"), WORLDS)
def test_after_its_step_both_sides_hold_the_same_and_nothing_is_left_to_do(
    agreed: Content | None, local: Content | None, remote: Content | None
) -> None:
    local_after, remote_after, _ = after(plan(agreed, local, remote), local, remote)
    assert local_after == remote_after
    assert plan(local_after, local_after, remote_after) is Step.NOTHING


@pytest.mark.parametrize(("agreed", "local", "remote"), WORLDS)
def test_nothing_that_only_one_side_has_is_lost(
    agreed: Content | None, local: Content | None, remote: Content | None
) -> None:
    local_after, remote_after, beside = after(plan(agreed, local, remote), local, remote)
    kept = {local_after, remote_after} | beside
    for content in (local, remote):
        # What was agreed may go: the other side has decided so, knowing it.
        assert content is None or content == agreed or content in kept


@pytest.mark.parametrize(("agreed", "local", "remote"), WORLDS)
def test_the_two_sides_are_treated_alike(
    agreed: Content | None, local: Content | None, remote: Content | None
) -> None:
    mirror = {
        Step.UPLOAD: Step.DOWNLOAD,
        Step.DELETE_REMOTE: Step.DELETE_LOCAL,
        **{step: step for step in (Step.NOTHING, Step.AGREE, Step.FORGET, Step.UPLOAD_BESIDE)},
    }
    back = {after: before for before, after in mirror.items()}
    step = plan(agreed, local, remote)
    assert plan(agreed, remote, local) is mirror.get(step, back.get(step))


@pytest.mark.parametrize(("mode", "forbidden"), [("read-only", TO_FOLDER), ("receive-only", TO_MESH)])
@pytest.mark.parametrize(("agreed", "local", "remote"), WORLDS)
def test_a_share_of_one_direction_never_goes_the_other(
    agreed: Content | None, local: Content | None, remote: Content | None, mode: Mode, forbidden: set[Step]
) -> None:
    wanted, step = plan(agreed, local, remote), plan(agreed, local, remote, mode)
    assert step is (Step.HOLD if wanted in forbidden else wanted)


VERSIONS = st.lists(st.sampled_from(["v1", "v2", "v3", "v4"]), unique=True)


@given(losers=VERSIONS, shown=st.dictionaries(st.sampled_from(["v1", "v2", "v3", "v4"]), st.booleans()))
def test_copies_settle_only_what_was_shown_and_taken_away(losers: list[str], shown: dict[str, bool]) -> None:
    copies = plan_copies(losers, shown)
    assert set(copies.show) == set(losers) - set(shown)
    assert set(copies.remove) == set(shown) - set(losers)
    if copies.settle:
        assert losers
        assert all(shown[version] is False for version in losers)
    # Once carried out, there is nothing left to do as long as nobody takes a copy away.
    kept = {version: shown.get(version, True) for version in losers}
    again = plan_copies([] if copies.settle else losers, {} if copies.settle else kept)
    assert not again.show
    assert not again.remove


@given(losers=VERSIONS, shown=st.dictionaries(st.sampled_from(["v1", "v2", "v3"]), st.booleans()))
def test_a_share_that_may_not_write_the_mesh_settles_nothing(
    losers: list[str], shown: dict[str, bool]
) -> None:
    assert not plan_copies(losers, shown, "receive-only").settle
    assert plan_copies(losers, shown, "read-only") == ((), (), False)


def test_only_the_loss_of_all_of_many_files_is_a_mishap() -> None:
    assert is_emptied(EMPTIED_COUNT_MIN, 0)
    assert not is_emptied(EMPTIED_COUNT_MIN, 1)
    assert not is_emptied(EMPTIED_COUNT_MIN - 1, 0)
    assert not is_emptied(0, 0)
