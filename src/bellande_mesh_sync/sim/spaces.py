"""Which policies of spaces a simulated mesh can keep."""

from __future__ import annotations

from bellande_mesh_sync.config_model import SpacePolicy, changed, check_space
from bellande_mesh_sync.errors import UnsupportedError


def check_simulated_space(name: str, policy: SpacePolicy) -> None:
    """As `check_space`, of a space that is `lww` here; UnsupportedError for what programs cannot be shown."""
    check_space(name, changed(policy, conflict="lww"))
    if policy.replicas != "all":
        # Its programs read the disk of their own node, and would not see what other nodes hold.
        field = f"spaces.{name}.replicas"
        raise UnsupportedError(what=f"{field} = {policy.replicas!r} in a simulated mesh", field=field)
