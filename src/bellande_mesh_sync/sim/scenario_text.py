"""A scenario as JSON: what a failure writes down, so that it can be run again as it was."""

from __future__ import annotations

import msgspec

from bellande_mesh_sync.errors import ConfigError
from bellande_mesh_sync.sim.swarm import Scenario


def scenario_text(scenario: Scenario) -> str:
    return msgspec.json.format(msgspec.json.encode(scenario), indent=2).decode() + "\n"


def parse_scenario(text: str | bytes) -> Scenario:
    """The scenario in a text made by `scenario_text`. Raises ConfigError."""
    try:
        return msgspec.json.decode(text, type=Scenario)
    except msgspec.MsgspecError as error:
        raise ConfigError(field="scenario", reason=str(error)) from None
