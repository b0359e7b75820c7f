"""`bms sweep` against a real node."""

from __future__ import annotations

import os
from pathlib import Path

from tests.cli.conftest import Bms


def test_what_nothing_refers_to_goes_with_the_second_sweep(bms: Bms, space: str, tmp_path: Path) -> None:
    file = tmp_path / "map.bin"
    file.write_bytes(os.urandom(600_000))
    assert bms("put", f"{space}/map", "--file", str(file)).code == 0
    for _ in range(5):  # Old versions need their bytes; what came first is forgotten by then.
        file.write_bytes(os.urandom(300_000))
        assert bms("put", f"{space}/map", "--file", str(file)).code == 0
    waiting = bms("sweep", "--json")
    assert waiting.code == 0
    assert (waiting.json["swept"], waiting.json["waiting"] > 0) == (0, True)
    ran = bms("sweep", "--grace", "0", "--json")
    assert ran.json["swept_bytes"] >= 600_000
    assert bms("get", f"{space}/map").out == file.read_bytes()
    text = bms("sweep", "--grace", "0")
    assert text.text.splitlines()[1].startswith("swept\t0")
    assert bms("verify", "--deep").code == 0


def test_a_grace_below_zero_is_refused(bms: Bms) -> None:
    assert bms("sweep", "--grace", "-1").code == 2
