"""Members found by what people type, and listed by the page."""

from __future__ import annotations

import pytest

from bellande_mesh_sync.core.members.member import MemberRecord
from bellande_mesh_sync.core.node import NodeCore
from bellande_mesh_sync.errors import NotFoundError, UsageError
from bellande_mesh_sync.ids import NodeId
from bellande_mesh_sync.observe import lookup, views
from tests.core.making import at, node_of_name
from tests.core.shuttle import World

NAMES = ("alice", "bob", "carol", "dave")


@pytest.fixture
def core() -> NodeCore:
    """Alice's, who knows bob, carol and dave."""
    world = World(*NAMES)
    world.run()
    for name in NAMES[1:]:
        world.connect("alice", name)
    world.run()
    return world.nodes["alice"].core


def test_a_member_is_found_by_id_by_name_and_by_a_start_of_its_id(core: NodeCore) -> None:
    for name in NAMES:
        node = node_of_name(name).hex()
        for text in (node, node.upper(), name, node[:8]):
            assert lookup.member_view(core, text, at()).node == node
    for text in ("nobody", "", "ab" * 32, "zz", node_of_name("bob").hex()[:3]):
        with pytest.raises(NotFoundError):
            lookup.member_view(core, text, at())


def test_a_name_goes_before_a_start_of_an_id_and_what_fits_two_is_refused() -> None:
    one, two = NodeId(b"\xcd" * 32), NodeId(b"\xcd\xcd" + bytes(30))
    assert lookup.the_one([(one, "a"), (two, "b")], "cdcdcd") == one
    assert lookup.the_one([(one, "a"), (two, "cdcd")], "cdcd") == two
    for members, text in (([(one, "a"), (two, "b")], "cdcd"), ([(one, "a"), (two, "a")], "a")):
        with pytest.raises(UsageError, match="fits 2 nodes"):
            lookup.the_one(members, text)


def test_one_member_is_found_and_a_page_is_made_without_a_view_of_all(
    core: NodeCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[MemberRecord] = []
    whole = views._view

    def counted(member, now, **rest):  # type: ignore[no-untyped-def]
        made.append(member.record)
        return whole(member, now, **rest)

    monkeypatch.setattr(views, "_view", counted)
    lookup.member_view(core, "carol", at())
    lookup.page_of(core, None, 1, 2, at())
    assert len(made) == 3


def test_pages_are_in_order_of_ids_and_know_how_many_there_are(core: NodeCore) -> None:
    ids = sorted(node_of_name(name).hex() for name in NAMES)
    for limit in (1, 2, 3, 10):
        found: list[str] = []
        while len(found) < len(ids):
            page, total = lookup.page_of(core, None, len(found), limit, at())
            assert total == len(ids)
            assert len(page) == min(limit, len(ids) - len(found))
            found += [view.node for view in page]
        assert found == ids
    assert lookup.page_of(core, None, 4, 10, at()) == ([], 4)


def test_a_page_and_a_list_of_one_state_hold_only_that_state(core: NodeCore) -> None:
    everybody = views.node_views(core, at())
    assert everybody[0].is_local
    for state in ("alive", "suspect", "dead", "left", "asleep", "revoked"):
        expected = [view for view in everybody if view.state == state]
        assert views.node_views(core, at(), state) == expected
        page, total = lookup.page_of(core, state, 0, 10, at())
        assert page == sorted(expected, key=lambda view: view.node)
        assert total == len(expected)
