"""`bms verify` against a real node: clean, damaged, and healed by writing the key anew."""

from __future__ import annotations

import sqlite3

from tests.cli.conftest import Bms


def rot(bms: Bms, key: str) -> None:
    """Change a record behind the node's back."""
    connection = sqlite3.connect(bms.home / "data" / "records.db", timeout=20)
    connection.execute(
        "UPDATE records SET body = CAST(substr(body, 1, length(body) - 1) || x'ff' AS BLOB) WHERE key = ?",
        (key,),
    )
    connection.commit()
    connection.close()


def test_a_sound_node_is_clean(bms: Bms, space: str) -> None:
    assert bms("put", f"{space}/k", "v").code == 0
    ran = bms("verify", "--deep", "--rate", "1000", "--json")
    assert ran.code == 0
    assert (ran.json["ok"], ran.json["deep"], ran.json["found"]) == (True, True, {})
    assert ran.json["records"] >= 1
    text = bms("verify")
    assert (text.code, text.text.splitlines()[0]) == (0, "result\tclean")


def test_damage_is_named_with_exit_code_1_and_ends_when_the_key_is_written_anew(bms: Bms, space: str) -> None:
    assert bms("put", f"{space}/good", "v").code == 0
    assert bms("put", f"{space}/bad", "v").code == 0
    rot(bms, f"{space}/bad")
    ran = bms("verify", "--json")
    assert ran.code == 1
    assert (ran.json["found"], ran.json["unrepaired"]) == ({"record": 1}, 1)
    assert ran.json["damaged"] == [{"key": f"{space}/bad", "kind": "record", "repaired": False}]
    assert bms("get", f"{space}/bad", "--json").error == "corrupt_store"
    assert bms("get", f"{space}/good").out == b"v"
    listed = bms("list", f"{space}/")
    assert listed.code == 1
    assert "corrupt_store" in listed.err
    assert f"{space}/bad" in listed.err
    assert bms("health").code == 1
    assert bms("put", f"{space}/bad", "again").code == 0
    assert bms("get", f"{space}/bad").out == b"again"
    assert bms("verify", "--timeout", "1").code == 0
    assert bms("health").code == 0


def test_what_makes_no_sense_is_refused(bms: Bms) -> None:
    assert bms("verify", "--rate", "0").code == 2
