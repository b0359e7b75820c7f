"""`bms start`: what its options put in the place of the settings file."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from bellande_mesh_sync.cli.labels import LabelType
from bellande_mesh_sync.cli.start import PROFILES, Plan
from bellande_mesh_sync.config_model import Profile
from bellande_mesh_sync.home import Home


def _plan(home: Path, profile: Profile | None = None, zone: str | None = None, **labels: str) -> Plan:
    return Plan(Home(home), None, (), False, None, None, profile, zone, tuple(labels.items()))


def test_what_a_node_says_of_itself_comes_from_the_file_and_options_win(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(
        'profile = "wan"\nzone = "hall-3"\n[labels]\nmodel = "gantry"\nfloor = "2"\n'
    )
    kept, _ = _plan(tmp_path).settings()
    assert (kept.profile, kept.zone, kept.labels) == ("wan", "hall-3", {"model": "gantry", "floor": "2"})
    won, _ = _plan(tmp_path, "fast", "", floor="3", arm="left").settings()
    assert (won.profile, won.zone) == ("fast", "")
    assert won.labels == {"model": "gantry", "floor": "3", "arm": "left"}


def test_every_profile_of_the_settings_is_offered() -> None:
    assert Profile.__args__ == PROFILES  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "pair"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("path=a=b", ("path", "a=b"))]
)
def test_a_label_is_a_name_and_a_value(text: str, pair: tuple[str, str]) -> None:
    assert LabelType().convert(text, None, None) == pair


@pytest.mark.parametrize("text", ["a", "", "=b"])
def test_what_is_no_label_is_wrong_usage(text: str) -> None:
    with pytest.raises(click.UsageError):
        LabelType().convert(text, None, None)
