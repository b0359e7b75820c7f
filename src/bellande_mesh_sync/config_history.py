"""What the policies of spaces say about history, in the core's terms."""

from __future__ import annotations

from collections.abc import Mapping

from bellande_mesh_sync.config_model import SpacePolicy
from bellande_mesh_sync.core.data.history import HistoryPolicies, HistoryPolicy


def histories_of(spaces: Mapping[str, SpacePolicy]) -> HistoryPolicies:
    named = tuple((name, _history_of(spaces[name])) for name in sorted(spaces))
    return HistoryPolicies(_history_of(SpacePolicy()), named)


def _history_of(policy: SpacePolicy) -> HistoryPolicy:
    return HistoryPolicy(policy.history, round((policy.history_for or 0) * 1_000))
