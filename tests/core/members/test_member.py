"""Member records: only the key's holder can say something about a node."""

from __future__ import annotations

import msgspec
import pytest

from bellande_mesh_sync.core.members.member import is_genuine, signed
from tests.core.making import key_of, member_of, node_of_name, sign_as, verify

BOB = member_of("bob", 3)


def test_what_a_node_signed_about_itself_is_genuine() -> None:
    assert is_genuine(BOB, verify)


@pytest.mark.parametrize(
    "change",
    [{"name": "eve"}, {"addresses": ("eve:1",)}, {"role": "admin"}, {"incarnation": 4}, {"left": True},
     {"software": "9"}, {"signature": b""}, {"signature": bytes(64)}, {"public_key": key_of("eve")},
     {"node": node_of_name("eve")}],
)  # fmt: skip
def test_any_change_to_a_signed_record_shows(change: dict[str, object]) -> None:
    assert not is_genuine(msgspec.structs.replace(BOB, **change), verify)


def test_nobody_can_speak_for_another_node_with_its_own_key() -> None:
    forged = signed(msgspec.structs.replace(BOB, public_key=key_of("eve")), sign_as("eve"))
    assert not is_genuine(forged, verify)
