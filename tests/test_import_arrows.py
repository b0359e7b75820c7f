"""The import rules hold, and the check that says so notices when they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.import_arrows import PACKAGE, SOURCE, violations, violations_in_source, violations_when_loaded


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package to plant a violation in; the folder that holds it."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCE / PACKAGE, tmp_path / PACKAGE, ignore=ignore)
    return tmp_path


def plant(source: Path, module: str, code: str) -> None:
    path = source / PACKAGE / module
    path.write_text(path.read_text(encoding="utf-8") + "\n" + code + "\n", encoding="utf-8")


def test_the_package_keeps_its_import_rules() -> None:
    assert violations() == []


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("core/timers.py", "import time", "core must not import time"),
        ("core/timers.py", "import os.path", "core must not import os.path"),
        ("core/data/record.py", "from asyncio import Queue", "core must not import asyncio"),
        ("core/reader.py", "def f():\n    import logging", "core must not import logging"),
        ("core/reader.py", "if True:\n    from socket import socket", "core must not import socket"),
        ("wire/__init__.py", "import ssl", "wire must not import ssl"),
        ("keys.py", "import threading", "keys must not import threading"),
        ("core/events.py", "import random\nx = random.random()", "core must not use random.random"),
        ("core/events.py", "import random\nx = random.Random()", "must not call Random() without a seed"),
        ("core/events.py", "from random import choice", "core must not use random.choice"),
        ("core/events.py", "import datetime\nx = datetime.datetime.now()", "must not use datetime.now"),
        ("core/events.py", "x = open('/etc/hostname')", "must not call open()"),
        ("core/events.py", "x = __import__('time')", "must not call __import__()"),
        ("core/events.py", "async def f(): ...", "plain functions only"),
        ("core/events.py", f"import {PACKAGE}.shell", f"core must not import {PACKAGE}.shell"),
        ("core/events.py", f"from {PACKAGE} import api", f"core must not import {PACKAGE}.api"),
        ("core/members/member.py", "from ...store import interface", f"core must not import {PACKAGE}.store"),
        ("core/events.py", f"from {PACKAGE}.wire import x", f"core must not import {PACKAGE}.wire"),
        ("store/interface.py", f"import {PACKAGE}.shell", f"store must not import {PACKAGE}.shell"),
        ("security/__init__.py", f"from {PACKAGE} import cli", f"security must not import {PACKAGE}.cli"),
        ("sim/__init__.py", f"import {PACKAGE}.shell", f"sim must not import {PACKAGE}.shell"),
        ("shell/__init__.py", f"import {PACKAGE}.api", f"shell must not import {PACKAGE}.api"),
        ("errors.py", f"import {PACKAGE}.core", f"errors must not import {PACKAGE}.core"),
    ],
)
def test_reading_the_source_finds_a_planted_violation(copy: Path, module: str, code: str, words: str) -> None:
    before = violations_in_source(copy)
    plant(copy, module, code)
    new = set(violations_in_source(copy)) - set(before)
    assert any(words in sentence and module.split("/")[-1] in sentence for sentence in new), new


def test_a_seeded_random_is_allowed_in_the_core(copy: Path) -> None:
    plant(copy, "core/events.py", "import random\ndef f(rng: random.Random): return rng.random()")
    assert violations_in_source(copy) == violations_in_source(SOURCE)


def test_a_new_room_must_be_given_a_rule(copy: Path) -> None:
    (copy / PACKAGE / "cellar.py").write_text("", encoding="utf-8")
    assert any("cellar is a new room" in sentence for sentence in violations_in_source(copy))


@pytest.mark.parametrize(
    ("module", "code", "words"),
    [
        ("core/timers.py", "import time", "imported time when it was loaded"),
        ("core/timers.py", "exec('import so' + 'cket')", "imported socket when it was loaded"),
        ("core/timers.py", f"exec('import {PACKAGE}.store.interface')", "store.interface"),
        ("keys.py", "exec('import os')", "imported os when it was loaded"),
    ],
)
def test_loading_finds_what_reading_could_be_fooled_about(
    copy: Path, module: str, code: str, words: str
) -> None:
    assert violations_when_loaded(copy) == []
    plant(copy, module, code)
    assert any(words in sentence for sentence in violations_when_loaded(copy))


def test_a_third_party_module_may_still_use_the_clock_itself(copy: Path) -> None:
    plant(copy, "core/timers.py", "import statistics")  # It imports random and others by itself.
    assert violations_when_loaded(copy) == []
