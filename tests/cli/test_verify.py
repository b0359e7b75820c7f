"""`bms verify` against a real node: clean, damaged, and healed by writing the key anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.cli.conftest import Bms
from tests.mesh.programs import start_node


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


def test_a_node_whose_database_will_not_open_is_repaired_and_starts(bms: Bms, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert bms("init", "--name", "crane-2", home=home).code == 0
    assert bms("repair", "--json", home=home).error == "not_found"
    with start_node(home)[0]:
        for number in range(3):
            assert bms("put", f"fleet/{number}", "v" * 9000, home=home).code == 0
        assert bms("repair", "--json", home=home).error == "home_in_use"
    database = home / "data" / "records.db"
    connection = sqlite3.connect(database)
    (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'knowledge'").fetchone()
    connection.close()
    raw = bytearray(database.read_bytes())
    raw[(root - 1) * 16_384 : root * 16_384] = b"\xff" * 16_384
    database.write_bytes(raw)
    started = bms("start", "--json", home=home)
    assert started.code == 1
    assert "bms repair" in started.err
    ran = bms("repair", "--json", home=home)
    assert (ran.code, ran.json["records"], ran.json["damaged"]) == (0, 3, 0)
    with start_node(home)[0]:
        assert bms("get", "fleet/2", home=home).out == b"v" * 9000
        assert bms("verify", "--deep", home=home).code == 0
