"""`bms placement` and `bms replicate` against a real node."""

from __future__ import annotations

from tests.cli.conftest import Bms


def test_a_space_without_a_number_of_replicas_is_on_every_member(bms: Bms, space: str) -> None:
    assert bms("put", f"{space}/dock", "v").code == 0
    found = bms("placement", f"{space}/dock", "--json").json
    assert (found["key"], found["is_placed"], len(found["owners"])) == (f"{space}/dock", False, 1)
    assert bms("placement", "--json").json == {"spaces": []}
    assert bms("placement", f"{space}/dock").text.splitlines()[-1].startswith(found["owners"][0])


def test_replicas_are_waited_for(bms: Bms, space: str) -> None:
    assert bms("put", f"{space}/dock", "v").code == 0
    assert len(bms("replicate", f"{space}/dock", "--json").json["nodes"]) == 1
    assert bms("replicate", f"{space}/nothing").code == 4
    assert bms("placement", "a//b").code == 2
